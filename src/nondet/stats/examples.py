"""Two models on the same examples, one score each: which answers flip, and the error of a mean over examples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from nondet.stats.means import Shift
from nondet.stats.values import Floats, Integers


def mcnemar(a_only: int, b_only: int) -> float:
    """Exact p-value, two-sided, that an answer flips as often one way as the other; 1 where none does.

    Given how many flip, half of them go each way by chance: a binomial test.
    Source: McNemar 1947, Psychometrika 12; scipy.stats.binomtest.
    """
    return float(stats.binomtest(b_only, a_only + b_only).pvalue) if a_only + b_only else 1.0


def error_of_mean(values: Floats, clusters: Sequence[object] | None = None) -> tuple[float, float]:
    """Standard error of the mean over examples `(n,)`, and its degrees of freedom.

    Without clusters `sd / sqrt(n)` (ddof = 1). With them examples of one cluster, such as questions on one text, may
    depend on each other in any way: `sqrt(C / (C - 1) sum_c (sum_i in c (x_i - mean))^2) / n`, with C - 1 degrees.
    Source: Miller 2024, Adding error bars to evals, appendix A, with the correction for a finite C that inspect makes.

    Args:
        values: at least 2. clusters: of each example, at least 2 different ones.
    """
    count = len(values)
    if clusters is None:
        return float(np.std(values, ddof=1)) / math.sqrt(count), count - 1.0
    sums = np.bincount(group_numbers(clusters), weights=values - values.mean())
    groups = len(sums)
    return math.sqrt(float(np.square(sums).sum()) * groups / (groups - 1)) / count, groups - 1.0


def group_numbers(groups: Sequence[object]) -> Integers:
    """The group of each example as a number from 0, `(n,)`, in the order in which they come up."""
    places: dict[object, int] = {}
    return np.array([places.setdefault(group, len(places)) for group in groups], dtype=np.int64)


def variance_of_groups(means: Floats, within: Sequence[Floats], groups: Integers) -> float:
    """What drawing groups of examples adds to the squared error of a mean over runs and examples.

    Runs and examples cross, as in `nondet.measures.by_example`; the examples of a group may depend on each other in any
    way. With D_g the sum over a group of the distances from the mean it is `C / (C - 1) sum_g D_g^2 / n^2` of the means
    over runs, less the part that is each cell's own: the variance of the same sums over runs.

    Args:
        means: over runs `(n,)`. within: for each arm the sums by run and group, `(N, C)`, of its numbers; each is
            divided by its number of runs. groups: `(n,)`, from 0.
    """
    count, sizes = len(means), np.bincount(groups)
    between = np.square(np.bincount(groups, weights=means - means.mean())).sum()
    for sums in within:
        apart = sums - sizes * sums.sum(axis=1, keepdims=True) / count
        between -= apart.var(axis=0, ddof=1).sum() / len(sums)
    return max(0.0, float(between)) * len(sizes) / (len(sizes) - 1) / count**2


def sums_by_group(table: NDArray[Any], groups: Integers) -> Floats:
    """Sums over the examples of each group, `(N, C)`, of numbers by run and example `(N, n)`."""
    return np.array([np.bincount(groups, weights=row) for row in table], dtype=np.float64)


def difference_of(a: Floats, b: Floats, clusters: Sequence[object] | None = None) -> Shift:
    """Mean over examples of b - a, of scores `(n,)` of the same examples."""
    return Shift(float(np.mean(b - a)), *error_of_mean(b - a, clusters))


def p_within_without_flips(examples: int, share: float) -> float:
    """P-value that at least this share of all examples flips, where none of these did: `(1 - share)^n`."""
    return (1 - min(1.0, share)) ** examples
