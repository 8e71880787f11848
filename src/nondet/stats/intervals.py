"""Standard errors and 95 % intervals over runs: for the value over all possible runs, not just over these N.

Runs are independent. Pairs of runs are not, since pairs share runs. So a mean over pairs is a U-statistic, whose error
comes from leaving out one run at a time (jackknife), never from the number of pairs. `benchmarks/coverage.py` simulates
how often the intervals contain the truth.
"""

import math

import numpy as np
from numpy.typing import ArrayLike

from nondet.stats.estimate import Estimate
from nondet.stats.jackknife import jackknife
from nondet.stats.values import Floats, checked_values, mean, sd, sd_error

FEW = 20
"""With fewer runs than this, the coverage of an interval may lie outside 92 to 98 %, depending on the data.

It is lower if runs differ in one skewed way, and higher if they share nothing.
"""

FEWEST_WITH_TAILS = 10
"""Fewer values than this do not show how heavy the tails of their distribution are."""

NORMAL = 1.959964
"""The normal distribution's quantile that leaves 2.5 % above it."""

EPSILON = float(np.finfo(np.float64).eps)

FEWEST_DEGREES = 3.0
"""Fewest degrees of freedom of an interval: an error that is known less well is of no use."""


def mean_estimate(values: ArrayLike) -> Estimate:
    """Return `mean` with its error `sd / sqrt(N - 1)` and Student's interval with N - 1 degrees of freedom.

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
    """Return `sd` with its bootstrap error, `sd_error`, and its interval, `sd_interval`.

    Args:
        values: one number per run, `(N,)`.

    Raises:
        BadInput: fewer than two values, or one that is not finite.
    """
    return Estimate(sd(values), sd_error(values), *sd_interval(values))


def sd_interval(values: ArrayLike) -> tuple[float, float]:
    """95 % interval, from low to high, for the SD over all possible runs, which `sd` (ddof = 0) estimates.

    It is Bonett's interval for values that need not be normal, on the logarithm of the variance (Computational
    Statistics & Data Analysis 50, 2006). Two changes make it contain the truth often enough when tails are heavy. The
    kurtosis is divided not by N - 1 but by N - 3 at ten values, and by N - 6 from 25 on. And Student's quantile
    replaces the normal one, with the degrees of freedom of an error that is itself estimated from squared deviations.
    Fewer than FEWEST_WITH_TAILS values show no kurtosis; their interval is that of normal values, from the chi-square
    distribution.

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
    """A mean over pairs with each run left out in turn, `(N,)`: `(N U - 2 r_i) / (N - 2)`, where U is the mean of r.

    Args:
        by_run: each run's mean over its partners, r `(N,)`, at least three.
    """
    rows = np.asarray(by_run, dtype=np.float64)
    return (rows.sum() - 2 * rows) / (len(rows) - 2)


def pairwise_error(by_run: ArrayLike) -> float:
    """Jackknife error of a mean over pairs: `sqrt((N - 1) / N sum_i (U_-i - U)^2)`; NaN for two runs.

    If no run differs from the others more than pairs do by chance, it is too large by up to a factor of sqrt(2).
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
    """Return a mean over pairs with its jackknife error and Student's interval.

    Args:
        by_run: each run's mean over its partners, `(N,)`.
        matrix: the value of each pair of some of the runs, `(m, m)`. From FEW runs on it shows whether pairs differ by
            chance and not because of their runs; the error is then lowered accordingly: see `_without_chance`.
        distance_from: a value that is reached when runs are equal and never passed, such as 0 for disagreement or 1 for
            a correlation. Distances are skewed, so the interval is taken on the distance's logarithm.
        exactly: the mean, if it is known to more digits than the mean of `by_run` has.
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
    """Variance of a value of pairs `(m, m)` that the two runs of a pair do not explain.

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
    """Correct the jackknife's error and its degrees of freedom for `chance`, the pairs' residual variance.

    The variance of a mean over pairs is that of the runs' own shares plus that of the pairs, `2 chance / (N (N - 1))`.
    The jackknife counts the latter twice (Efron & Stein 1981). If the runs' shares dominate, that hardly matters. The
    larger the pairs' part of the whole, the more of its second count is removed: all of it if there is nothing else.
    """
    excess, least = 2 * chance / ((runs - 1) * (runs - 2)), 2 * chance / (runs * (runs - 1))
    rest = error**2 - excess
    if rest <= least:
        return math.sqrt(least), max(degrees, runs * (runs - 3) / 2)
    return math.sqrt(max(least, error**2 - excess * min(1.0, excess / rest) ** 2)), degrees


def student(degrees: float, level: float = 0.05) -> float:
    """The quantile of Student's distribution that leaves half of the level above it."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, 1 - level / 2))


def satterthwaite(squares: Floats) -> float:
    """Degrees of freedom of an error estimated from the mean of these squares `(N,)` (Satterthwaite); at most N - 1."""
    most, largest = len(squares) - 1.0, float(squares.max())
    shares = squares / (largest or 1.0)  # so that none of their squares leaves the range of float64
    variance = float(shares.var())
    if variance == 0.0:
        return most
    return min(most, max(FEWEST_DEGREES, 2 * len(squares) * float(shares.mean()) ** 2 / variance))


def _normal(runs: int) -> tuple[float, float]:
    """Limits of the SD of normal values, divided by the SD (ddof = 0) of a sample."""
    from scipy.special import chdtri

    low, high = chdtri(runs - 1, [0.025, 0.975])
    return math.sqrt(runs / low), math.sqrt(runs / high)


def _bonett(ordered: Floats) -> tuple[float, float]:
    """Limits of the SD divided by the sample's, from values in rising order with mean 0 and SD (ddof = 0) 1."""
    runs = len(ordered)
    trimmed = int(runs / (2 * math.sqrt(runs - 4)))
    beyond = np.square(ordered - ordered[trimmed : runs - trimmed].mean())
    kurtosis = float(np.square(beyond).mean())
    error = math.sqrt((kurtosis - (runs - 3) / runs) / (runs - min(6.0, 1 + runs / 5)))
    half = student(satterthwaite(np.square(beyond / beyond.mean() - 1))) * error
    centre = math.log(runs / (runs - NORMAL) * runs / (runs - 1))
    return math.exp((centre - half) / 2), math.exp((centre + half) / 2)
