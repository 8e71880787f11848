"""Churn: the share of test examples that two runs answer differently, between two arms and within each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nondet.errors import BadInput
from nondet.measures.arrays import vote_parts
from nondet.stats.estimate import number
from nondet.stats.intervals import student
from nondet.stats.jackknife import jackknife
from nondet.stats.values import Floats, Integers


@dataclass(frozen=True)
class Churn:
    """Shares of test examples answered differently, in percent, each a mean over pairs of runs.

    Attributes:
        between: by a run of A and a run of B.
        within_a, within_b: by two runs of the same arm.
        excess: between - (within_a + within_b) / 2: what the arms add to the noise of training. It is 0 if both give
            each example the same distribution of answers, and otherwise above 0, apart from chance: it estimates the
            mean over examples of half the squared distance between the two distributions.
        errors: standard errors by these names, from a jackknife over the runs of each arm (Arvesen 1969, Ann. Math.
            Statist. 40); None if an arm has fewer than three runs.
        interval: that of the excess; None if its error is unknown or 0.
    """

    between: float
    within_a: float
    within_b: float
    excess: float
    errors: dict[str, float | None]
    interval: tuple[float, float] | None


def churn(
    a: NDArray[np.integer],
    b: NDArray[np.integer],
    level: float = 0.05,
    matched: Sequence[tuple[int, int]] = (),
) -> Churn:
    """Compute the churn of two arms' predictions, `(N, n)` and `(M, n)`: any integers, such as classes or tokens.

    There is no loop over pairs: on an example, a run of A agrees with all runs of B that predict the same class.

    Args:
        a, b: the predictions.
        level: one minus the coverage of the interval.
        matched: pairs of places of runs of A and B that are not independent, no run twice; `between` leaves them out.

    Raises:
        BadInput: the two arms do not have the same examples, or too few pairs are independent.
    """
    if a.shape[1] != b.shape[1]:
        raise BadInput(f"both arms must answer the same examples (got {a.shape[1]} and {b.shape[1]}); use one test set")
    runs, examples = (len(a), len(b)), a.shape[1]
    within_a, between_a, within_b, between_b = (100 * x / examples for x in _differing(a, b))
    partners = np.full(runs[0], runs[1]), np.full(runs[1], runs[0])
    for i, j in matched:
        own = 100 * np.count_nonzero(a[i] != b[j]) / examples
        for between, count, place in ((between_a, partners[0], i), (between_b, partners[1], j)):
            between[place] -= own
            count[place] -= 1
    if not partners[0].sum() > max(*partners[0], *partners[1]):
        raise BadInput(f"churn needs pairs of independent runs besides the {len(matched)} matched ones; add runs")
    figures = {
        "between": float(between_a.sum()) / int(partners[0].sum()),
        "within_a": float(within_a.sum()) / (runs[0] * (runs[0] - 1)),
        "within_b": float(within_b.sum()) / (runs[1] * (runs[1] - 1)),
    }
    without = [
        _without(figures, within_a, between_a, partners[0], "within_a"),
        _without(figures, within_b, between_b, partners[1], "within_b"),
    ]
    figures["excess"] = figures["between"] - (figures["within_a"] + figures["within_b"]) / 2
    for left in without:
        left["excess"] = left["between"] - (left["within_a"] + left["within_b"]) / 2
    errors = {name: number(math.hypot(*(jackknife(left[name]) for left in without))) for name in figures}
    error = errors["excess"]
    reach = None if not error else student(min(runs) - 1, level) * error
    interval = None if reach is None else (figures["excess"] - reach, figures["excess"] + reach)
    return Churn(**figures, errors=errors, interval=interval)


def _differing(a: NDArray[np.integer], b: NDArray[np.integer]) -> list[Integers]:
    """Count the (example, partner) in which each run differs: A's within A and from B's, B's within B and from A's."""
    parts, votes = vote_parts(a, b)
    partners = (len(a), len(b), len(b), len(a))
    differing = [np.full(len(x), count * a.shape[1]) for x, count in zip((a, a, b, b), partners, strict=True)]
    for part in parts:
        (of_a, in_a), (of_b, in_b) = votes(part)
        for total, own, counts in zip(differing, (of_a, of_a, of_b, of_b), (in_a, in_b, in_b, in_a), strict=True):
            total -= counts[own].sum(axis=1)
    return differing


def _without(
    figures: dict[str, float], within: Floats, between: Floats, partners: Integers, name: str
) -> dict[str, Floats]:
    """Return the estimates with each run of one arm left out in turn, `(N,)` each; NaN within an arm left with one."""
    runs = len(within)
    values: dict[str, Floats] = {key: np.full(runs, value) for key, value in figures.items()}
    values["between"] = (between.sum() - between) / (partners.sum() - partners)
    pairs = (runs - 1) * (runs - 2)
    values[name] = (within.sum() - 2 * within) / pairs if pairs else np.full(runs, math.nan)
    return values
