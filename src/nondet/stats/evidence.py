"""Evidence, run after run, that a new recipe's mean is above a baseline's. You may look at it as often as you like.

It is an e-process: if the mean is not above the baseline's, its expectation is at most 1 at any time and under any
stopping rule. So the chance that it ever reaches `1 / level` is at most `level` (Ville 1939). It assumes that both
recipes' runs are normal with the same unknown SD.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from nondet.stats.intervals import student
from nondet.stats.power import above, fewest
from nondet.stats.values import Floats

EFFECTS = (0.5, 1.0, 2.0)
"""Differences of means, in SDs of a run, over which the evidence averages."""

OWN_SD = 2
"""From so many runs on, the new recipe's own SD is used if it is larger."""

_REACH = 7.0
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(40)


def log_evidence(base: Floats, new: Floats) -> float:
    """Logarithm of the e-value that the mean of `new` is above that of `base`; -inf without new runs.

    The mean, over `EFFECTS`, of the likelihood ratio of the t statistic, noncentral against central. t is the maximal
    invariant of both arms' runs, so its ratio is a martingale as runs are added to either (Hall, Wijsman & Ghosh
    1965, Ann. Math. Statist. 36; Pérez-Ortiz et al. 2024, Ann. Statist. 52). The SD is the pooled one, or that of
    `new` alone if it is larger, which can only lower the evidence.

    Args:
        base: one number per run, `(N,)`, at least 2 that are not all equal. new: likewise, `(K,)`.
    """
    if not len(new):
        return -math.inf
    own = float(np.var(new, ddof=1)) if len(new) > 1 else 0.0
    t, freedom, size = statistic(
        len(base), float(base.mean()), float(np.var(base, ddof=1)), len(new), float(new.mean()), own
    )
    return float(log_mixture(t, freedom, size))


def statistic(
    runs: int, mean: ArrayLike, variance: ArrayLike, new_runs: ArrayLike, new_mean: ArrayLike, new_variance: ArrayLike
) -> tuple[Floats, Floats, Floats]:
    """Return the t statistic from two arms' means and variances (ddof = 1), its degrees of freedom, `N K / (N + K)`."""
    count = np.asarray(new_runs, dtype=np.float64)
    freedom, size = runs + count - 2, runs * count / (runs + count)
    pooled = ((runs - 1) * np.asarray(variance) + (count - 1) * np.asarray(new_variance)) / freedom
    larger = np.where(count >= OWN_SD, np.maximum(pooled, new_variance), pooled)
    t = (np.asarray(new_mean) - np.asarray(mean)) * np.sqrt(size / larger)
    return t, freedom, size


def log_mixture(t: ArrayLike, freedom: ArrayLike, size: ArrayLike) -> Floats:
    """Logarithm of the mean over `EFFECTS` of the ratio of densities at `t`, for arrays of one shape."""
    root = np.sqrt(np.asarray(size, dtype=np.float64))
    ratios = [log_ratio(t, freedom, effect * root) for effect in EFFECTS]
    return special.logsumexp(ratios, axis=0) - math.log(len(EFFECTS))


def log_ratio(t: ArrayLike, freedom: ArrayLike, shift: ArrayLike) -> Floats:
    """Logarithm of the noncentral t density over the central one, at `t`; rises with `t` where the shift is above 0.

    With z = shift t / sqrt(freedom + t^2) the ratio is
    `exp(-shift^2 / 2) integral u^f exp(u z - u^2 / 2) du / integral u^f exp(-u^2 / 2) du` over u > 0 (Johnson & Kotz,
    Continuous Univariate Distributions 2, chapter 31). The first integrand has one peak, no wider than that of a normal
    distribution with SD 1, and is integrated by Gauss's rule.
    """
    t, f, shift = (np.asarray(x, dtype=np.float64) for x in (t, freedom, shift))
    z = shift * t / np.sqrt(f + t**2)
    top = (z + np.sqrt(z**2 + 4 * f)) / 2
    low = np.maximum(0.0, top - _REACH)
    half = (top + _REACH - low) / 2
    u = low[..., None] + half[..., None] * (1 + _NODES)
    peak = top[..., None]
    heights = f[..., None] * np.log(u / peak) - (u**2 - peak**2) / 2 + (u - peak) * z[..., None]
    area = f * np.log(top) - top**2 / 2 + top * z + np.log(half * (np.exp(heights) @ _WEIGHTS))
    return area - shift**2 / 2 - (f - 1) / 2 * math.log(2) - special.gammaln((f + 1) / 2)


def fixed_runs(effect: float, runs: int, level: float, power: float, most: int) -> int | None:
    """The runs of a new recipe with which a one-sided t-test at `level` finds, with chance `power`, that it is better.

    effect: how much better it is than a baseline of `runs` runs, in SDs. None if not even `most` runs are enough.
    """

    def reached(count: int) -> float:
        freedom, size = runs + count - 2, runs * count / (runs + count)
        return above(freedom, effect * math.sqrt(size), student(freedom, 2 * level))

    return fewest(reached, power, 1, most)
