"""Variance components: how much of the spread of runs each source causes, when their seeds are crossed.

Values have one axis for each source, with its levels along it, and one run in each cell. The levels are a sample of all
possible seeds, so every effect is random: a value is the mean plus one independent term for each non-empty set of
sources, drawn separately for each combination of their levels. The highest interaction is what is left in a cell.

Sources: Searle, Casella & McCulloch, "Variance Components", 1992, chapters 3 and 4 (the analysis of variance of
balanced data); for the intervals see `_Intervals`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import combinations, product

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nondet.errors import BadInput
from nondet.stats.estimate import UNKNOWN, Estimate, certain
from nondet.stats.intervals import student
from nondet.stats.jackknife import summed
from nondet.stats.values import TILE, Floats, Integers, as_array

LEVEL = 0.95


@dataclass(frozen=True)
class Component:
    """A part of the variance, in the square of the values' unit and as a share of the whole (1 is all of it)."""

    variance: Estimate
    share: Estimate


@dataclass(frozen=True)
class Components:
    """The variance of one run with all new seeds, split into parts.

    Attributes:
        mean: over all runs.
        total: the sum of all components.
        parts: each non-empty set of axes, small sets first, and the component of its (inter)action.
        interactions: the sum of the components of two or more sources.
        alone: for each axis, the sum of the components of all sets with it: the variance that is left when only this
            source varies, averaged over the other seeds (Sobol's total effect).
    """

    mean: float
    total: Estimate
    parts: tuple[tuple[tuple[int, ...], Component], ...]
    interactions: Component
    alone: tuple[Component, ...]


def subsets(factors: int) -> tuple[tuple[int, ...], ...]:
    """All non-empty sets of so many axes, small sets first."""
    return tuple(s for size in range(1, factors + 1) for s in combinations(range(factors), size))


def variance_components(values: ArrayLike) -> Components:
    """Estimate the component of each set of sources by the analysis of variance.

    With `MS_T` the mean square of the set T, and `L_i` the levels of source i,
    `E[MS_S] = sum over T that contain S of (product of L_i, i not in T) s2_T`. Solved for the components `s2`, this
    gives unbiased estimates, which may come out below 0 if a component is small; they are left so.
    The standard error is that of a sum of independent mean squares of normal effects; for a share, to first order.

    The interval of a variance is the modified large-sample interval of a sum of mean squares with weights of either
    sign (Ting et al. 1990), with ends below 0 moved up to 0. That of a share contains every p from 0 to 1 for which the
    interval of `component - p total` contains 0. Both assume effects that are about normal. In simulations they contain
    the truth in 93 to 98 % of the cases, and more often if a component is near 0 or there are only two levels
    (benchmarks/components.py).

    values: `(L_1, ..., L_k)`, finite, k at least 2 and each L_i at least 2: one number for each run.
    """
    array = as_array(values, "values")
    if array.ndim < 2 or min(array.shape) < 2 or array.dtype.kind not in "iuf" or not np.isfinite(array).all():
        raise BadInput(
            "values must be finite numbers with at least two axes, one per source, and at least two levels on each "
            f"(got {array.dtype} of shape {array.shape}); give one number for each run of a full crossing"
        )
    array = array.astype(np.float64)
    split = _Split(array.shape, *_sums_of_squares(array))
    axes = range(array.ndim)
    member = np.array(list(product((0, 1), repeat=array.ndim)), dtype=bool)  # (2^k, k): which axes each set has
    sizes = member.sum(axis=1)
    return Components(
        mean=float(array.flat[0] + (array - array.flat[0]).mean()),
        total=split.variance(sizes > 0),
        parts=tuple((s, split.component(np.all(member == np.isin(axes, s), axis=1))) for s in subsets(array.ndim)),
        interactions=split.component(sizes > 1),
        alone=tuple(split.component(member[:, i]) for i in axes),
    )


