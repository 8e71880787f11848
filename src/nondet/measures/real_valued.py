"""The measures of real-valued predictions, and of outputs of any kind: how good they are, and how far runs are apart.

Shapes: (N, n, k) = (runs, examples, numbers predicted for each). Errors are in the labels' unit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cached_property
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from nondet.errors import BadInput
from nondet.measures.answers import GROUP, Pairs
from nondet.measures.classification import CORRELATIONS
from nondet.measures.figure import Figure, score
from nondet.stats.estimate import Estimate
from nondet.stats.intervals import pairwise_estimate
from nondet.stats.values import LARGEST_VALUE, TILE, Floats, Integers

TOLERANCE = 0.1
"""Two predictions that differ by more than this share of the labels' SD over the test set have moved."""


def checked_predictions_of(outputs: ArrayLike) -> Floats:
    """Return predictions `(N, n, k)` in float64; BadInput unless they are finite numbers of at least two runs."""
    values = np.asarray(outputs, dtype=np.float64)
    if values.ndim != 3 or len(values) < 2 or 0 in values.shape:
        raise BadInput(
            f"outputs must have three axes, at least 2 runs, examples and numbers (got shape {values.shape}); "
            "give one (examples, numbers) array for each run"
        )
    if not (np.abs(values) <= LARGEST_VALUE).all():
        raise BadInput(
            f"outputs must be finite numbers of at most {LARGEST_VALUE:g} (got another); leave failed runs out"
        )
    return values


