"""Standard errors and 95 % intervals over runs: what a figure would be for all runs there could be, not these N alone.

Runs are independent. Pairs of runs are not, since pairs share runs: a mean over pairs is a U-statistic, whose error
comes from leaving out one run at a time (jackknife), never from the number of pairs. How often the intervals hold the
truth is simulated by `benchmarks/coverage.py`.
"""

import math

import numpy as np
from numpy.typing import ArrayLike

from nondet.stats.estimate import Estimate
from nondet.stats.jackknife import jackknife
from nondet.stats.values import Floats, checked_values, mean, sd, sd_error

FEW = 20
"""With fewer runs than this, an interval holds the truth less or more often than in 92 to 98 cases of 100, depending on
the data: less where runs differ in one skewed way, more where they share nothing."""

FEWEST_WITH_TAILS = 10
"""Fewer values than this do not show how heavy their distribution's tails are."""

NORMAL = 1.959964
"""The normal distribution's quantile that leaves 2.5 % above it."""

EPSILON = float(np.finfo(np.float64).eps)

FEWEST_DEGREES = 3.0
"""Of freedom, in an interval: an error that is known less well than this has no use."""


def mean_estimate(values: ArrayLike) -> Estimate:
    """Of `mean`: the error `sd / sqrt(N - 1)`, and Student's interval with N - 1 degrees of freedom.

    Args:
        values: one number per run, `(N,)`.

    Raises:
        BadInput: fewer than two values, or one that is not finite.
    """
    ordered = checked_values(values)
    centre, error = mean(ordered), sd(ordered) / math.sqrt(len(ordered) - 1)
    half = student(len(ordered) - 1) * error
    return Estimate(centre, error, centre - half, centre + half)


def sd_estimate(values: ArrayLike) -> Estimate:
    """Of `sd`: its bootstrap error, `sd_error`, and its interval, `sd_interval`.

    Args:
        values: one number per run, `(N,)`.

    Raises:
        BadInput: fewer than two values, or one that is not finite.
    """
    return Estimate(sd(values), sd_error(values), *sd_interval(values))


def sd_interval(values: ArrayLike) -> tuple[float, float]:
    """95 % interval for the SD of all runs, of which `sd` (ddof = 0) is an estimate, from low to high.

    It is Bonett's interval for values that need not be normal, on the logarithm of the variance (Computational
    Statistics & Data Analysis 50, 2006), with two changes, without which it holds the truth too rarely where tails are
    heavy: below the kurtosis not N - 1 but N - 3 at ten values, and N - 6 from 25 on; and Student's quantile in
    place of the normal one, with the degrees of freedom of an error that is itself estimated from squared deviations.
    Fewer than FEWEST_WITH_TAILS values show no kurtosis, and their interval is that of normal values, from the
    chi-square distribution.

    Args:
        values: one number per run, `(N,)`.

    Raises:
        BadInput: fewer than two values, or one that is not finite.
    """
    ordered = checked_values(values)
    spread = sd(ordered)
    if spread == 0.0:
        return 0.0, 0.0
    low, high = (
        _normal(len(ordered)) if len(ordered) < FEWEST_WITH_TAILS else _bonett((ordered - mean(ordered)) / spread)
    )
    return spread * min(1.0, low), spread * high


def delete_one(by_run: ArrayLike) -> Floats:
    """A mean over pairs as it is without each run in turn, `(N,)`: `(N U - 2 r_i) / (N - 2)`, U being the mean of r.

    Args:
        by_run: each run's mean over its partners, r `(N,)`, at least three.
    """
    rows = np.asarray(by_run, dtype=np.float64)
    return (rows.sum() - 2 * rows) / (len(rows) - 2)


def pairwise_error(by_run: ArrayLike) -> float:
    """Jackknife error of a mean over pairs: `sqrt((N - 1) / N sum_i (U_-i - U)^2)`; NaN of two runs.

    Where no run differs from others more than chance pairs do, it is too large by up to a factor sqrt(2).
    Sources: Arvesen, Annals of Mathematical Statistics 40, 1969; Efron & Stein, Annals of Statistics 9, 1981.

    Args:
        by_run: each run's mean over its partners, `(N,)`.
    """
    rows = np.asarray(by_run, dtype=np.float64)
    if len(rows) < 3:
        return math.nan
    return jackknife(delete_one(np.sort(rows)))


