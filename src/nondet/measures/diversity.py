"""Representation diversity: how differently the runs answer, as means over all pairs of runs.

No function loops over pairs: each mean is found from sums over runs. A function `..._by_run` gives each run's mean over
its partners, from which errors follow by leaving out one run at a time; the measure is the mean of these.
Source: Summers & Dinneen, ICML 2021, and its public code (ceciliaresearch/nondeterminism_instability).
"""

import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nondet.measures.arrays import checked_outputs, checked_predictions, in_threads, predictions
from nondet.stats.values import TILE, Floats, Integers

TOGETHER = 16  # runs whose rows one thread sums before the sums are summed: fixed, so that threads change no digit


def disagreement(outputs: ArrayLike) -> float:
    """Pairwise disagreement, in percent: mean over pairs of 100 x the share of examples they predict differently.

    Args:
        outputs: logits `(N, n, c)`; the first of equal largest logits is the prediction.

    Raises:
        BadInput: see `checked_outputs`.
    """
    return disagreement_of(predictions(outputs))


def disagreement_of(predicted: ArrayLike) -> float:
    """Pairwise disagreement, in percent, of predictions: any integers, such as classes or token numbers.

    Pairs are counted in whole numbers, so the result is exact but for one division.

    Args:
        predicted: predictions `(N, n)`.

    Raises:
        BadInput: see `checked_predictions`.
    """
    agreeing, partners = _agreeing(predicted)
    total = len(agreeing) * partners
    return 100.0 * (total - int(agreeing.sum())) / total


def disagreement_by_run(predicted: ArrayLike) -> Floats:
    """Mean disagreement of each run with the others, `(N,)`, in percent; their mean is `disagreement_of`.

    When m_k of the N runs predict class k for an example, each of these has m_k - 1 partners that agree with it.

    Args:
        predicted: predictions `(N, n)`.

    Raises:
        BadInput: see `checked_predictions`.
    """
    agreeing, partners = _agreeing(predicted)
    return 100.0 * (partners - agreeing) / partners


def pearson(outputs: ArrayLike) -> float:
    """Mean over pairs of the Pearson correlation of the two runs' flattened logits; no unit, from -1 to 1.

    Not a number where a run's logits are all equal: such a run has no correlation. Equal runs give exactly 1.

    Args:
        outputs: logits `(N, n, c)`; each run is read as n x c values.

    Raises:
        BadInput: see `checked_outputs`.
    """
    return float(correlation_by_run(outputs, "pearson").mean())


def spearman(outputs: ArrayLike) -> float:
    """Mean over pairs of the rank correlation of the two runs' flattened logits; no unit, from -1 to 1.

    Equal logits take successive ranks in the order in which they stand, as in the public code of the protocol; most
    libraries give them their mean rank instead. Without ties the two are the same.
    Not a number where a run's logits are all equal: such a run has no correlation. Equal runs give exactly 1.

    Args:
        outputs: logits `(N, n, c)`; each run is read as n x c values.

    Raises:
        BadInput: see `checked_outputs`.
    """
    return float(correlation_by_run(outputs, "spearman").mean())


def correlation_by_run(outputs: ArrayLike, kind: Literal["pearson", "spearman"] = "pearson") -> Floats:
    """Mean correlation of each run with the others, `(N,)`; their mean is `pearson` or `spearman`.

    With rows z of mean 0 and length 1, and e_i the distance of z_i from their mean, the correlations of run i sum to
    `N - 1 - (N |e_i|^2 + sum_j |e_j|^2) / 2`: two passes, two rows of memory, exactly N - 1 for equal rows, and no
    loss of digits where all correlations are near 1.

    Args:
        outputs: logits `(N, n, c)`; each run is read as n x c values.
        kind: "pearson", or "spearman" for ranks.

    Raises:
        BadInput: see `checked_outputs`.
    """
    logits = checked_outputs(outputs)
    values = _flat if kind == "pearson" else ranks
    runs = len(logits)
    middle = _middle(logits, values)
    if middle is None:
        return np.full(runs, math.nan)
    distances = np.array(list(in_threads(lambda run: _square_distance(logits[run], values, middle), range(runs))))
    return np.clip(1.0 - (runs * distances + distances.sum()) / (2 * (runs - 1)), -1.0, 1.0)


def disagreement_matrix(predicted: ArrayLike) -> Floats:
    """Disagreement of every two runs, `(N, N)`, in percent; a loop over runs, for few of them.

    Args:
        predicted: predictions `(N, n)`.

    Raises:
        BadInput: see `checked_predictions`.
    """
    array = checked_predictions(predicted)
    return 100.0 * np.stack([np.count_nonzero(array != run, axis=1) for run in array]) / array.shape[1]


