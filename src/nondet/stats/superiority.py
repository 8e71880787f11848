"""How likely one run of an arm is to beat one run of another."""

from __future__ import annotations

import math

import numpy as np

from nondet.stats.intervals import student
from nondet.stats.values import Floats


def superiority(a: Floats, b: Floats, level: float = 0.05) -> tuple[float, float, float]:
    """Chance that a run of b has a larger value than a run of a, ties counted half; and its interval.

    It is Wilson's interval of a proportion (1927), with the number of trials that gives the variance of the runs'
    placements (DeLong et al. 1988), and the degrees of freedom of Brunner & Munzel (2000). There are no more trials
    than twice the harmonic mean of the numbers of runs: at 0 and 1, where the placements do not vary, only this keeps
    the interval from being a point. Simulated coverage: docs/compare.md.

    a, b: one number per run, `(N,)` and `(M,)`; larger is better. level: the interval misses the true chance in at most
    about this share of studies.
    """
    runs_a, runs_b = len(a), len(b)
    above = _placements(a, b)  # for each run of a, the share of b's that beat it
    below = _placements(-b, -a)  # for each run of b, the share of a's that it beats
    chance = float(np.mean(above))
    parts = float(np.var(above, ddof=1)) / runs_a, float(np.var(below, ddof=1)) / runs_b
    variance = sum(parts)
    trials, freedom = 4 * runs_a * runs_b / (runs_a + runs_b), float(min(runs_a, runs_b) - 1)
    if variance > 0:
        inside = (chance * runs_a * runs_b + 0.5) / (runs_a * runs_b + 1)  # never 0 or 1
        trials = min(trials, inside * (1 - inside) / variance)
        freedom = variance**2 / (parts[0] ** 2 / (runs_a - 1) + parts[1] ** 2 / (runs_b - 1))
    square = student(freedom, level) ** 2
    middle = (chance + square / (2 * trials)) / (1 + square / trials)
    reach = math.sqrt(square * (chance * (1 - chance) / trials + square / (4 * trials**2))) / (1 + square / trials)
    return chance, max(0.0, min(chance, middle - reach)), min(1.0, max(chance, middle + reach))


def _placements(a: Floats, b: Floats) -> Floats:
    """For each value of a, the share of b's values above it, equal ones counted half."""
    ordered = np.sort(b)
    up_to = np.searchsorted(ordered, a, side="left") + np.searchsorted(ordered, a, side="right")
    return 1 - up_to / (2 * len(b))
