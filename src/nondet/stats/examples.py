"""Two models with one score each on the same examples: which answers flip, and the error of a mean over examples."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

from nondet.stats.groups import group_numbers
from nondet.stats.means import Shift
from nondet.stats.values import Floats


def mcnemar(a_only: int, b_only: int) -> float:
    """Exact two-sided p-value that answers flip as often one way as the other; 1 if none flips.

    It is a binomial test: of those that flip, half would go each way by chance.
    Source: McNemar 1947, Psychometrika 12; scipy.stats.binomtest.
    """
    return float(stats.binomtest(b_only, a_only + b_only).pvalue) if a_only + b_only else 1.0


def error_of_mean(values: Floats, clusters: Sequence[object] | None = None) -> tuple[float, float]:
    """Standard error of the mean over examples `(n,)`, and its degrees of freedom.

    Without clusters: `sd / sqrt(n)` (ddof = 1). With clusters, the examples of one, such as questions on one text, may
    depend on each other in any way: `sqrt(C / (C - 1) sum_c (sum_i in c (x_i - mean))^2) / n`, with C - 1 degrees.
    Source: Miller 2024, Adding error bars to evals, appendix A, with the correction for a finite C that inspect makes.

    Args:
        values: at least 2. clusters: that of each example, at least 2 different ones.
    """
    count = len(values)
    if clusters is None:
        return float(np.std(values, ddof=1)) / math.sqrt(count), count - 1.0
    sums = np.bincount(group_numbers(clusters), weights=values - values.mean())
    groups = len(sums)
    return math.sqrt(float(np.square(sums).sum()) * groups / (groups - 1)) / count, groups - 1.0


def difference_of(a: Floats, b: Floats, clusters: Sequence[object] | None = None) -> Shift:
    """Mean of b - a over examples, for scores `(n,)` of the same examples."""
    return Shift(float(np.mean(b - a)), *error_of_mean(b - a, clusters))


def p_within_without_flips(examples: int, share: float) -> float:
    """P-value that at least this share of all examples flips, when none of these did: `(1 - share)^n`."""
    return (1 - min(1.0, share)) ** examples