def correlation_matrix(outputs: ArrayLike, kind: Literal["pearson", "spearman"] = "pearson") -> Floats:
    """Correlation of every two runs, `(N, N)`; all runs at once in float64, for few of them. NaN as in `pearson`.

    Args:
        outputs: logits `(N, n, c)`; each run is read as n x c values.
        kind: "pearson", or "spearman" for ranks.

    Raises:
        BadInput: see `checked_outputs`.
    """
    logits = checked_outputs(outputs)
    rows = [standardised(run, kind) for run in logits]
    found = [row for row in rows if row is not None]
    if len(found) < len(rows):
        return np.full((len(rows), len(rows)), math.nan)
    together = np.stack(found)
    return together @ together.T


def standardised(run: NDArray[Any], kind: Literal["pearson", "spearman"]) -> Floats | None:
    """A run's logits or their ranks, flattened, at mean 0 and length 1; None where all are equal."""
    return _standardised(_flat(run) if kind == "pearson" else ranks(run))


def ranks(run: NDArray[Any]) -> Floats:
    """Ranks from 0, ties in the order in which they stand; a run of equal values has no ranks and stays as it is."""
    row = _flat(run)
    if row.max() == row.min():
        return row
    narrow = run.dtype.itemsize <= 2 or run.dtype == np.float32
    places = np.empty(len(row))
    places[_order_of_32_bits(row) if narrow and len(row) < 2**32 else _stable_order(row)] = np.arange(len(row))
    return places


def _agreeing(predicted: ArrayLike) -> tuple[Integers, int]:
    """For each run, over examples and partners, how often it agrees, `(N,)`; and how often it could."""
    array = checked_predictions(predicted)
    runs, examples = array.shape
    span = int(array.max()) - int(array.min()) + 1
    if span > TILE:
        names, array = np.unique(array, return_inverse=True)  # numbered from 0 without gaps
        span = len(names)
    lowest = array.min().astype(np.int64)  # differences of integers come out right even where these wrap around
    step = max(1, TILE // max(span, runs))

    def agree(start: int) -> Integers:
        part = array[:, start : start + step].astype(np.int64) - lowest  # (N, t)
        part += np.arange(part.shape[1]) * span  # one number for each (example, class)
        return (np.bincount(part.ravel())[part] - 1).sum(axis=1)

    agreeing: Integers = sum(in_threads(agree, range(0, examples, step)), np.zeros(runs, dtype=np.int64))
    return agreeing, examples * (runs - 1)


def _middle(logits: NDArray[Any], values: Callable[[NDArray[Any]], Floats]) -> Floats | None:
    """Mean of the runs' standardised rows; None where a run's values are all equal. Equal rows give exactly theirs."""
    first = _standardised(values(logits[0]))
    if first is None:
        return None

    def beyond_first(start: int) -> Floats | None:
        total = np.zeros_like(first)
        for run in logits[start : start + TOGETHER]:
            row = _standardised(values(run))
            if row is None:
                return None
            row -= first
            total += row
        return total

    total = np.zeros_like(first)
    for part in in_threads(beyond_first, range(0, len(logits), TOGETHER)):
        if part is None:
            return None
        total += part
    return first + total / len(logits)


def _square_distance(run: NDArray[Any], values: Callable[[NDArray[Any]], Floats], middle: Floats) -> float:
    row = _standardised(values(run))
    return math.nan if row is None else float(np.square(row - middle).sum())


def _standardised(row: Floats) -> Floats | None:
    """Shift a row to mean 0 and scale it to length 1; None where all its values are equal."""
    shifted = row - row[0]  # equal values must become exactly 0, which subtracting their rounded mean does not promise
    size = max(float(shifted.max()), -float(shifted.min()))
    if size == 0.0:
        return None
    shifted /= size  # so that no square underflows
    shifted -= shifted.mean()
    shifted /= math.sqrt(float(np.square(shifted).sum()))
    return shifted


def _order_of_32_bits(row: Floats) -> NDArray[np.int64]:
    """`argsort(kind="stable")` of numbers that float32 holds: value and position sorted as one number of 64 bits."""
    bits = (row + 0.0).astype(np.float32).view(np.int32)  # adding 0 makes -0 equal 0
    rising = np.where(bits < 0, bits ^ np.int32(2**31 - 1), bits).astype(np.int64)  # floats below 0 rise as bits fall
    return np.sort((rising << 32) + np.arange(len(row))) & (2**32 - 1)


def _stable_order(row: Floats) -> NDArray[np.intp]:
    """The same of any numbers: two of numpy's fast sorts, the second inside each tie."""
    order = np.argsort(row)
    values = row[order]
    tie = np.append(0, np.cumsum(values[1:] != values[:-1])) * len(row)  # (n * c,): room for every position in each tie
    return np.sort(tie + order) - tie


def _flat(run: NDArray[Any]) -> Floats:
    return np.asarray(run, dtype=np.float64).ravel()  # (n, c) -> (n * c,)
