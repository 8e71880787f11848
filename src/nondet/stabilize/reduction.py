"""Variability reduction: five figures of a method beside those of the single model, as one percentage."""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass

from nondet.measures import Measures


@dataclass(frozen=True)
class Columns:
    """The table's five columns: SDs of accuracy (points) and cross-entropy (nats), disagreement (%), mean pairwise
    Pearson correlation, and the two-run ensemble's gain of accuracy (points).
    """

    accuracy_sd: float
    cross_entropy_sd: float
    disagreement: float
    correlation: float
    ensemble_delta: float


def columns(measures: Measures) -> Columns:
    """A condition's five columns."""
    return Columns(
        accuracy_sd=measures.accuracy.sd,
        cross_entropy_sd=measures.cross_entropy.sd,
        disagreement=measures.disagreement,
        correlation=measures.correlation.pearson,
        ensemble_delta=measures.ensemble_delta.accuracy,
    )


def reduction(baseline: Columns, method: Columns) -> float:
    """Variability reduction of a method against the baseline, in percent; negative where the method varies more.

    The mean over the columns of `100 (b - m) / b`, where a correlation r counts as 1 - r. A column is left out where
    the baseline's is not above 0 or either is NaN, since no share of it can be taken; NaN if that leaves none.
    Source: Summers & Dinneen, ICML 2021, table 2.
    """
    pairs = zip(_distances(baseline), _distances(method), strict=True)
    shares = [100 * (b - m) / b for b, m in pairs if b > 0 and not math.isnan(m)]
    return sum(shares) / len(shares) if shares else math.nan


def _distances(row: Columns) -> tuple[float, ...]:
    *others, correlation, delta = astuple(row)
    return (*others, 1 - correlation, delta)
