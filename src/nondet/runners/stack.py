"""Runs of a task's network, trained in stacks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
import torch

from nondet.data.decode import decoder_version
from nondet.data.streamed import Streamed
from nondet.errors import BadInput, Damaged
from nondet.io.streams import WARNING
from nondet.runners.base import Enough, OnEpoch, Places, Runner, TooWide
from nondet.study import provenance
from nondet.study.design import Condition, Crossed
from nondet.study.spec import Outcome
from nondet.training import memory
from nondet.training.problem import Problem, first_line
from nondet.training.recipes import is_plateau
from nondet.training.train import train_stack
from nondet.training.trial import check_bit, fitting_width
from nondet.training.width import cost_alone, fastest


class StackRunner(Runner):
    """Trains the runs of a task in stacks. order: see `Runner`.

    say: gets each sentence that a user should know about the training, and no sentence twice.
    """

    def __init__(
        self, problem: Problem, order: Mapping[str, Any], say: Callable[[str], None] = lambda sentence: None
    ) -> None:
        self.problem, self.order, self._tell = problem, order, say
        self._said: set[str] = set()
        self._tried: set[int] = set()
        self.name, self.sources = problem.task.name, problem.sources
        self.labels: np.ndarray = problem.kind.known(problem.test[1]).cpu().numpy()
        self.epochs, self.repeats = problem.recipe.epochs, problem.repeats
        self.resumes = (
            f"the model counts in {problem.state}, a number that is not stored; make it a buffer: "
            "self.register_buffer(...)"
            if problem.state
            else "ReduceLROnPlateau remembers losses that are not stored; choose another schedule"
            if is_plateau(problem.recipe)
            else ""
        )

    @property
    def identity(self) -> dict[str, Any]:
        return dict(self.problem.identity)

    def width(self, asked: int | None) -> tuple[int, str]:
        width, why = fitting_width(self.problem, asked or self.problem.task.stack, self.say)
        self._tried.add(width)
        if not why:
            return width, ""
        said = f"The runs are trained one at a time, because they do not stack: {why}. {cost_alone(self.problem)}"
        return width, said.rstrip()

    def fastest(self, most: int) -> tuple[int, str]:
        width, why = self.width(None)
        if width == 1:
            return width, why
        chosen, sentence = fastest(self.problem, width, most)
        return (chosen, sentence) if fitting_width(self.problem, chosen) == (chosen, "") else (width, "")

    def say(self, sentence: str) -> None:
        if sentence not in self._said:
            self._said.add(sentence)
            self._tell(sentence)

    def check(self, conditions: Sequence[Condition], crossed: Crossed | None) -> None:
        from_the_start = [c.vary for c in conditions if not c.onset] + ([crossed.vary] if crossed else [])
        if any("bit" in vary for vary in from_the_start):
            check_bit(self.problem)

    def environment(self, width: int) -> dict[str, Any]:
        problem, cuda = self.problem, self.problem.device.type == "cuda"
        if problem.door is not None and width > 1 and width not in self._tried:
            with torch.enable_grad():
                self.width(width)  # its trial steps show which stacked operations are used
        found = provenance.environment(problem.device.type, problem.recipe.precision, width)
        if problem.door is not None and (kernels := problem.door.as_dict()):
            found["kernels"] = kernels | ({"triton": version("triton")} if cuda else {})
        if isinstance(problem.train[0], Streamed):
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
        """Train these runs; any error from a user's model, data or schedule becomes one sentence.

        TooWide if memory runs out and the stack can be halved without changing a bit.
        """
        problem, width = self.problem, len(seeds)
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
                say=self.say,
            )
        except (BadInput, Damaged, OSError, Enough):
            raise
        except Exception as error:
            lack = first_line(error) if memory.ran_out(error) else ""
            if lack and not (problem.width_free and width > 1):
                raise BadInput(
                    f"a stack of {width} must fit into the memory of {problem.device} ({lack}; finished runs are "
                    f"kept); try <<stack={max(width // 2, 1)}>> and a new <<folder>>"
                ) from error
            if not lack:
                alone = ", or train one run at a time with <<stack=1>> and a new <<folder>>" if width > 1 else ""
                raise BadInput(
                    f"training failed: {first_line(error)}; fix the task (finished runs are kept){alone}"
                ) from error
        memory.release()  # only now that the error is gone
        self.say(WARNING + memory.narrower(width, width // 2, problem.device))
        raise TooWide(f"a stack of {width} must fit into the memory of {problem.device}; try <<stack={width // 2}>>")
