"""The measures of real-valued predictions: how good they are, and how far runs are apart.

Shapes: (N, n, k) = (runs, examples, numbers predicted for each). Errors are in the labels' unit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from nondet.errors import BadInput
from nondet.measures.diversity import correlations
from nondet.stats.values import LARGEST_VALUE, TILE, Floats, Integers

GROUP = 32
"""So many runs are enough for a quantity that only corrects an error and needs every pair."""

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


class Predicted:
    """The predictions of N runs. outputs: `(N, n, k)`. labels: `(n, k)`."""

    classes_alone = False
    sampled_pairs = None

    def __init__(self, outputs: ArrayLike, labels: ArrayLike) -> None:
        self.outputs: Floats = checked_predictions_of(outputs)
        self.runs, self.examples = self.outputs.shape[:2]
        self.labels: Floats = np.asarray(labels, dtype=np.float64).reshape(self.examples, -1)

    @cached_property
    def equal(self) -> bool:
        return bool((self.outputs == self.outputs[0]).all())

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
    def pearson(self) -> tuple[Floats, Floats]:
        return correlations(self.outputs, "pearson", evenly(self._errors))

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


def evenly(errors: Floats) -> Integers:
    """Choose at most GROUP of the runs, evenly spaced in the order of their errors, whatever order they are in."""
    places = np.linspace(0, len(errors) - 1, min(len(errors), GROUP)).round().astype(np.int64)
    return np.argsort(errors, kind="stable")[np.unique(places)]
