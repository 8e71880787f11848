"""A finished study's runs, and stacks of models made from the weights that it kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from nondet.analysis.runs import read_run
from nondet.errors import BadInput
from nondet.runners.stack import StackRunner
from nondet.running.advice import go_on
from nondet.sources import FIXED_SEED
from nondet.study.provenance import differing
from nondet.study.spec import RunSpec
from nondet.study.study import Study
from nondet.training.examples import evaluate
from nondet.training.problem import Problem
from nondet.training.stack import Stack, new_stack

BASELINE = "all"
"""The condition that is measured, where a study has it."""

CLOSE = 0.05
"""A run of nondeterministic kernels is itself when no logit differs by more than this share of its largest."""


@dataclass(frozen=True)
class Runs:
    """The runs of one condition that did not fail, in its order, and how many others did."""

    study: Study
    specs: tuple[RunSpec, ...]
    failed: int

    @property
    def members(self) -> int:
        """How many models make one answer: the cycles of an accelerated ensemble, else 1."""
        return int(self.study.identity["recipe"].get("cycles", 1))

    @property
    def prefixes(self) -> list[str]:
        """What stands before a parameter's name in a run's arrays, for each member."""
        several = self.members > 1
        return [f"member{k}.weights." for k in range(1, self.members + 1)] if several else ["weights."]


def sound_runs(study: Study) -> Runs:
    """The runs of the condition `all`, or else of the first, that has two or more that did not fail and that differ.

    BadInput if none has, or if the study is not finished; Damaged if a record is.
    """
    present, planned = study.store.keys(), study.planned()
    missing = len(planned.keys() - present)
    if missing:
        raise BadInput(
            f"a study must be finished before it can be stabilized, and {missing} of {len(planned)} runs of "
            f"{study.folder} are still to train; go on with: {go_on(study)}"
        )
    for condition in sorted(study.conditions, key=lambda c: c.name != BASELINE):
        specs = study.specs_of(condition)
        records = [study.store.record(spec.key) for spec in specs]
        sound = tuple(spec for spec, record in zip(specs, records, strict=True) if record["failed"] is None)
        if len(sound) >= 2 and len({record["blob"]["sha256"] for record in records if record["failed"] is None}) > 1:
            return Runs(study, sound, len(specs) - len(sound))
    raise BadInput(
        f"stabilize needs a condition with two runs that did not fail and that differ, and {study.folder} has none; "
        "train another with a lower learning rate, or with a source that matters"
    )


def control_holds(study: Study) -> bool:
    """Whether the control's repeats are equal to the last bit."""
    return len({study.store.record(key)["blob"]["sha256"] for key in study.control_specs()}) == 1


def outputs(runs: Runs, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Those of these arrays that every run has: name -> (N, ...)."""
    read: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for spec in runs.specs:
        arrays = read_run(runs.study, spec).arrays
        for name in names:
            read[name] += [arrays[name]] if name in arrays else []
    return {name: np.stack(found) for name, found in read.items() if len(found) == len(runs.specs)}


def keeps_weights(runs: Runs) -> bool:
    """Whether the runs' weights are there."""
    names = read_run(runs.study, runs.specs[0]).arrays
    return all(any(name.startswith(prefix) for name in names) for prefix in runs.prefixes)


def stacks(problem: Problem, runs: Runs) -> Iterator[tuple[int, list[Stack]]]:
    """The runs in stacks of the study's width: how many there are in it, and a stack for each member.

    The last is filled up with copies, as in training. BadInput where a run's weights do not give its stored outputs to
    the last bit: then nothing else that they give here can be trusted to be what they gave there.
    """
    base = new_stack(problem, [dict.fromkeys(problem.sources, FIXED_SEED)] * runs.study.width)
    base.skeleton.eval()
    for start in range(0, len(runs.specs), runs.study.width):
        specs = runs.specs[start : start + runs.study.width]
        arrays = [read_run(runs.study, spec).arrays for spec in specs]
        filled = [*arrays, *[arrays[0]] * (runs.study.width - len(arrays))]
        members = [_loaded(base, filled, prefix) for prefix in runs.prefixes]
        _check_outputs(problem, runs.study, specs, [a["outputs"] for a in arrays], members)
        yield len(specs), members


def _loaded(base: Stack, runs: Sequence[Mapping[str, np.ndarray]], prefix: str) -> Stack:
    """The stack with kept weights in place of its own."""

    def kept(name: str, like: Tensor) -> Tensor:
        stored = torch.stack([torch.from_numpy(run[prefix + name]) for run in runs]).to(like.device)
        return torch.view_as_complex(stored) if like.is_complex() else stored.to(like.dtype)

    return base.holding({name: kept(name, w) for name, w in base.weights.items()})


def _check_outputs(
    problem: Problem, study: Study, specs: Sequence[RunSpec], stored: Sequence[np.ndarray], members: Sequence[Stack]
) -> None:
    logits = [evaluate(problem, member) for member in members]
    mean = logits[0] if len(logits) == 1 else torch.stack([z.double() for z in logits]).mean(0).to(logits[0].dtype)
    for spec, theirs, ours in zip(specs, stored, mean.numpy(), strict=False):
        _, deterministic = spec.family
        largest = float(np.abs(ours - theirs).max())
        close = not deterministic and largest <= CLOSE * float(np.abs(theirs).max())
        if ours.tobytes() != theirs.tobytes() and not close:
            raise BadInput(
                f"kept weights must give their run's stored outputs to the last bit, and those of {study.folder} do "
                f"not (logits differ by up to {largest:.3g}), so this environment is another "
                f"({_differing(study, problem)}); give the command where the study was made"
            )


def _differing(study: Study, problem: Problem) -> str:
    fields = differing(study.environment, StackRunner(problem, {}).environment(study.width))
    return "; ".join(fields) or "in nothing that a study records"
