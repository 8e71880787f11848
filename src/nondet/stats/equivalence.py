"""Are the sources' effects the same? Tests of the size of several conditions' effects, from one number per run.

A condition's effect is either the SD of a number per run (accuracy, cross-entropy), or a mean over pairs of runs
(such as disagreement), given as each run's mean over its partners. Conditions must not share runs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

import numpy as np
from scipy import stats

from nondet.errors import BadInput
from nondet.stats.holm import holm
from nondet.stats.intervals import delete_one
from nondet.stats.jackknife import jackknife, sds_without_each, summed
from nondet.stats.means import share_as_large
from nondet.stats.values import Floats

MIN_RUNS = 5
"""With fewer runs, a condition has no usable error."""

PERMUTATIONS = 4999
POWER = 0.8
"""The chance that `Pair.runs_needed` runs show two conditions alike, if their effects are equal."""

Verdict = Literal["equivalent", "different", "undecided"]


@dataclass(frozen=True)
class Metric:
    """One metric of several conditions.

    Attributes:
        name: dotted, such as "accuracy.sd".
        spread: whether the effect is the SD of the numbers by run; if not, it is their mean, each a mean over partners.
        by_run: for each condition one number per run, `(N,)`, at least MIN_RUNS; larger means a larger effect.
    """

    name: str
    spread: bool
    by_run: Mapping[str, Floats]


@dataclass(frozen=True)
class Omnibus:
    """Whether all conditions have the same effect. p_value: of `same_effect`. p_holm: adjusted for all metrics."""

    metric: str
    p_value: float
    p_holm: float


@dataclass(frozen=True)
class Pair:
    """Two conditions in one metric.

    Attributes:
        ratio: a's effect divided by b's; None if one of them is not above 0.
        low, high: the interval that contains the ratio with probability 1 - 2 x level.
        p_value: of the hypothesis that the ratio lies outside 1 / margin to margin; small values show the two alike.
        p_different: of the hypothesis that the effects are the same; small values show them different.
        p_holm, p_different_holm: both, adjusted for the number of pairs.
        verdict: "equivalent" if p_holm is at most the level; else "different" if p_different_holm is; else
            "undecided".
        runs_needed: about how many runs each of the two needs to be shown alike with a chance of 0.8, if the ratio
            is 1.
        reason: why there is no ratio or no interval; empty if there are both.
    """

    a: str
    b: str
    metric: str
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    p_value: float = 1.0
    p_holm: float = 1.0
    p_different: float = 1.0
    p_different_holm: float = 1.0
    verdict: Verdict = "undecided"
    runs_needed: int | None = None
    reason: str = ""


def check_margin(margin: float, level: float) -> None:
    """Refuse a margin that is not a ratio above 1, and a level that leaves nothing to show."""
    if not 1 < margin < math.inf:
        raise BadInput(f"margin must be a ratio above 1 (got {margin}); try 1.25: at most a quarter larger")
    if not 0 < level < 0.5:
        raise BadInput(f"level must be above 0 and below 0.5 (got {level}); try 0.05")


def omnibus(metrics: Sequence[Metric]) -> list[Omnibus]:
    """Test, for each metric of at least two conditions, whether all of them have the same effect."""
    tested = [m for m in metrics if len(m.by_run) > 1]
    p_values = [same_effect(list(m.by_run.values()), m.spread) for m in tested]
    return [Omnibus(m.name, p, q) for m, p, q in zip(tested, p_values, holm(p_values), strict=True)]


def pairs(metric: Metric, margin: float = 1.25, level: float = 0.05) -> list[Pair]:
    """Test every pair of a metric's conditions: is it alike within the margin, or different?

    Equivalence is tested by two one-sided t-tests of the logarithm of the ratio (Schuirmann 1987), with jackknife
    errors over runs (Miller 1968 for the SD; Arvesen 1969 for means over pairs) and Welch's degrees of freedom.
    Difference is tested by `same_effect`. Each is adjusted for the number of pairs by Holm's method.
    """
    check_margin(margin, level)
    named = list(combinations(metric.by_run, 2))
    tested = [_tested(metric, a, b, margin, level, len(named)) for a, b in named]
    different = [same_effect([metric.by_run[a], metric.by_run[b]], metric.spread) for a, b in named]
    return [
        replace(
            pair,
            p_holm=p_holm,
            p_different=p_different,
            p_different_holm=q_holm,
            verdict="equivalent" if p_holm <= level else "different" if q_holm <= level else "undecided",
        )
        for pair, p_holm, p_different, q_holm in zip(
            tested, holm([pair.p_value for pair in tested]), different, holm(different), strict=True
        )
    ]


def same_effect(groups: Sequence[Floats], spread: bool, seed: int = 0) -> float:
    """P-value of a permutation test that several conditions' runs scatter in the same way, wherever their centres lie.

    The statistic is that of a one-way analysis of variance. For an SD it is taken of the distances from the condition's
    median (Brown & Forsythe 1974); the runs' deviations from it are exchanged between conditions and centred again.
    For a mean over pairs it is taken of the jackknife's pseudo-values (Arvesen 1969), which are exchanged. The runs'
    means over partners share pairs; exchanging them as if they did not finds a difference in half of all studies
    without one. Rates of false positives: docs/alike.md.

    Args:
        groups: for each condition one number per run, `(N,)`; N may differ.
        spread: as in `Metric`.
        seed: names the permutations.
    """
    rows = [np.sort(np.asarray(group, dtype=np.float64)) for group in groups]  # the order of runs must not matter
    values = [row - np.median(row) if spread else _pseudo_values(row) for row in rows]
    pooled = np.concatenate(values)
    pooled -= pooled[0]  # no statistic depends on it, and equal numbers become exactly 0
    sizes = [len(row) for row in rows]
    least = _statistic(pooled[None], sizes, spread)[0] * (1 - 1e-9)  # sums in another order round differently

    def shuffled(draws: np.random.Generator, count: int) -> Floats:
        return _statistic(draws.permuted(np.tile(pooled, (count, 1)), axis=1), sizes, spread)

    return share_as_large(shuffled, len(pooled), least, PERMUTATIONS, seed)


def figure(by_run: Floats, spread: bool) -> float:
    """A condition's effect: the SD (ddof = 1) of its numbers, or their mean; exactly 0 for equal numbers, or zeros."""
    return float((by_run - by_run[0]).std(ddof=1)) if spread else float(by_run.mean())


