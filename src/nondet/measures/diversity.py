"""Representation diversity: how differently the runs answer, as means over all pairs of runs.

No function loops over pairs: each mean is computed from sums over runs. A function `..._by_run` returns each run's mean
over its partners, from which errors follow by leaving out one run at a time; the measure is the mean of these.
Source: Summers & Dinneen, ICML 2021, and its public code (ceciliaresearch/nondeterminism_instability).
"""

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nondet.io.foreign import scratch
from nondet.measures.arrays import UNTHREADED, checked_outputs, checked_predictions, in_threads, vote_parts
from nondet.stats.values import TILE, Floats, Integers

Kind = Literal["pearson", "spearman"]


def disagreement_of(predicted: ArrayLike) -> float:
    """Pairwise disagreement, in percent, of predictions `(N, n)`: any integers, such as classes or token numbers.

    Pairs are counted in whole numbers, so the result is exact except for one division.
    """
    agreeing, partners = _agreeing(predicted)
    total = len(agreeing) * partners
    return 100.0 * (total - int(agreeing.sum())) / total


def disagreement_by_run(predicted: ArrayLike) -> Floats:
    """Mean disagreement of each run of `(N, n)` with the others, `(N,)`, in percent; their mean is `disagreement_of`.

    When m_k of the N runs predict class k for an example, each of these has m_k - 1 partners that agree with it.
    """
    agreeing, partners = _agreeing(predicted)
    return 100.0 * (partners - agreeing) / partners


def correlation_by_run(outputs: ArrayLike, kind: Kind = "pearson") -> Floats:
    """Mean correlation of each run's flattened logits with the others', `(N,)`; no unit, from -1 to 1.

    NaN if a run's logits are all equal: such a run has no correlation. Equal runs give exactly 1. For ranks, equal
    logits get successive ranks in the order in which they appear, as in the public code of the protocol; most libraries
    give them their mean rank instead. Without ties the two are the same.

    Args:
        outputs: logits `(N, n, c)`; each run is read as n x c values.
        kind: "pearson", or "spearman" for ranks.
    """
    return correlations(checked_outputs(outputs), kind)[0]


def disagreement_matrix(predicted: ArrayLike) -> Floats:
    """Disagreement of every two runs, `(N, N)`, in percent, of predictions `(N, n)`; a loop over runs, for few."""
    array = checked_predictions(predicted)
    return 100.0 * np.stack([np.count_nonzero(array != run, axis=1) for run in array]) / array.shape[1]


