"""Compare arms over several data sets or tasks: interquartile means, chances of improvement, tests of ranks.

An arm's scores are a list with one array per data set, `(N_d,)`. Sources: Agarwal et al., "Deep Reinforcement Learning
at the Edge of the Statistical Precipice", NeurIPS 2021 (whose library is rliable); Demsar, "Statistical Comparisons of
Classifiers over Multiple Data Sets", JMLR 7, 2006.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from scipy import stats

from nondet.stats.estimate import Estimate
from nondet.stats.jackknife import summed
from nondet.stats.means import Shift, welch
from nondet.stats.values import Floats

RESAMPLES = 2000
"""Bootstrap resamples behind an interval."""

FEWEST = 3
"""The fewest arms for Friedman's test, and the fewest data sets for any test over data sets."""


@dataclass(frozen=True)
class Ranks:
    """Friedman's test that all arms rank the same over the data sets, and Nemenyi's test of each pair.

    mean: rank of each arm over the data sets, 1 the best, ties shared. pairs: p-value by places of two arms.
    """

    statistic: float
    p_value: float
    mean: tuple[float, ...]
    pairs: dict[tuple[int, int], float]


def interquartile_mean(scores: Sequence[Floats]) -> float:
    """The mean of the middle half of all runs of all data sets, like rliable's `aggregate_iqm`."""
    return float(stats.trim_mean(np.concatenate(list(scores)), 0.25))


def improvement(a: Sequence[Floats], b: Sequence[Floats]) -> float:
    """The mean over data sets of the chance that a run of b is above one of a, ties counted half.

    Like rliable's `probability_of_improvement`.
    """
    chances = [
        (np.greater(y[:, None], x).sum() + 0.5 * np.equal(y[:, None], x).sum()) / (len(x) * len(y))
        for x, y in zip(a, b, strict=True)
    ]
    return float(np.mean(chances))


def bootstrapped(figure: Callable[..., float], *arms: Sequence[Floats], level: float = 0.05) -> Estimate:
    """A statistic of some arms with the percentile interval of its stratified bootstrap.

    Runs are drawn again within each data set and arm, so the interval allows for other runs on these data sets.
    """
    draws = np.random.Generator(np.random.Philox(0))
    found = np.empty(RESAMPLES)
    for place in range(RESAMPLES):
        found[place] = figure(*([x[draws.integers(0, len(x), len(x))] for x in arm] for arm in arms))
    low, high = np.quantile(found, [level / 2, 1 - level / 2])
    return Estimate(figure(*arms), float(found.std(ddof=1)), float(low), float(high))


def mean_shift(a: Sequence[Floats], b: Sequence[Floats]) -> Shift:
    """The mean over these data sets of the differences of means, B - A; each data set has the same weight.

    The error allows for other runs on the same data sets: the root of the sum of Welch's squared errors, divided by
    their number, with Satterthwaite's degrees of freedom from all parts.
    """
    parts = [np.var(x, ddof=1) / len(x) for arm in (a, b) for x in arm]
    error, freedom = summed(np.array(parts) / len(a) ** 2, [len(x) - 1 for arm in (a, b) for x in arm])
    return Shift(float(np.mean([welch(x, y).estimate for x, y in zip(a, b, strict=True)])), error, freedom)


def signed_rank(a: Sequence[Floats], b: Sequence[Floats]) -> tuple[float, float]:
    """Wilcoxon's signed-rank statistic of the data sets' differences of means, and its p-value, from scipy.

    It allows for other data sets, drawn as these were. Without any difference the p-value is 1.
    """
    differences = np.array([y.mean() - x.mean() for x, y in zip(a, b, strict=True)])
    if len(differences) < FEWEST or not differences.any():
        return math.nan, 1.0
    found: Any = stats.wilcoxon(differences)
    return float(found.statistic), float(found.pvalue)


def ranks(arms: Sequence[Sequence[Floats]], better: int) -> Ranks | None:
    """Friedman's test of the arms' means on each data set, with Nemenyi's post-hoc test; None for too few of either.

    better: 1 if more is better, -1 if less is.
    """
    means = np.array([[x.mean() for x in arm] for arm in arms])  # (k, D)
    count, sets = means.shape
    if count < FEWEST or sets < FEWEST:
        return None
    if (means == means[0]).all():  # all arms tie on every data set, and the statistic is 0 / 0
        return Ranks(0.0, 1.0, ((count + 1) / 2,) * count, dict.fromkeys(combinations(range(count), 2), 1.0))
    found: Any = stats.friedmanchisquare(*means)
    mean = stats.rankdata(-better * means, axis=0).mean(axis=1)
    scale = math.sqrt(count * (count + 1) / (6 * sets))
    pairs = {
        (i, j): float(stats.studentized_range.sf(abs(mean[i] - mean[j]) / scale * math.sqrt(2), count, np.inf))
        for i, j in combinations(range(count), 2)
    }
    return Ranks(float(found.statistic), float(found.pvalue), tuple(float(rank) for rank in mean), pairs)