class _Split:
    """Sums of components over the sets that are flagged in (2^k,): estimates, errors and intervals."""

    def __init__(self, levels: Sequence[int], squares: Floats, freedom: Floats) -> None:
        self.means, self.freedom = squares / freedom, freedom
        solve = np.asarray(reduce(np.kron, [[[1 / n, -1 / n], [0.0, 1.0]] for n in levels]), dtype=np.float64)
        solve[0], solve[:, 0] = 0.0, 0.0  # the empty set is the mean, which is no component
        self.solve = solve  # (2^k, 2^k): from mean squares to components
        self.interval = _Intervals(freedom)
        self.whole: Floats = solve.sum(axis=0)
        total = float(self.whole @ self.means)
        self.total = total if total > 1e-12 * self.means.max() else 0.0

    def variance(self, chosen: NDArray[np.bool_]) -> Estimate:
        weights = self.solve[chosen].sum(axis=0)
        low, high = self.interval(weights * self.means)
        return Estimate(float(weights @ self.means), self._error(weights), max(0.0, low), max(0.0, high))

    def component(self, chosen: NDArray[np.bool_]) -> Component:
        variance = self.variance(chosen)
        if not self.total:
            return Component(variance, UNKNOWN)
        weights = self.solve[chosen].sum(axis=0)
        share = float(weights @ self.means) / self.total

        def end(which: int) -> float:
            return _root_in_0_to_1(lambda p: self.interval((weights - p * self.whole) * self.means)[which])

        error = self._error((weights - share * self.whole) / self.total)
        return Component(variance, Estimate(share, error, end(0), end(1)))

    def _error(self, weights: Floats) -> float:
        """Error of a weighted sum of mean squares; `2 MS^2 / (df + 2)` estimates the variance of MS without bias."""
        return float(np.sqrt(np.sum(np.square(weights * self.means) * 2 / (self.freedom + 2))))


class _Intervals:
    """The modified large-sample interval of a sum of mean squares, given as its terms (2^k,) of either sign.

    Source: Ting, Burdick, Graybill, Jeyaratnam & Lu, "Confidence intervals on linear combinations of variance
    components that are unrestricted in sign", J. Statist. Comput. Simul. 35, 1990.
    """

    def __init__(self, freedom: Floats) -> None:
        from scipy.stats import chi2, f

        tail = (1 - LEVEL) / 2
        m, n = freedom[:, None], freedom
        self.below: Floats = 1 - n / chi2.isf(tail, n)
        self.above: Floats = n / chi2.ppf(tail, n) - 1
        high, low = np.asarray(f.isf(tail, m, n)), np.asarray(f.ppf(tail, m, n))
        below, above = self.below[:, None], self.above[:, None]
        self.mixed_below: Floats = ((high - 1) ** 2 - (below * high) ** 2 - self.above**2) / high
        self.mixed_above: Floats = ((1 - low) ** 2 - (above * low) ** 2 - self.below**2) / low
        pooled = (1 - (m + n) / chi2.isf(tail, m + n)) ** 2 * (m + n) ** 2 / (m * n)
        self.same: Floats = pooled - below**2 * m / n - self.below**2 * n / m
        np.fill_diagonal(self.same, 0.0)

    def __call__(self, terms: Floats) -> tuple[float, float]:
        plus, minus, estimate = np.maximum(terms, 0), np.maximum(-terms, 0), float(terms.sum())
        down = np.sum((self.below * plus) ** 2 + (self.above * minus) ** 2) + plus @ self.mixed_below @ minus
        up = np.sum((self.above * plus) ** 2 + (self.below * minus) ** 2) + plus @ self.mixed_above @ minus
        down, up = float(down) + self._same(plus), float(up) + self._same(minus)
        return estimate - math.sqrt(max(0.0, down)), estimate + math.sqrt(max(0.0, up))

    def _same(self, terms: Floats) -> float:
        return float(terms @ self.same @ terms) / 2 / max(1, np.count_nonzero(terms) - 1)


def _root_in_0_to_1(falling: Callable[[float], float]) -> float:
    """Return where a falling function is 0; if that is outside the range, the nearer end."""
    from scipy.optimize import root_scalar

    if falling(0.0) <= 0:
        return 0.0
    return 1.0 if falling(1.0) >= 0 else root_scalar(falling, bracket=(0.0, 1.0)).root


