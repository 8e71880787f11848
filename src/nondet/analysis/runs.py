"""The runs of one condition, or outputs from elsewhere: their arrays stacked by run, and what is known of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from nondet.kinds import Kind
from nondet.measures.measured import Measures, after_rule, measured
from nondet.study.design import Condition, Crossed
from nondet.study.study import Study

CURVES = "curves."


@dataclass(frozen=True)
class Failure:
    """A run that failed. epoch: at which it failed, from 1. why: in words; empty if its loss or an output was no longer
    a finite number. last: the last lines that it printed. log: the file of all that it printed, if known."""

    epoch: int
    why: str = ""
    last: tuple[str, ...] = ()
    log: Path | None = None

    def to_dict(self, number: int) -> dict[str, Any]:
        """For JSON. number: of the run in its condition, from 1."""
        epoch = None if self.why else self.epoch
        log = str(self.log) if self.log else None
        return {"run": number, "epoch": epoch, "failure": self.why or None, "last": list(self.last), "log": log}


@dataclass(frozen=True)
class Made:
    """What a study knows about a run besides its arrays.

    number: in its condition, from 1. seeds: of every source. file: the SHA-256 of all its arrays. failed: why and
    when it failed; None if it did not. digest: of its answers; equal if these are equal to the last bit.
    seconds: of training, its share of its stack's. slot: in its stack, from 1; 0 if not known.
    """

    number: int
    key: str
    seeds: Mapping[str, int]
    file: str
    failed: Failure | None = None
    digest: bytes = b""
    seconds: float = 0.0
    slot: int = 0


@dataclass(frozen=True, eq=False)
class Runs:
    """The finished runs of one condition, or of a training that no study made.

    Attributes:
        name: for people. kind: of their task. labels: of the test set, `(n, ...)`.
        arrays: what the N runs that did not fail left, by name, each `(N, ...)`.
        made: what is known of each of these, in order; empty for outputs that no study made.
        failures: number of each run that failed, from 1 -> why and when it failed.
        missing: how many runs of the condition are not there yet.
        condition, study: where they come from, if a study made them.
    """

    name: str
    kind: Kind
    labels: np.ndarray
    arrays: Mapping[str, np.ndarray]
    made: tuple[Made, ...] = ()
    failures: Mapping[int, Failure] = field(default_factory=dict[int, Failure])
    missing: int = 0
    condition: Condition | Crossed | None = None
    study: Study | None = None

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values()), ()))

    @property
    def failed(self) -> dict[int, int]:
        """The number of each run that failed -> the epoch at which it failed, both from 1."""
        return {number: failure.epoch for number, failure in self.failures.items()}

    @property
    def outputs(self) -> np.ndarray:
        """The runs' answers `(N, n, ...)`: logits of a classifier, log-probabilities of a language model."""
        return self.arrays[next(iter(self.kind.answers))]

    @property
    def curves(self) -> dict[str, np.ndarray]:
        """Each training curve by name, `(N, epochs)`: "loss" in nats and "accuracy" in percent; for scripts, the scores
        that they record by epoch. NaN where a run has fewer epochs than the longest."""
        return {n.removeprefix(CURVES): a for n, a in self.arrays.items() if n.startswith(CURVES)}

    @property
    def seeds(self) -> list[dict[str, int]]:
        """The seed of each source, for each of the N runs."""
        return [dict(made.seeds) for made in self.made]

    def first(self, count: int) -> Runs:
        """Return the first `count` of these runs."""
        return self.only(slice(count))

    def only(self, places: slice | Sequence[int]) -> Runs:
        """Return the runs at these places."""
        made = self.made[places] if isinstance(places, slice) else [self.made[place] for place in places if self.made]
        return replace(self, arrays={name: array[places] for name, array in self.arrays.items()}, made=tuple(made))

    @cached_property
    def answers(self) -> Any:
        """What the measures are computed from; see `Kind.read`."""
        return self.kind.read(self.arrays, self.labels)

    def measure(self, drawn: bool = False) -> Measures:
        """Take every measure of these runs. drawn: with errors that also allow for other test examples."""
        name = self.condition.name if isinstance(self.condition, Condition) else self.name
        found = measured(self.kind.figures, self.answers, len(self.failed), drawn, name=name)
        return after_rule(found) if self.by_rule else found

    @property
    def by_rule(self) -> bool:
        """Whether runs were added until an error was small enough, and not by a plan made in advance."""
        until = self.study.until if self.study is not None else None
        if until is None or not isinstance(self.condition, Condition):
            return False
        return self.condition.name in (until.errors or [self.condition.name])

    def scores(self) -> dict[str, np.ndarray]:
        """Each score of the kind by name, `(N,)`."""
        return {score.name: score.by_run(self.answers) for score in self.kind.scores}

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in self.arrays.items())
        return f"<{len(self)} runs of {self.name}: {shapes}; {len(self.failed)} failed>"