def pairwise_estimate(
    by_run: ArrayLike,
    *,
    matrix: ArrayLike | None = None,
    distance_from: float | None = None,
    exactly: float | None = None,
) -> Estimate:
    """Of a mean over pairs: the jackknife's error, and Student's interval with it.

    Args:
        by_run: each run's mean over its partners, `(N,)`.
        matrix: the figure of each pair of some of the runs, `(m, m)`. From FEW runs on it shows whether pairs differ
            by chance and not by their runs; the error is then lowered to what it is: see `_without_chance`.
        distance_from: a value that the figure reaches when runs are equal, and never passes, as 0 for disagreement or 1
            for a correlation. Distances are skewed: the interval is that of the distance's logarithm.
        exactly: the mean, where it is known to more digits than the mean of `by_run` has.
    """
    given = np.asarray(by_run, dtype=np.float64)
    rows, estimate = np.sort(given), float(given.mean()) if exactly is None else exactly
    error = pairwise_error(rows)
    if math.isnan(error):
        return Estimate(estimate)
    if error == 0.0:
        return Estimate(estimate, 0.0, float(rows[0]), float(rows[0]))
    value, left, degrees = float(rows.mean()), delete_one(rows), satterthwaite(np.square(rows - rows.mean()))
    lowered = error
    if matrix is not None and len(rows) >= FEW:
        lowered, degrees = _without_chance(error, degrees, len(rows), residual_variance(matrix))
    if distance_from is None or value == distance_from:
        reach = student(degrees) * lowered
        return Estimate(estimate, lowered, value - reach, value + reach)
    distances, distance = np.abs(left - distance_from), value - distance_from
    rounding = 4 * len(rows) * EPSILON * max(float(np.abs(rows).max()), abs(distance_from))
    relative = error / abs(distance) if distances.min() <= rounding else jackknife(np.log(distances))
    factor = math.exp(min(700.0, student(degrees) * relative * lowered / error))
    low, high = sorted((distance / factor, distance * factor))
    return Estimate(estimate, lowered, distance_from + low, distance_from + high)


def residual_variance(matrix: ArrayLike) -> float:
    """Variance over pairs of what is left of a figure `(m, m)` when a pair's two runs have each had their share.

    It is what the additive fit `h_ij = U + a_i + a_j` leaves, over its m (m - 3) / 2 degrees of freedom; 0 if m < 4.
    """
    figures = np.array(matrix, dtype=np.float64)
    runs = len(figures)
    if runs < 4:
        return 0.0
    np.fill_diagonal(figures, 0.0)
    rows = figures.sum(axis=0) / (runs - 1)
    share = (runs - 1) / (runs - 2) * (rows - rows.mean())
    left = figures - rows.mean() - share - share[:, None]
    np.fill_diagonal(left, 0.0)
    return float(np.square(left).sum()) / (runs * (runs - 3))


def _without_chance(error: float, degrees: float, runs: int, chance: float) -> tuple[float, float]:
    """The jackknife's error and its degrees of freedom, once `chance`, the pairs' residual variance, is known.

    The variance of a mean over pairs is that of the runs' own shares plus the pairs', `2 chance / (N (N - 1))`. The
    jackknife counts the latter twice (Efron & Stein 1981). Where the runs' shares dominate that hardly matters; the
    more the pairs' is of the whole, the more of its second count is taken out: all of it where it is all there is.
    """
    excess, least = 2 * chance / ((runs - 1) * (runs - 2)), 2 * chance / (runs * (runs - 1))
    rest = error**2 - excess
    if rest <= least:
        return math.sqrt(least), max(degrees, runs * (runs - 3) / 2)
    return math.sqrt(max(least, error**2 - excess * min(1.0, excess / rest) ** 2)), degrees


def student(degrees: float) -> float:
    """The quantile of Student's distribution that leaves 2.5 % above it."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, 0.975))


def satterthwaite(squares: Floats) -> float:
    """Degrees of freedom of an error estimated from the mean of these squares `(N,)` (Satterthwaite); N - 1 at most."""
    most, largest = len(squares) - 1.0, float(squares.max())
    shares = squares / (largest or 1.0)  # so that no square of them leaves the range of float64
    variance = float(shares.var())
    if variance == 0.0:
        return most
    return min(most, max(FEWEST_DEGREES, 2 * len(squares) * float(shares.mean()) ** 2 / variance))


def _normal(runs: int) -> tuple[float, float]:
    """Limits of the SD of normal values, over the SD (ddof = 0) of a sample."""
    from scipy.special import chdtri

    low, high = chdtri(runs - 1, [0.025, 0.975])
    return math.sqrt(runs / low), math.sqrt(runs / high)


def _bonett(ordered: Floats) -> tuple[float, float]:
    """Limits of the SD over the sample's, from values in rising order whose mean is 0 and whose SD (ddof = 0) is 1."""
    runs = len(ordered)
    trimmed = int(runs / (2 * math.sqrt(runs - 4)))
    beyond = np.square(ordered - ordered[trimmed : runs - trimmed].mean())
    kurtosis = float(np.square(beyond).mean())
    error = math.sqrt((kurtosis - (runs - 3) / runs) / (runs - min(6.0, 1 + runs / 5)))
    half = student(satterthwaite(np.square(beyond / beyond.mean() - 1))) * error
    centre = math.log(runs / (runs - NORMAL) * runs / (runs - 1))
    return math.exp((centre - half) / 2), math.exp((centre + half) / 2)
