"""A finished study's runs, and models made from the weights that it kept."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from nondet.analysis.opened import DEFAULT
from nondet.analysis.reader import read_run
from nondet.errors import BadInput
from nondet.runners.stack import StackRunner
from nondet.running.advice import go_on
from nondet.sources import FIXED_SEED
from nondet.study.provenance import differing
from nondet.study.spec import RunSpec
from nondet.study.study import Study
from nondet.training.examples import evaluation_batches
from nondet.training.new_stack import new_stack
from nondet.training.problem import Problem
from nondet.training.stack import Stack
from nondet.training.threads import Threads, threads_of

CLOSE = 0.05
"""With nondeterministic kernels a run counts as reproduced if no logit differs by more than this share of the largest.
"""

FEW, LARGE = 64, 512
"""Inputs with at least LARGE numbers go through FEW at a time: what the cores work on stays near their caches."""

Arrays = Sequence[Mapping[str, np.ndarray]]
"""The arrays of some runs, by name."""


@dataclass(frozen=True)
class Runs:
    """The runs of one condition that did not fail, in its order, and how many failed."""

    study: Study
    specs: tuple[RunSpec, ...]
    failed: int

    @property
    def members(self) -> int:
        """How many models make one answer: the cycles of an accelerated ensemble, otherwise 1."""
        return int(self.study.identity["recipe"].get("cycles", 1))

    @property
    def prefixes(self) -> list[str]:
        """The prefix of a parameter's name in a run's arrays, for each member."""
        several = self.members > 1
        return [f"member{k}.weights." for k in range(1, self.members + 1)] if several else ["weights."]


def sound_runs(study: Study) -> Runs:
    """Return the sound runs of the condition `all`, or else of the first, that has at least two different ones.

    BadInput if none has, or if the study is not finished; Damaged if a record is damaged.
    """
    present, planned = study.store.keys(), study.planned()
    missing = len(planned.keys() - present)
    if missing:
        raise BadInput(
            f"a study must be finished before it can be stabilized, and {missing} of {len(planned)} runs of "
            f"{study.folder} are still to train; go on with: {go_on(study)}"
        )
    for condition in sorted(study.conditions, key=lambda c: c.name != DEFAULT):
        specs = study.specs_of(condition)
        records = [study.store.record(spec.key) for spec in specs]
        sound = tuple(spec for spec, record in zip(specs, records, strict=True) if record["failed"] is None)
        if len(sound) >= 2 and len({record["blob"]["sha256"] for record in records if record["failed"] is None}) > 1:
            return Runs(study, sound, len(specs) - len(sound))
    raise BadInput(
        f"stabilize needs a condition with two runs that did not fail and that differ, and {study.folder} has none; "
        "train another with a lower learning rate, or with a source that matters"
    )


def outputs(runs: Runs, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Return those of these arrays that every run has: name -> (N, ...)."""
    read: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for spec in runs.specs:
        arrays = read_run(runs.study, spec).arrays
        for name in names:
            read[name] += [arrays[name]] if name in arrays else []
    return {name: np.stack(found) for name, found in read.items() if len(found) == len(runs.specs)}


def keeps_weights(runs: Runs) -> bool:
    """Whether the study kept the runs' weights."""
    names = read_run(runs.study, runs.specs[0]).arrays
    return all(any(name.startswith(prefix) for name in names) for prefix in runs.prefixes)


@dataclass(frozen=True)
class Models:
    """Models of some runs, made from their kept weights.

    shares: for each member, a stack for each part of the runs. plain: each member's logits on the test set (R, n, c).
    The last stack may hold copies of its first run.
    """

    shares: list[list[Stack]]
    plain: list[Tensor]

    @property
    def answers(self) -> np.ndarray:
        """The mean of the members' logits, as the study stores it."""
        first, *others = self.plain
        mean = torch.stack([logits.double() for logits in self.plain]).mean(0) if others else first
        return mean.to(first.dtype).numpy()


