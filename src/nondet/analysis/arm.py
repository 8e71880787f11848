"""An arm of a comparison: one number per run, and what tells whether the runs are independent."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nondet.stats.values import Floats, Integers

MetricName = Literal["accuracy", "cross_entropy", "perplexity"]
Kind = Literal["logits", "classes", "text"]


@dataclass(frozen=True)
class Metric:
    """What runs are compared by; `sign` is -1 where lower is better."""

    name: MetricName
    words: str
    unit: str
    sign: int


METRICS: Mapping[str, Metric] = {
    "accuracy": Metric("accuracy", "accuracy", "points", 1),
    "cross_entropy": Metric("cross_entropy", "cross-entropy", "nats", -1),
    "perplexity": Metric("perplexity", "perplexity", "", -1),
}
"""Metrics by name; accuracy is in percent, so that its differences are points."""


@dataclass(frozen=True)
class Arm:
    """Runs of one kind, and what tells whether they are independent.

    Attributes:
        name: for people; a study's has its condition.
        kind: "logits"; "classes" where only predictions are known; "text" for language models.
        metric: what `values` are.
        values: one number per run, `(N,)`.
        predictions: `(N, n)`: classes, or the most probable tokens.
        labels: `(n,)`.
        classes: how many logits each example has; None where only predictions are known, and of language models.
        numbers: of the runs, counted from 1; a study's run takes its number as its seeds.
        digests: of each run's outputs, rounded to float32: the same run in two files has equal ones.
        exact: of each run's outputs as they are, which tell copies from runs that differ in the last digits; empty
            where `digests` tell as much.
        seeds: of each run, those of the sources that vary; None of outputs that no study made.
        seconds: of training, each run's share of its stack's; empty of outputs that no study made.
        environment: where a study's runs were trained.
        control: whether the study's control is exactly zero; None where that is not known.
        probabilities: whether outputs look like probabilities, where logits are meant.
        notes: what a reader must know of the arm, a sentence each.
    """

    name: str
    kind: Kind
    metric: Metric
    values: Floats
    predictions: NDArray[np.integer]
    labels: Integers
    numbers: tuple[int, ...]
    digests: tuple[str, ...]
    classes: int | None = None
    seeds: tuple[Mapping[str, int], ...] | None = None
    seconds: tuple[float, ...] = ()
    exact: tuple[str, ...] = ()
    environment: Mapping[str, Any] | None = None
    control: bool | None = None
    probabilities: bool = False
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.values)

    def keep(self, places: Sequence[int]) -> Arm:
        """The arm with only the runs at these places."""
        chosen = list(places)
        return replace(
            self,
            values=self.values[chosen],
            predictions=self.predictions[chosen],
            numbers=tuple(self.numbers[i] for i in chosen),
            digests=tuple(self.digests[i] for i in chosen),
            exact=tuple(self.exact[i] for i in chosen) if self.exact else (),
            seeds=None if self.seeds is None else tuple(self.seeds[i] for i in chosen),
            seconds=tuple(self.seconds[i] for i in chosen) if self.seconds else (),
        )


def digest(outputs: NDArray[Any]) -> str:
    """SHA-256 of one run's outputs; of float32 where they are floats, so that a file's precision does not matter."""
    with np.errstate(over="ignore"):
        plain = outputs.astype("<f4" if outputs.dtype.kind == "f" else "<i8", order="C")
    return hashlib.sha256((plain + 0).tobytes()).hexdigest()  # -0 and 0 are equal


def answers(classes: NDArray[np.integer]) -> tuple[str, ...]:
    """Digests of each run's predicted classes `(N, n)`."""
    return tuple(digest(run) for run in classes)