class Predicted(Pairs):
    """The predictions of N runs. outputs: `(N, n, k)`. labels: `(n, k)`."""

    def __init__(self, outputs: ArrayLike, labels: ArrayLike) -> None:
        self.outputs: Floats = checked_predictions_of(outputs)
        self.runs, self.examples = self.outputs.shape[:2]
        self.labels: Floats = np.asarray(labels, dtype=np.float64).reshape(self.examples, -1)

    @cached_property
    def rmse(self) -> Floats:
        """The root of each run's mean squared error over examples and numbers, `(N,)`, in the labels' unit."""
        return np.sqrt(np.square(self.outputs - self.labels).mean(axis=2).mean(axis=1))

    @cached_property
    def r_squared(self) -> Floats:
        """The share of the labels' variance that each run predicts, `(N,)`: 1 - squared errors / squared deviations.

        Both are summed over all numbers of all examples; deviations are from each number's own mean (`r2_score` of
        scikit-learn with `multioutput="variance_weighted"`). NaN if the labels do not vary.
        """
        deviations = float(np.square(self.labels - self.labels.mean(axis=0)).sum())
        if not deviations:
            return np.full(self.runs, math.nan)
        return 1.0 - np.square(self.outputs - self.labels).sum(axis=(1, 2)) / deviations

    @cached_property
    def distances(self) -> Floats:
        """Each run's mean absolute difference from the others, `(N,)`, in the labels' unit.

        There is no loop over pairs: with the numbers sorted, x_1 to x_N, and S_i the sum of the first i, the distances
        of number i from all others sum to `(2 i - N) x_i - 2 S_i + S_N`.
        """
        total, weights = np.zeros(self.runs), 2 * np.arange(1, self.runs + 1)[:, None] - self.runs
        for part in self._parts():
            part = part - part.mean(axis=0)  # no digits are lost far from 0
            order = part.argsort(axis=0, kind="stable")
            ordered = np.take_along_axis(part, order, axis=0)
            sums = ordered.cumsum(axis=0)
            apart = np.maximum(0.0, weights * ordered - 2 * sums + sums[-1])
            apart[:, ordered[0] == ordered[-1]] = 0.0
            np.add.at(total, order, apart)
        return total / (self.outputs[0].size * (self.runs - 1))

    @cached_property
    def square_distances(self) -> Floats:
        """Each run's mean squared difference from the others, `(N,)`.

        With e_i the deviation of run i from the mean over runs: `(N |e_i|^2 + sum_j |e_j|^2) / (N - 1)`, over numbers.
        """
        squares = np.zeros(self.runs)
        for part in self._parts():
            part = part - part[0]
            squares += np.square(part - part.mean(axis=0)).sum(axis=1)
        return (self.runs * squares + squares.sum()) / ((self.runs - 1) * self.outputs[0].size)

    @cached_property
    def moved(self) -> Floats:
        """How often each run's predictions differ from another run's by more than a tolerance, `(N,)`, in percent.

        The tolerance of each of the k numbers is TOLERANCE times its labels' SD; if these do not vary, any difference
        counts. For numbers it is what disagreement, and churn between two models, is for classes.
        """
        bound = TOLERANCE * self.labels.std(axis=0)
        counts = np.zeros(self.runs)
        for start in range(0, self.examples, step := max(1, TILE // self.outputs[:, 0].size)):
            part = self.outputs[:, start : start + step]
            counts += [int((np.abs(part - run) > bound).sum()) for run in part]
        return 100.0 * counts / ((self.runs - 1) * self.outputs[0].size)

    @cached_property
    def some(self) -> Integers:
        """At most GROUP of the runs, evenly spaced in the order of their errors, whatever order they are in."""
        places = np.linspace(0, self.runs - 1, min(self.runs, GROUP)).round().astype(np.int64)
        return np.argsort(self._errors, kind="stable")[np.unique(places)]

    @property
    def _errors(self) -> Floats:
        return self.rmse

    def _parts(self) -> Iterator[Floats]:
        """Yield all numbers of the runs, some at a time, `(N, t)`."""
        flat = self.outputs.reshape(self.runs, -1)
        for start in range(0, flat.shape[1], step := max(1, TILE // self.runs)):
            yield flat[:, start : start + step]


class AnyAnswers(Predicted):
    """The outputs of N runs of any kind, `(N, n, k)`, without labels; and the test loss of each run, `(N,)`."""

    def __init__(self, outputs: ArrayLike, losses: ArrayLike) -> None:
        super().__init__(outputs, np.zeros(np.shape(outputs)[1:]))
        self.losses: Floats = np.asarray(losses, dtype=np.float64)

    @property
    def _errors(self) -> Floats:
        return self.losses


RMSE = score("rmse", "RMSE", lambda answers: answers.rmse, better=-1, decimals=4, bounds=(0.0, math.inf))
R_SQUARED = score("r2", "R²", lambda answers: answers.r_squared, decimals=4, bounds=(-math.inf, 1.0))
TEST_LOSS = score("test_loss", "loss", lambda answers: answers.losses, better=-1, decimals=4, title="test loss")


def _root(e: Estimate) -> Estimate:
    """Return the root of half a mean squared difference: the SD between runs, with its error by the delta method."""
    value = math.sqrt(max(0.0, e.value) / 2)
    error = e.error / (4 * value) if value else e.error
    return Estimate(value, error, math.sqrt(max(0.0, e.low) / 2), math.sqrt(max(0.0, e.high) / 2))


def _apart(name: str, by_run: Callable[[Any], Any], scale: Callable[[Estimate], Estimate], **rest: Any) -> Figure:
    """Make the measure of how far two runs are apart, from each run's mean over its partners."""

    def compute(answers: Any) -> Estimate:
        return scale(pairwise_estimate(by_run(answers), distance_from=0.0))

    return replace(Figure(name, compute, decimals=4, bounds=(0.0, math.inf), origin=0.0, effect=by_run), **rest)


SPREAD = _apart(
    "prediction.sd",
    attrgetter("square_distances"),
    _root,
    label="SD of a prediction between runs",
    words="the predictions' SD",
    title="pred. SD",
    plot="prediction-sd",
    short="pred. SD²",
)
DISTANCE = _apart(
    "distance",
    attrgetter("distances"),
    lambda e: e,
    label="mean absolute difference of two runs' predictions",
    words="the distance",
    title="distance",
    plot="distance",
    short="distance",
)
MOVED = _apart(
    "moved",
    attrgetter("moved"),
    lambda e: e,
    label="predictions of two runs more than 0.1 SD of the labels apart (%)",
    words="the share of predictions that move",
    title="moved (%)",
    decimals=2,
    plot="moved",
    bounds=(0.0, 100.0),
    short="moved",
)
CORRELATION = replace(
    CORRELATIONS[0], label="correlation of two runs' outputs", logits=False, sampled=False, added=None
)
SCORES = (RMSE, R_SQUARED)
FIGURES = (*RMSE.figures(), *R_SQUARED.figures(), SPREAD, DISTANCE, MOVED, CORRELATION)
ANY_SCORES = (TEST_LOSS,)
ANY_FIGURES = (*TEST_LOSS.figures(), SPREAD, DISTANCE, CORRELATION)
