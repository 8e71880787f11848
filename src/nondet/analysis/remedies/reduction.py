"""Variability reduction: five measures of a method against those of the single model, as one percentage with an error.

The error is the jackknife's over runs. A method's answers often come from the very runs that it is compared with, or
from runs with the same seeds, so both vary together: what a run does to both is summed before it is squared.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nondet.measures.answers import Answers
from nondet.measures.ensemble import gains_by_run
from nondet.measures.measured import Measures
from nondet.stats.estimate import UNKNOWN, Estimate
from nondet.stats.intervals import delete_one, satterthwaite, student
from nondet.stats.jackknife import sds_without_each
from nondet.stats.values import Floats, Integers

Columns = tuple[float, ...]
"""What varies, in the order of the table: SDs of accuracy (points) and cross-entropy (nats), disagreement (%), 1 - the
mean pairwise Pearson correlation, and the two-run ensemble's gain in accuracy (points)."""


def columns(measures: Measures, unbiased: bool = False) -> Columns:
    """Return a condition's five columns. unbiased: with ddof = 1; with ddof = 0 SDs are lower the fewer answers."""
    factor = math.sqrt(measures.sound / (measures.sound - 1)) if unbiased else 1.0
    sds = (factor * measures[name].value for name in ("accuracy.sd", "cross_entropy.sd"))
    disagreement, correlation = measures["disagreement"].value, measures["correlation.pearson"].value
    return (*sds, disagreement, 1 - correlation, measures["ensemble_delta.accuracy"].value)


def reduction(baseline: Columns, method: Columns) -> float:
    """Return the variability reduction of a method against the baseline, in percent; negative if it varies more.

    The mean over the columns of `100 (b - m) / b`. A column is left out if the baseline's is not above 0 or either is
    NaN, since no share of it can be taken; NaN if none is left.
    Source: Summers & Dinneen, ICML 2021, table 2.
    """
    shares = [100 * (b - m) / b for b, m in zip(baseline, method, strict=True) if b > 0 and not math.isnan(m)]
    return sum(shares) / len(shares) if shares else math.nan


@dataclass(frozen=True)
class Influences:
    """What each answer adds to the five columns, `(N, 5)`; the sums are 0.

    It is `(N - 1) / N` times (the column's mean over all leave-one-out columns, less the column without this answer).
    units: what each answer comes from; answers of equal units vary together, others independently.
    """

    by_answer: Floats
    units: tuple[Hashable, ...]


def influences(logits: NDArray[np.generic], labels: Integers, units: Sequence[Hashable]) -> Influences:
    """Return the influences of a method's outputs `(N, n, c)`; NaN for fewer than three answers."""
    if len(logits) < 3:
        return Influences(np.full((len(logits), 5), math.nan), tuple(units))
    answers = Answers(logits, labels)
    gains = gains_by_run(logits, labels, answers.predicted, names=("accuracy",))
    left = np.stack(
        [
            sds_without_each(answers.accuracy),
            sds_without_each(answers.losses),
            delete_one(answers.disagreement_by_run),
            1 - delete_one(answers.pearson[0]),
            delete_one(gains["accuracy"]),
        ],
        axis=1,
    )
    return Influences((left.mean(axis=0) - left) * (len(left) - 1) / len(left), tuple(units))


def reduction_uncertainty(
    baseline: Columns, method: Columns, of_baseline: Influences, of_method: Influences
) -> Estimate:
    """Return the reduction with its jackknife error and 95 % interval; NaN if either has fewer than three answers.

    The columns are unbiased ones: the interval is for the reduction over all possible runs, and an ensemble gives
    fewer answers than there are single models.

    To first order the reduction changes by `-100 sum_c (dm_c - m_c / b_c db_c) / b_c`, divided by the number of
    columns. What the answers of one unit add to that is summed, and the squares of the U sums are added, times
    `U / (U - 1)`. The interval is Student's, on the logarithm of the variability that is left, 100 - reduction.
    """
    b, m = np.array(baseline), np.array(method)
    kept = (b > 0) & ~np.isnan(m)
    value = reduction(baseline, method)
    if not kept.any():
        return UNKNOWN
    share = -100 / (np.count_nonzero(kept) * b[kept])
    moved: dict[Hashable, float] = {}
    for found, weights in ((of_method, share), (of_baseline, -share * m[kept] / b[kept])):
        for unit, row in zip(found.units, found.by_answer[:, kept] @ weights, strict=True):
            moved[unit] = moved.get(unit, 0.0) + float(row)
    squares = np.square(list(moved.values()))
    error = math.sqrt(float(squares.sum()) * len(squares) / (len(squares) - 1))
    left = 100 - value
    if math.isnan(error):
        return Estimate(value)
    if left <= 0:
        return Estimate(value, error)
    factor = math.exp(min(600.0, student(satterthwaite(squares)) * error / left))
    return Estimate(value, error, 100 - left * factor, 100 - left / factor)