def _sums_of_squares(values: Floats) -> tuple[Floats, Floats]:
    """Sums of squares and degrees of freedom of each set of axes, `(2^k,)`; the last axis changes fastest.

    Each axis is replaced by its mean, weighted so that squares are kept, and the deviations from it.
    """
    parts = values - values.flat[0]  # equal values become exactly 0
    for axis, levels in enumerate(values.shape):
        first = np.take(parts, [0], axis=axis)
        shifted = parts - first
        middle = shifted.mean(axis=axis, keepdims=True)
        parts = np.concatenate([(first + middle) * math.sqrt(levels), shifted - middle], axis=axis)
    squares = np.square(parts)
    for axis in range(values.ndim):
        squares = np.add.reduceat(squares, [0, 1], axis=axis)
    squares[(0,) * values.ndim] = 0.0
    freedom = [math.prod(n) for n in product(*((1, levels - 1) for levels in values.shape))]
    return squares.ravel(), np.array(freedom, dtype=np.float64)


def disagreement_by_set(predicted: ArrayLike) -> tuple[tuple[tuple[int, ...], Estimate], ...]:
    """Disagreement of runs that differ in exactly these sources' seeds, in percent, for each non-empty set of sources.

    It is the mean over all pairs of runs with different levels on each axis of the set and the same level on every
    other axis. Its standard error is the jackknife over levels: each level of each source is left out in turn, with all
    its runs, and the sources' variances are added. An interaction counts more than once in that sum, so the error is
    too large rather than too small. In simulations it is right if sources add up, and up to twice as large if all is
    interaction. The interval uses Student's t with Satterthwaite's degrees of freedom. Both need at least three levels
    of each source.

    predicted: classes or token numbers `(L_1, ..., L_k, n)`, of runs and test examples; k and each L_i as above.
    """
    array = as_array(predicted, "predictions")
    if array.ndim < 3 or min(array.shape[:-1]) < 2 or not array.shape[-1] or array.dtype.kind not in "iu":
        raise BadInput(
            "predictions must be integers with at least two axes for the sources, at least two levels on each, and one "
            f"axis for the examples (got {array.dtype} of shape {array.shape}); give one row of classes for each run"
        )
    levels, examples = array.shape[:-1], array.shape[-1]
    counts = _different_by_level(array)
    return tuple((s, _mean_of_pairs(s, levels, examples, counts)) for s in subsets(len(levels)))


def _different_by_level(predicted: NDArray[np.integer]) -> list[Integers]:
    """Count, for each axis, the answers in which runs of a level differ from others: `(L_i, 2, ..., 2)`.

    Index 1 on an axis means that the two runs have different levels there, 0 the same. A pair counts once from each of
    its runs.
    """
    levels, examples = predicted.shape[:-1], predicted.shape[-1]
    size = np.min_scalar_type(int(predicted.max())) if predicted.min() >= 0 else predicted.dtype
    rows = predicted.reshape(-1, examples).astype(size)
    step = max(1, 8 * TILE // examples)
    counts: list[Integers] = [np.zeros((n, *(2,) * len(levels)), dtype=np.int64) for n in levels]
    for number, cell in enumerate(np.ndindex(*levels)):
        different = np.concatenate(
            [np.count_nonzero(rows[i : i + step] != rows[number], axis=1) for i in range(0, len(rows), step)]
        ).reshape(levels)
        for axis, level in enumerate(cell):  # the run's own level first, then the others
            different = np.add.reduceat(np.roll(different, -level, axis=axis), [0, 1], axis=axis)
        for axis, level in enumerate(cell):
            counts[axis][level] += different
    return counts


def _mean_of_pairs(s: tuple[int, ...], levels: Sequence[int], examples: int, counts: Sequence[Integers]) -> Estimate:
    place = tuple(int(axis in s) for axis in range(len(levels)))
    pairs = math.prod(n * (n - 1) if axis in s else n for axis, n in enumerate(levels)) / 2
    total = float(counts[0][:, *place].sum()) / 2
    value = 100 * total / (pairs * examples)
    if any(levels[axis] < 3 for axis in s):
        return Estimate(value)
    variances, freedom = np.empty(len(levels)), np.array(levels) - 1.0
    for axis, n in enumerate(levels):
        of_level = counts[axis][:, *place] * (1.0 if axis in s else 0.5)  # (n,): of the pairs that include a level
        left = pairs * ((n - 2) / n if axis in s else (n - 1) / n)
        without = 100 * (total - of_level) / (left * examples)
        variances[axis] = (n - 1) / n * np.square(without - without.mean()).sum()
    error, degrees = summed(variances, freedom)
    if not error:
        return certain(value)
    reach = error * student(degrees)
    return Estimate(value, error, value - reach, value + reach).within(0.0, 100.0)
