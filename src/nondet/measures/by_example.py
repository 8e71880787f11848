"""What drawing the test examples adds to the measures' variances over runs.

A measure is a mean over runs and over examples, which cross: every run answers every example. Its variance is that over
runs, plus that over examples, less each cell's own variance, which both have counted. Correlations, SDs and variances
are not means of cells; for these a cell's number is its influence (for ranks: Croux & Dehon, Statistical Methods &
Applications 19, 2010). `benchmarks/coverage.py` simulates such wider intervals, drawing new runs and new examples.
Sources: Owen, Annals of Applied Statistics 1, 2007 (the pigeonhole bootstrap); Cameron, Gelbach & Miller, Journal of
Business & Economic Statistics 29, 2011.
"""

import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nondet.measures.arrays import cells, tiles
from nondet.measures.diversity import Kind, all_ranks, scales_of
from nondet.measures.variability import log_sum_exp, losses_of
from nondet.measures.variance import POINTS
from nondet.stats.estimate import Estimate
from nondet.stats.groups import sums_by_group, variance_of_groups
from nondet.stats.intervals import student
from nondet.stats.values import TILE, Floats, Integers

FEWEST_THAT_SHOW = 5
"""Fewer right or wrong examples than this cannot show how much examples differ."""


def added_variance(
    table: NDArray[Any],
    degree: Literal[1, 2] = 1,
    numbers: Callable[[Floats], Floats] | None = None,
    groups: Integers | None = None,
) -> float:
    """Return what drawing the examples adds to the variance of the mean of a table `(N, n)`, beyond that over runs.

    NaN for one example, or if there are no more runs than the degree.

    Args:
        table: numbers by run and example, read one part at a time.
        degree: 2 if a run's number is a mean over its partners, so that it enters their numbers too.
        numbers: computes the numbers of some examples `(N, t)` from their columns of the table; without it, the
            columns are the numbers.
        groups: the number of each example's group, if groups are drawn; see `variance_of_groups`.
    """
    runs, examples = table.shape
    if examples < 2 or runs <= degree:
        return math.nan
    factor = 1 / runs if degree == 1 else 4 * (runs - 1) ** 2 / (runs * (runs - 2) ** 2)  # as in `pairwise_error`
    means, within = np.empty(examples), np.empty(examples)
    sums = np.zeros((runs, 0 if groups is None else int(groups.max()) + 1))
    step = max(1, TILE // runs)
    for start in range(0, examples, step):
        part = slice(start, start + step)
        tile = table[:, part].astype(np.float64)
        tile = numbers(tile) if numbers else tile
        means[part], within[part] = tile.mean(axis=0), tile.var(axis=0, ddof=1)
        if groups is not None:
            some = groups[part]
            sums[:, : some.max() + 1] += sums_by_group(tile, some)
    if groups is not None:
        return variance_of_groups(means, [math.sqrt(factor * runs) * sums], groups)
    return max(0.0, float(means.var(ddof=1)) - factor * float(within.mean())) / examples


def widened(u: Estimate, added: float, examples: int, origin: float | None) -> Estimate:
    """Return an estimate's uncertainty over runs, with the variance that drawing so many examples adds.

    On each side of the estimate the squares of the two intervals' widths are summed (MOVER: Zou & Donner, Statistics in
    Medicine 27, 2008), on the scale of the interval over runs: the logarithm of the distance from `origin`, if given.
    """
    value = u.value
    half, error = student(max(1, examples - 1)) * math.sqrt(added), math.hypot(u.error, math.sqrt(added))
    if math.isnan(added) or math.isnan(u.low):
        return Estimate(value, error)
    if added == 0.0 or value == origin:
        return u
    if origin is None:
        return Estimate(value, error, value - math.hypot(value - u.low, half), value + math.hypot(u.high - value, half))
    distance = value - origin
    nearer, farther = sorted(((u.low - origin) / distance, (u.high - origin) / distance))
    nearer = max(nearer, math.exp(-700.0))  # an end nearer to `origin` equals it in float64
    factors = [math.exp(min(700.0, math.hypot(math.log(f), half / distance))) for f in (nearer, farther)]
    low, high = sorted((distance / factors[0], distance * factors[1]))
    return Estimate(value, error, origin + low, origin + high)


def widened_share(u: Estimate, added: float, examples: int) -> Estimate:
    """Do the same for a share of examples in percent, which is skewed near 0 and 100: the limits are Wilson's.

    They are those of as many independent examples as would give the variance `added`, but at least of `examples`. If
    `added` is 0, drawing adds nothing, unless there are too few right or wrong examples to show it.
    Source: Wilson, Journal of the American Statistical Association 22, 1927.
    """
    value, error = u.value, math.hypot(u.error, math.sqrt(added))
    if math.isnan(added) or math.isnan(u.low):
        return Estimate(value, error)
    share = value / 100
    if added == 0.0 and examples * share * (1 - share) >= FEWEST_THAT_SHOW:
        return u
    independent = max(examples, 1e4 * share * (1 - share) / added) if added else examples
    square = student(examples - 1) ** 2 / independent
    centre = 100 * (share + square / 2) / (1 + square)
    half = 100 * math.sqrt(square * (share * (1 - share) + square / 4)) / (1 + square)
    low, high = value - min(value, centre - half), max(value, centre + half) - value
    return Estimate(value, error, value - math.hypot(value - u.low, low), value + math.hypot(u.high - value, high))


def sd_added(table: NDArray[Any], groups: Integers | None = None) -> float:
    """Return it for the SD over runs of a mean over examples; `table` has the numbers by run and example, `(N, n)`."""
    own = table.mean(axis=1)  # (N,)
    spread = float(own.std())
    if not spread:
        return 0.0
    return added_variance(
        table, numbers=lambda part: _of_variance(part, own, table.shape[1]) / (2 * spread), groups=groups
    )


def variance_added(right: NDArray[np.bool_], groups: Integers | None = None) -> dict[str, float]:
    """Return it for the parts of `AccuracyVariance`, by name; `right` says which run is right on which example."""
    runs, examples = right.shape
    factor, own = POINTS * runs / (runs - 1), right.mean(axis=1)

    def total(part: Floats) -> Floats:
        return factor * _of_variance(part, own, examples)

    def training(part: Floats) -> Floats:  # without the products of an example with itself
        itself = factor * np.square(part - part.mean(axis=0))
        return (examples * total(part) - itself) / (examples - 1)

    return {
        "total": added_variance(right, numbers=total, groups=groups),
        "test_set": added_variance(right, numbers=lambda part: total(part) - training(part), groups=groups),
        "training": added_variance(right, numbers=training, groups=groups),
    }


def losses_by_example(logits: NDArray[Any], truth: Integers) -> Floats:
    """Return the cross-entropy by run and example, `(N, n)`."""
    table = np.empty(logits.shape[:2])
    for cell in cells(logits):
        wide = logits[cell].astype(np.float64, order="C")
        table[cell] = losses_of(wide, truth[cell[1]], wide.argmax(axis=-1))
    return table


def disagreement_added(predicted: NDArray[Any], groups: Integers | None = None) -> float:
    """Return it for the disagreement of some runs, `(m, n)`."""
    apart = np.stack([(predicted != run).sum(axis=0) for run in predicted])  # (m, n)
    return added_variance(100.0 * apart / (len(predicted) - 1), 2, groups=groups)


def correlation_added(logits: NDArray[Any], kind: Kind, groups: Integers | None = None) -> float:
    """Return it for the correlation of some runs, `(m, n, c)`; NaN if a run has no correlation."""
    table = influences(logits, kind)
    return math.nan if table is None else added_variance(table, 2, groups=groups)


def ensemble_added(logits: NDArray[Any], truth: Integers, groups: Integers | None = None) -> dict[str, float]:
    """Return it for the ensemble deltas of some runs, `(m, n, c)`, by name."""
    partners = len(logits) - 1
    alone, together, overlaps = (np.empty(logits.shape[:2]) for _ in range(3))
    for part, tile in tiles(logits):
        alone[:, part] = tile.argmax(axis=-1) == truth[part]
        halves = (tile - log_sum_exp(tile)[..., None]) / 2  # logarithms of square roots of probabilities
        for run in range(len(logits)):
            right = (tile[run] + tile).argmax(axis=-1) == truth[part]  # (m, t), including the run with itself
            together[run, part] = right.sum(axis=0) - alone[run, part]
            overlaps[run, part] = log_sum_exp(halves[run] + halves).sum(axis=0)
    gains = together / partners - (alone + (alone.sum(axis=0) - alone) / partners) / 2
    return {
        "accuracy": added_variance(100.0 * gains, 2, groups=groups),
        "cross_entropy": added_variance(overlaps / partners, 2, groups=groups),
    }


def _of_variance(part: Floats, own: Floats, examples: int) -> Floats:
    """Influence of some examples on the variance over runs of the means over examples, `(N, t)`, averaged over runs.

    That variance is the mean over pairs of examples of their covariance. An example enters the covariances with all n,
    twice each, but its own variance once. `own` is each run's mean over all examples, `(N,)`.
    """
    apart = part - part.mean(axis=0)
    return 2 * (own - own.mean())[:, None] * apart - np.square(apart) / examples


def influences(logits: NDArray[Any], kind: Kind) -> Floats | None:
    """Influence of each example on each run's mean correlation, `(m, n)`; None if a run has no correlation.

    On the correlation r of two rows z of mean 0 and length 1 it is `n sum_k (z z' - r (z^2 + z'^2) / 2)`.
    """
    if kind == "spearman":
        ranks = all_ranks(logits)
        return None if ranks is None else _rank_influences(ranks[0].reshape(len(logits), -1), logits.shape[1])
    scales = scales_of(logits)
    if np.isnan(scales).any():
        return None
    zero, length, mean = scales[:, :, None, None]
    z = (logits.astype(np.float64) - zero) / length - mean
    partners, examples = len(z) - 1, z.shape[1]
    shared = np.einsum("iec,iec->ie", z, z.sum(axis=0) - z) / partners
    weighted = shared.sum(axis=1)[:, None] * np.square(z).sum(axis=2)  # with a run's mean correlation for r
    others = (weighted.sum(axis=0) - weighted) / partners
    return examples * (shared - (weighted + others) / 2)


def _rank_influences(rank: NDArray[Any], examples: int) -> Floats:
    """The same for rank correlations, up to a constant, from ranks `(m, n c)` that start at 0.

    With F and G the shares of logits below x and y it is `12 (F(x) G(y) + E[G(Y); X > x] + E[F(X); Y > y])`: an example
    also moves the ranks of the logits above its own.
    """
    shares = rank / rank.shape[1]
    partners = (shares.sum(axis=0) - shares) / (len(rank) - 1)  # mean of the others' F
    above = np.empty_like(shares)
    for run, places in enumerate(rank):
        rising = np.empty(rank.shape[1])
        rising[places] = partners[run]
        above[run] = (np.cumsum(rising[::-1])[::-1] / rank.shape[1])[places]
    others = (above.sum(axis=0) - above) / (len(rank) - 1)
    cell = 12.0 * (shares * partners + above + others)
    return cell.reshape(len(rank), examples, -1).mean(axis=2)
