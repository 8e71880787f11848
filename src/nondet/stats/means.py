"""The difference of two arms' means, with its interval and tests: one number per run, `(N,)`, in each arm."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product

import numpy as np
from scipy import special

from nondet.stats.intervals import student
from nondet.stats.jackknife import summed
from nondet.stats.values import TILE, Floats

PERMUTATIONS = 9999
DEPENDENT, OPPOSED = 0.02, 0.5
"""Pairs count as dependent if their correlation differs from 0 at this level.

The first level is for positive correlations, where taking pairs for independent runs is conservative; the second is for
negative ones, where it is not. So choosing between a paired and an unpaired test costs little of a level of 5 %
(docs/compare.md).
"""


@dataclass(frozen=True)
class Shift:
    """A difference of means, its standard error, and the degrees of freedom of the error's t distribution.

    error: 0 if all runs of each arm have the same value; then there is no interval and no t-test.
    """

    estimate: float
    error: float
    freedom: float

    def interval(self, level: float) -> tuple[float, float] | None:
        """The interval that contains the difference in a share 1 - `level` of all studies."""
        if not self.error:
            return None
        reach = student(self.freedom, level) * self.error
        return self.estimate - reach, self.estimate + reach

    def p_value(self) -> float | None:
        """The p-value of the two-sided t-test that the difference is 0."""
        return 2 * float(special.stdtr(self.freedom, -abs(self.estimate) / self.error)) if self.error else None

    def p_within(self, margin: float) -> float:
        """The larger p-value of the two one-sided t-tests that the difference is at most -margin, or at least margin.

        Source: Schuirmann 1987, J. Pharmacokinet. Biopharm. 15.
        """
        return float(special.stdtr(self.freedom, (abs(self.estimate) - margin) / self.error)) if self.error else 1.0


def welch(a: Floats, b: Floats) -> Shift:
    """Mean of b - mean of a, for independent runs whose variances may differ.

    Source: Welch 1947, Biometrika 34; scipy.stats.ttest_ind(equal_var=False).
    """
    (mean_a, part_a), (mean_b, part_b) = _mean(a), _mean(b)
    return Shift(mean_b - mean_a, *summed([part_a, part_b], [len(a) - 1, len(b) - 1]))


def paired(a: Floats, b: Floats) -> Shift:
    """Mean of b - a, for runs that belong together in pairs."""
    mean, part = _mean(b - a)
    return Shift(mean, math.sqrt(part), len(a) - 1)


def pairing_helps(a: Floats, b: Floats, unpaired: Shift) -> tuple[bool, float | None]:
    """Whether pairs should be compared as pairs, and their correlation (None if an arm does not vary).

    They should if their correlation differs from 0 (DEPENDENT, OPPOSED). An exception is a positive correlation with no
    smaller error than that of `unpaired`, since there may be fewer pairs than runs; `unpaired` is then conservative.
    """
    if len(a) < 2 or not (np.ptp(a) > 0 and np.ptp(b) > 0):
        return False, None
    correlation = float(np.corrcoef(a, b)[0, 1])
    if len(a) == 2 and correlation > 0:  # it is 1 for any two pairs that go the same way
        return False, None
    squared = min(correlation**2, 1 - 1e-15)
    t = math.sqrt(squared * (len(a) - 2) / (1 - squared))
    chance = 2 * float(special.stdtr(len(a) - 2, -t)) if len(a) > 2 else 0.0
    dependent = chance < (DEPENDENT if correlation > 0 else OPPOSED)
    error = paired(a, b).error
    known = error > 1e-9 * unpaired.error  # differences that are equal up to rounding have none
    return bool(dependent and known and (correlation < 0 or error < unpaired.error)), correlation


def widened(a: Floats, b: Floats, matched: Sequence[tuple[int, int]]) -> Shift:
    """Mean of b - mean of a, if some runs belong together in negatively correlated pairs, given as their places.

    The error is Welch's, with twice the covariance of the pairs added to its square. Parts of an error that may depend
    on each other in any way have at least the degrees of freedom `1 / (sum of share / sqrt(df))^2`. If all runs are in
    pairs, this is the paired t-test.
    """
    unpaired, pairs = welch(a, b), len(matched)
    first, second = a[[i for i, _ in matched]], b[[j for _, j in matched]]
    covariance = max(0.0, -float(np.cov(first, second)[0, 1]))
    parts = _mean(a)[1], _mean(b)[1], 2 * pairs * covariance / (len(a) * len(b))
    total = sum(parts)
    spread = sum(p / total / math.sqrt(n - 1) for p, n in zip(parts, (len(a), len(b), pairs), strict=True))
    return Shift(unpaired.estimate, math.sqrt(total), 1 / spread**2)


def permutation_p(a: Floats, b: Floats) -> float:
    """Two-sided p-value of Welch's t under exchange of runs between the arms; N may differ.

    It is exact if both arms have the same distribution. With t as its statistic it is nearly exact if only their means
    are equal (Janssen 1997, Statist. Probab. Lett. 36). It takes all exchanges if they are few, otherwise PERMUTATIONS
    random ones.
    """
    pooled = np.concatenate([np.sort(a), np.sort(b)])  # the order of runs must not matter
    pooled -= pooled[0]  # t does not depend on it, and equal values become exactly 0
    runs, size = len(pooled), len(a)
    least = _size_of_t(pooled[None], size)[0] * (1 - 1e-9)  # sums in another order round differently
    if math.comb(runs, size) <= 2 * PERMUTATIONS:
        chosen = np.array(list(combinations(range(runs), size)))  # (R, N)
        first = np.zeros((len(chosen), runs), dtype=bool)
        np.put_along_axis(first, chosen, True, axis=1)
        order = np.argsort(~first, axis=1, kind="stable")
        return float(np.mean(_size_of_t(pooled[order], size) >= least))

    def shuffled(draws: np.random.Generator, count: int) -> Floats:
        return _size_of_t(draws.permuted(np.tile(pooled, (count, 1)), axis=1), size)

    return share_as_large(shuffled, runs, least)


def holding(shift: Shift, p_permutation: float, exchanges: float, fewest: int, level: float) -> float:
    """The p-value that decides a verdict: the larger one of the t-test's and the permutation test's.

    The t-test is too bold for few runs of skewed values, and for few against many; the permutation test is too bold if
    SDs differ. Requiring both finds fewer false differences than either (docs/compare.md). With so few runs that no
    exchange could reach the level, such as 3 + 3, the t-test alone decides, with the fewest degrees of freedom that it
    can have: those of the smaller arm (Hsu 1938; Scheffe 1970, J. Am. Stat. Assoc. 65).

    Args:
        exchanges: how many there are. fewest: runs of the smaller arm, or pairs.
    """
    p_value = shift.p_value()
    if p_value is None:
        return p_permutation
    if 2 / exchanges <= level:
        return max(p_value, p_permutation)
    return replace(shift, freedom=min(shift.freedom, fewest - 1.0)).p_value() or p_value


def sign_flip_p(differences: Floats) -> float:
    """Two-sided p-value of the mean of paired differences `(N,)` under exchange of the runs of each pair."""
    values = np.sort(differences)
    least = abs(values.sum()) * (1 - 1e-9)
    if 2 ** len(values) <= 2 * PERMUTATIONS:
        signs = np.array(list(product((-1.0, 1.0), repeat=len(values))))
        return float(np.mean(np.abs(signs @ values) >= least))

    def flipped(draws: np.random.Generator, count: int) -> Floats:
        return np.abs((2.0 * draws.integers(0, 2, size=(count, len(values))) - 1) @ values)

    return share_as_large(flipped, len(values), least)


def share_as_large(
    exchanged: Callable[[np.random.Generator, int], Floats],
    runs: int,
    least: float,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> float:
    """P-value of a test by random exchanges of runs: the share of statistics, the data's among them, above `least`.

    exchanged: computes the statistics of so many exchanges.
    """
    draws = np.random.Generator(np.random.Philox(seed))
    as_large, step = 1, max(1, TILE // runs)
    for start in range(0, permutations, step):
        as_large += int(np.count_nonzero(exchanged(draws, min(step, permutations - start)) >= least))
    return as_large / (permutations + 1)


def _mean(values: Floats) -> tuple[float, float]:
    """Return the mean and its squared error; exactly the value and 0 if all are equal."""
    ordered = np.sort(values)
    shifted = ordered - ordered[0]
    return float(ordered[0] + shifted.mean()), float(shifted.var(ddof=1)) / len(values)


def _size_of_t(pooled: Floats, size: int) -> Floats:
    """Return Welch's |t| for each row of `pooled` (R, N), whose first `size` columns are one arm."""
    a, b = pooled[:, :size], pooled[:, size:]
    distance = np.abs(b.mean(axis=1) - a.mean(axis=1))
    error = np.sqrt(a.var(axis=1, ddof=1) / size + b.var(axis=1, ddof=1) / b.shape[1])
    at_once = np.where(distance > 0, np.inf, 0.0)
    return np.divide(distance, error, out=at_once, where=error > 0)
