"""What new runs of the same recipe will show, predicted from the runs that are there."""

from __future__ import annotations

import math

from nondet.stats.intervals import student
from nondet.stats.values import Floats

NORMAL_TEST = 8
"""Fewer runs than this show no shape; from here on `unlike_normal` tests for one."""


def prediction_reach(sd: float, runs: int, new_runs: int, level: float) -> float:
    """How far the mean of `new_runs` new runs may lie from the mean of `runs` runs, in a share 1 - `level` of cases.

    `t sd sqrt(1 / runs + 1 / new_runs)`, where t is Student's quantile with `runs - 1` degrees of freedom. It is exact
    for normal values, if all runs are of one recipe and independent.
    Source: Hahn & Meeker 1991, Statistical Intervals, section 4.7.

    Args:
        sd: of the runs (ddof = 1), in the unit of the metric. runs: at least 2. new_runs: at least 1.
    """
    return student(runs - 1, level) * sd * math.sqrt(1 / runs + 1 / new_runs)


def unlike_normal(values: Floats) -> float | None:
    """P-value of the Shapiro-Wilk test that one number per run, `(N,)`, is normal; None if it cannot be tested.

    Source: Shapiro & Wilk 1965, Biometrika 52; scipy.stats.shapiro.
    """
    from scipy.stats import shapiro

    if len(values) < NORMAL_TEST or not values.min() < values.max():
        return None
    return float(shapiro(values[:5000]).pvalue)


def between_extremes(runs: int) -> float:
    """Chance that one new run lies between the smallest and the largest of `runs` runs, whatever their distribution.

    Source: Wilks 1941, Annals of Mathematical Statistics 12.
    """
    return (runs - 1) / (runs + 1)