def models(problem: Problem, runs: Runs, workers: int | None = None) -> Iterator[tuple[Models, Threads]]:
    """Yield the runs, as many at a time as one of the study's stacks has, and the threads that run them.

    BadInput if a run's weights do not give its stored outputs to the last bit: then nothing else that they give here
    can be trusted to be what they gave there. The bits also decide how the models are run. The first way is in shares,
    without the copies that fill up a stack in training, and a few large inputs at a time. If that rounds differently,
    they run in stacks as in training, several at once; and if that does too, one at a time.
    """
    study = runs.study
    if problem.door is not None and "kernels" not in study.environment:
        problem.door.refused = "the study's runs were trained without them"
    base = new_stack(problem, [dict.fromkeys(problem.sources, FIXED_SEED)] * study.width)
    several = threads_of(problem, base.skeleton, workers)

    few = replace(several, examples=FEW) if math.prod(problem.test[0].shape[1:]) >= LARGE else several
    first = 0 if all(deterministic for _, deterministic in (spec.family for spec in runs.specs)) else 2
    for start in range(0, len(runs.specs), study.width):
        specs = runs.specs[start : start + study.width]
        arrays = [read_run(study, spec).arrays for spec in specs]
        filled = [*arrays, *[arrays[0]] * (study.width - len(arrays))]
        ways = [
            (few, _shares(arrays, study.width, several.count)),
            (several, [filled]),
            (replace(several, count=1), [filled]),
        ]
        while True:
            threads, parts = ways[first]
            found = _asked(problem, threads, [[_loaded(base, part, name) for part in parts] for name in runs.prefixes])
            both = [(ours, run["outputs"], spec) for ours, run, spec in zip(found.answers, arrays, specs, strict=False)]
            apart = [each for each in both if each[0].tobytes() != each[1].tobytes()]
            if first == len(ways) - 1 or not apart:
                break
            first += 1
        for ours, theirs, spec in apart:
            _require_close(problem, study, spec, ours, theirs)
        yield found, threads


def _shares(runs: Arrays, width: int, threads: int) -> list[Arrays]:
    """Split the runs into a share of at least two for each thread: a single run rounds differently from a stack."""
    if width > 1 and len(runs) == 1:
        return [[runs[0]] * 2]
    places = np.array_split(np.arange(len(runs)), min(threads, max(1, len(runs) // 2)))
    return [[runs[place] for place in part] for part in places]


def _asked(problem: Problem, threads: Threads, shares: list[list[Stack]]) -> Models:
    """Return the models with their answers to the test set."""
    stacks = [stack for member in shares for stack in member]
    batches = [list(threads.answers([(stack, x.clone) for stack in stacks])) for x in evaluation_batches(problem)]
    whole = [torch.cat([logits.cpu() for logits in parts], dim=1) for parts in zip(*batches, strict=True)]
    each = len(shares[0])
    return Models(shares, [torch.cat(whole[start : start + each]) for start in range(0, len(whole), each)])


def _loaded(base: Stack, runs: Arrays, prefix: str) -> Stack:
    """Make a stack with kept weights."""

    def kept(name: str, like: Tensor) -> Tensor:
        stored = torch.stack([torch.from_numpy(run[prefix + name]) for run in runs]).to(like.device)
        return torch.view_as_complex(stored) if like.is_complex() else stored.to(like.dtype)

    return base.holding({name: kept(name, w) for name, w in base.weights.items()})


def _require_close(problem: Problem, study: Study, spec: RunSpec, ours: np.ndarray, theirs: np.ndarray) -> None:
    """Refuse outputs that differ from the stored ones, unless the run's kernels explain it."""
    _, deterministic = spec.family
    largest = float(np.abs(ours - theirs).max())
    if deterministic or not largest <= CLOSE * float(np.abs(theirs).max()):
        fields = differing(study.environment, StackRunner(problem, {}).environment(study.width))
        raise BadInput(
            f"kept weights must give their run's stored outputs to the last bit, but those of {study.folder} do not "
            f"(logits differ by up to {largest:.3g}), so this environment differs "
            f"({'; '.join(fields) or 'in nothing that a study records'}); give the command where the study was made"
        )
