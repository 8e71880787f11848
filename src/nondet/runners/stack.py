"""Runs of a task's network, trained in stacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
import torch

from nondet.data.decode import decoder_version
from nondet.errors import BadInput, Damaged
from nondet.runners.base import Enough, OnEpoch, Places, Runner
from nondet.study import provenance
from nondet.study.design import Condition, Crossed
from nondet.study.spec import Outcome
from nondet.training.problem import Problem, first_line
from nondet.training.train import train_stack
from nondet.training.trial import check_bit, fitting_width


class StackRunner(Runner):
    """The task that a request asks for, ready to be trained. order: see `Runner`."""

    def __init__(self, problem: Problem, order: Mapping[str, Any]) -> None:
        self.problem, self.order = problem, order
        self.name, self.sources = problem.task.name, problem.sources
        self.labels: np.ndarray = problem.test[1].cpu().numpy()
        self.epochs, self.repeats = problem.recipe.epochs, problem.repeats
        self.resumes = (
            f"the model counts in {problem.state}, a number that none holds; make it a buffer: "
            "self.register_buffer(...)"
            if problem.state
            else ""
        )

    @property
    def identity(self) -> dict[str, Any]:
        return dict(self.problem.identity)

    def width(self, asked: int | None) -> tuple[int, str]:
        width, why = fitting_width(self.problem, asked or self.problem.task.stack)
        return width, f"The runs are trained one at a time, because they do not stack: {why}." if why else ""

    def check(self, conditions: Sequence[Condition], crossed: Crossed | None) -> None:
        from_the_start = [c.vary for c in conditions if not c.onset] + ([crossed.vary] if crossed else [])
        if any("bit" in vary for vary in from_the_start):
            check_bit(self.problem)

    def environment(self, width: int) -> dict[str, Any]:
        problem, cuda = self.problem, self.problem.device.type == "cuda"
        found = provenance.environment(problem.device.type, problem.recipe.precision, width)
        if problem.door is not None and (kernels := problem.door.as_dict()):
            found["kernels"] = kernels | {"triton": version("triton")}
        if not isinstance(problem.train[0], torch.Tensor):
            found["decoder"] = decoder_version()
        if cuda:
            found |= {
                "tf32": problem.tf32,
                "gpu": torch.cuda.get_device_name(problem.device),
                "cuda": torch.version.cuda,
                "cudnn": torch.backends.cudnn.version(),
            }
        return found

    def produce(self, seeds: Sequence[Mapping[str, int]], places: Places, on_epoch: OnEpoch) -> list[Outcome]:
        """Whatever users' models, data and schedules come to after their trial step is one sentence."""
        try:
            return train_stack(
                self.problem,
                seeds,
                on_epoch=on_epoch,
                snapshot=places.snapshot,
                fork=places.fork,
                trunks=places.trunks,
                trunk_slot=places.trunk_slot,
                seal=places.seal,
            )
        except (BadInput, Damaged, OSError, Enough):
            raise
        except Exception as error:
            alone = ", or train one run at a time with <<stack=1>> and a new <<folder>>" if len(seeds) > 1 else ""
            raise BadInput(
                f"training fails: {first_line(error)}; mend the task (the runs that are done are kept){alone}"
            ) from error
