"""How much of the accuracy's variance comes from the finite test set, and how much any test set would show.

A run's accuracy is a mean over n test examples, so its variance over runs is a mean of the covariances of all n x n
pairs of examples. The n variances among them come from the test set: if runs differed on each example independently,
there would be nothing else, the accuracies' variance would shrink as 1 / n, and another test set would rank the runs
differently. An infinitely large test set would still show the mean covariance of two different examples: some runs are
better.
Source: Jordan, "On the Variance of Neural Network Training with respect to Test Sets and Distributions", ICLR 2024,
arXiv:2304.01910; this is its unbiased estimator of the variance with respect to the test distribution.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nondet.errors import BadInput
from nondet.measures.arrays import checked_labels, checked_predictions
from nondet.stats.estimate import Estimate
from nondet.stats.intervals import pairwise_estimate, sd_interval
from nondet.stats.values import Floats

POINTS = 1e4
"""Squared points in a variance of shares: accuracies are in percent."""


@dataclass(frozen=True)
class AccuracyVariance:
    """Variance over runs of the accuracy, in squared points: `total` = `test_set` + `training`.

    Attributes:
        total: on this test set, unbiased (ddof = 1): N / (N - 1) times the square of the table's SD.
        test_set: the part caused by the finite test set.
        training: the part that an infinitely large test set would show: mean over pairs of different examples of the
            covariance over runs of their correctness. It is an unbiased estimate, so it can be slightly below 0.
        examples: n, the size of the test set.

    `test_set` and `training` are NaN for one example.
    """

    total: float
    test_set: float
    training: float
    examples: int


def accuracy_variance(predicted: ArrayLike, labels: ArrayLike) -> AccuracyVariance:
    """Split the variance of the accuracy into the test set's part and the training's, from classes `(N, n)` and `(n,)`.

    With v_x the variance over runs of the correctness of example x (ddof = 1), training is
    `(n^2 total - sum_x v_x) / (n (n - 1))`.
    """
    classes = checked_predictions(predicted)
    right = classes == checked_labels(labels, classes.shape[1])
    total, training = (float(rows.mean()) for rows in variance_by_run(right))
    return AccuracyVariance(total, total - training, training, right.shape[1])


def expected_variance(variance: AccuracyVariance, examples: int) -> float:
    """The variance expected on a new test set of so many examples, in squared points.

    With v the mean over examples of v_x it is `training + (v - training) / m`; at m = n that is `total`.

    Raises:
        BadInput: fewer than one example.
    """
    if examples < 1:
        raise BadInput(f"examples must be at least 1 (got {examples}); give the size of a test set")
    return variance.training + variance.test_set * variance.examples / examples


def variance_estimates(right: NDArray[np.bool_]) -> dict[str, Estimate]:
    """`total`, `test_set` and `training` with their jackknife errors over runs (NaN for two runs) and intervals.

    The interval of `total` is that of the SD, squared. That of `training`, the difference of the other two, combines
    theirs (MOVER: Zou & Donner, Statistics in Medicine 27, 2008), since differences of variances are as skewed as
    variances.

    Args:
        right: whether a run is right on an example, `(N, n)`.
    """
    totals, trainings = variance_by_run(right)
    total, training = float(totals.mean()), float(trainings.mean())
    sds = sd_interval(100.0 * right.mean(axis=1))
    whole = Estimate(total, pairwise_estimate(totals).error, sds[0] ** 2, sds[1] ** 2)
    if right.shape[1] < 2 or len(right) < 3:
        return {"total": whole, "test_set": Estimate(total - training), "training": Estimate(training)}
    part = replace(pairwise_estimate(totals - trainings), value=total - training)
    low = training - math.hypot(total - min(total, whole.low), part.high - part.value)
    high = training + math.hypot(max(total, whole.high) - total, part.value - part.low)
    return {
        "total": whole,
        "test_set": part,
        "training": Estimate(training, pairwise_estimate(trainings).error, low, high),
    }


def variance_by_run(right: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Each run's mean over its partners of `total` and of `training`, two `(N,)`: both are means over pairs of runs.

    For runs i and j that are right on a_i and a_j examples, with only one of them right on d_ij, they are
    `(a_i - a_j)^2 / (2 n^2)` and `((a_i - a_j)^2 - d_ij) / (2 n (n - 1))`. All sums are of whole numbers.
    """
    runs, examples = right.shape
    count = right.sum(axis=1, dtype=np.int64)  # (N,)
    votes = right.sum(axis=0, dtype=np.int64)  # (n,): how many runs are right
    apart = runs * count**2 - 2 * count * count.sum() + np.square(count).sum()  # sum over j of (a_i - a_j)^2
    alone = np.array([np.where(row, runs - votes, votes).sum() for row in right])  # sum over j of d_ij
    totals = POINTS * apart / (2 * (runs - 1) * examples**2)
    if examples < 2:
        return totals, np.full(runs, math.nan)
    return totals, POINTS * (apart - alone) / (2 * (runs - 1) * examples * (examples - 1))