def without_each(by_run: Floats, spread: bool) -> Floats:
    """The effect with each run left out in turn, `(N,)`."""
    return sds_without_each(by_run) if spread else delete_one(by_run)


def _tested(metric: Metric, a: str, b: str, margin: float, level: float, comparisons: int) -> Pair:
    """Return the ratio of two conditions' effects and its test for equivalence; without an error it shows nothing."""
    pair = Pair(a, b, metric.name)
    rows = {name: np.sort(metric.by_run[name]) for name in (a, b)}
    figures = {name: figure(row, metric.spread) for name, row in rows.items()}
    for name, value in figures.items():
        if not value > 0:
            return replace(pair, reason=f"{name} has no effect" if value == 0 else f"{name}'s figure is below 0")
    distance, limit = math.log(figures[a]) - math.log(figures[b]), math.log(margin)
    pair = replace(pair, ratio=_exp(distance))
    errors: list[float] = []
    for name, row in rows.items():
        left = without_each(row, metric.spread)
        if not left.min() > 0:
            return replace(pair, reason=f"without one of its runs {name} has no effect, so its error is not known")
        errors.append(jackknife(np.log(left)))
    if not min(errors) > 0:
        return replace(pair, reason="leaving out any run gives the same value, so no error is known")
    error, freedom = summed(np.square(errors), [len(row) - 1 for row in rows.values()])
    reach = float(stats.t.ppf(1 - level, freedom)) * error
    return replace(
        pair,
        low=_exp(distance - reach),
        high=_exp(distance + reach),
        p_value=float(stats.t.sf((limit - abs(distance)) / error, freedom)),
        runs_needed=_runs_needed(errors, [len(row) for row in rows.values()], limit, level / comparisons),
    )


def _exp(log: float) -> float:
    return math.exp(min(max(log, -700.0), 700.0))  # inside the range of float64


def _runs_needed(errors: Sequence[float], runs: Sequence[int], limit: float, level: float) -> int:
    """Return the runs with which both one-sided tests of a ratio of 1 pass with chance POWER.

    Errors fall with the square root of the runs.
    """
    of_one_run = math.sqrt(sum(n * error**2 for n, error in zip(runs, errors, strict=True)))
    reach = float(stats.norm.ppf(1 - level) + stats.norm.ppf((1 + POWER) / 2))
    return max(MIN_RUNS, math.ceil((reach * of_one_run / limit) ** 2))


def _pseudo_values(by_run: Floats) -> Floats:
    """The jackknife's pseudo-values of a mean over pairs, `N U - (N - 1) U_-i`: `(N,)`, nearly independent."""
    runs = len(by_run)
    return runs * by_run.mean() - (runs - 1) * without_each(by_run, spread=False)


def _statistic(values: Floats, sizes: Sequence[int], spread: bool) -> Floats:
    """Return the F statistic of each row of `values` (B, M); the columns are the runs, condition by condition."""
    between, within = np.zeros(len(values)), np.zeros(len(values))
    columns = np.split(values, np.cumsum(sizes)[:-1], axis=1)  # (B, N) each
    if spread:
        columns = [np.abs(column - np.median(column, axis=1, keepdims=True)) for column in columns]
    grand = np.add.reduce([column.sum(axis=1) for column in columns]) / values.shape[1]
    for column in columns:
        middle = column.mean(axis=1)
        between += column.shape[1] * np.square(middle - grand)
        within += np.square(column - middle[:, None]).sum(axis=1)
    ratio = np.divide(between, within, out=np.full(len(values), np.inf), where=within > 0)
    ratio[(within == 0) & (between == 0)] = 0.0
    return ratio * ((values.shape[1] - len(sizes)) / (len(sizes) - 1))