def correlations(logits: NDArray[Any], kind: Kind, some: Sequence[int] | Integers = ()) -> tuple[Floats, Floats]:
    """Each run's mean correlation with the others, `(N,)`, and that of every two of the m runs in `some`, `(m, m)`.

    With rows z of mean 0 and length 1, and e_i the deviation of z_i from their mean, the correlations of run i sum to
    `N - 1 - (N |e_i|^2 + sum_j |e_j|^2) / 2`, and that of i and j is `1 - |e_i - e_j|^2 / 2`. This is exactly 1 for
    equal rows, and no digits are lost if all correlations are near 1.

    Args:
        logits: as `checked_outputs` returns them.
    """
    runs, examples, classes = logits.shape
    chosen = np.asarray(some, dtype=np.int64)
    scaled = (logits, scales_of(logits)) if kind == "pearson" else all_ranks(logits)
    if scaled is None or np.isnan(scaled[1]).any():
        return np.full(runs, math.nan), np.full((len(chosen), len(chosen)), math.nan)
    numbers, scales = scaled
    zero, length, mean = (side[:, None] for side in scales)

    def apart(start: int) -> tuple[Floats, Floats]:
        """For some examples, the squares of e, `(N,)`, and the products of e of every two chosen runs, `(m, m)`."""
        z = numbers[:, start : start + step].astype(np.float64, order="C").reshape(runs, -1)
        z -= zero
        z /= length
        z -= mean
        z -= z[0].copy()
        z -= z.mean(axis=0)
        e, products = z[chosen], np.zeros((len(chosen), len(chosen)))
        for column in range(0, e.shape[1] if len(e) else 0, width):
            part = e[:, column : column + width]
            products += part @ part.T
        return np.einsum("ij,ij->i", z, z), products

    step, width = max(1, TILE // 4 // (runs * classes)), max(16, UNTHREADED // max(1, len(chosen)) ** 2)
    square, product = np.zeros(runs), np.zeros((len(chosen), len(chosen)))
    for squares, products in in_threads(apart, range(0, examples, step), numbers=numbers.size):
        square += squares
        product += products
    own = np.diag(product)
    by_run = 1.0 - (runs * square + square.sum()) / (2 * (runs - 1))
    matrix = 1.0 - (own + own[:, None] - 2 * product) / 2
    return np.clip(by_run, -1.0, 1.0), np.clip(matrix, -1.0, 1.0)


def scales_of(logits: NDArray[Any]) -> Floats:
    """What `_scale` finds for each run, `(3, N)`."""
    found = in_threads(lambda run: _scale(_flat(logits[run])), range(len(logits)), numbers=logits.size)
    return np.array(list(found)).T


def _scale(row: Floats) -> tuple[float, float, float]:
    """Zero, length and mean such that `(row - zero) / length - mean` has mean 0 and length 1; NaN for equal values."""
    zero = float(row[0])
    shifted = row - zero  # equal values become exactly 0, which subtracting their rounded mean does not ensure
    size = max(float(shifted.max()), -float(shifted.min()))
    if size == 0.0:
        return math.nan, math.nan, math.nan
    shifted /= size  # so that no square underflows
    mean = float(shifted.mean())
    shifted -= mean
    length = math.sqrt(float(np.dot(shifted, shifted)))
    return zero, size * length, mean / length


def all_ranks(logits: NDArray[Any]) -> tuple[NDArray[Any], Floats] | None:
    """The ranks of each run's logits, `(N, n, c)`, and their scales; None if a run's logits are all equal."""
    runs, values = len(logits), logits[0].size
    found = scratch(logits.shape, np.int32 if values < 2**31 else np.int64)
    counting = np.arange(values, dtype=found.dtype)

    def rank(run: int) -> bool:
        row = logits[run].ravel()
        found[run].reshape(-1)[_order(row)] = counting
        return bool(row.min() < row.max())

    if not all(list(in_threads(rank, range(runs), numbers=logits.size))):
        return None
    length = math.sqrt(values * (values**2 - 1) / 12)
    return found, np.repeat([[0.0], [length], [(values - 1) / 2 / length]], runs, axis=1)


def _agreeing(predicted: ArrayLike) -> tuple[Integers, int]:
    """How often each run agrees, over examples and partners, `(N,)`; and how often it could."""
    array = checked_predictions(predicted)
    parts, votes = vote_parts(array)

    def agree(part: slice) -> Integers:
        ((places, counts),) = votes(part)
        return (counts[places] - 1).sum(axis=1)

    agreements = in_threads(agree, parts, numbers=array.size)
    agreeing: Integers = sum(agreements, np.zeros(len(array), dtype=np.int64))
    return agreeing, array.shape[1] * (len(array) - 1)


def _order(row: NDArray[Any]) -> NDArray[np.int64]:
    """`argsort(kind="stable")`; if float32 can hold the values, value and position are sorted as one 64-bit number."""
    if (row.dtype.itemsize > 2 and row.dtype != np.float32) or len(row) >= 2**32:
        return _stable_order(row.astype(np.float64))
    bits = (row.astype(np.float32) + np.float32(0)).view(np.int32)  # adding 0 makes -0 equal 0
    bits ^= (bits >> 31) & np.int32(2**31 - 1)  # negative floats rise as their bits fall
    both = (bits.astype(np.int64) << 32) | np.arange(len(row))
    both.sort()
    return both & (2**32 - 1)


def _stable_order(row: Floats) -> NDArray[np.intp]:
    """The same for any numbers: two of numpy's fast sorts, the second inside each tie."""
    order = np.argsort(row)
    values = row[order]
    tie = np.append(0, np.cumsum(values[1:] != values[:-1])) * len(row)  # (n * c,): room for every position in each tie
    return np.sort(tie + order) - tie


def _flat(run: NDArray[Any]) -> Floats:
    return np.asarray(run, dtype=np.float64).ravel()  # (n, c) -> (n * c,)
