"""Representation diversity: how differently the runs answer, as means over all pairs of runs.

No function loops over pairs: each mean is found from sums over runs.
Source: Summers & Dinneen, ICML 2021, and its public code (ceciliaresearch/nondeterminism_instability).
"""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nondet.errors import BadInput
from nondet.measures.arrays import TILE, Floats, Integers, as_array, check_runs, checked_outputs, predictions


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

    When m_k of the N runs predict class k for an example, `sum_k m_k (m_k - 1) / 2` of its pairs agree; the counts are
    whole numbers, so the result is exact but for one division.

    Args:
        predicted: predictions `(N, n)`.

    Raises:
        BadInput: not two axes of integers, fewer than two runs, or no example.
    """
    array = as_array(predicted, "predictions")
    if array.ndim != 2 or array.dtype.kind not in "iu" or array.shape[1] < 1:
        raise BadInput(
            "predictions must be integers with two axes, runs and examples "
            f"(got {array.dtype} of shape {array.shape}); give one row of classes for each run"
        )
    runs, examples = array.shape
    check_runs(runs, "predictions")
    names, classes = np.unique(array, return_inverse=True)  # numbered from 0 without gaps
    step = max(1, TILE // len(names))
    agreeing = sum(_agreeing_pairs(classes[:, start : start + step], len(names)) for start in range(0, examples, step))
    pairs = examples * runs * (runs - 1) // 2
    return 100.0 * (pairs - agreeing) / pairs


def pearson(outputs: ArrayLike) -> float:
    """Mean over pairs of the Pearson correlation of the two runs' flattened logits; no unit, from -1 to 1.

    Not a number where a run's logits are all equal: such a run has no correlation. Equal runs give exactly 1.

    Args:
        outputs: logits `(N, n, c)`; each run is read as n x c values.

    Raises:
        BadInput: see `checked_outputs`.
    """
    logits = checked_outputs(outputs)
    return _mean_correlation((_flat(run) for run in logits), len(logits))


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
    logits = checked_outputs(outputs)
    return _mean_correlation((_ranks(_flat(run)) for run in logits), len(logits))


def _agreeing_pairs(classes: Integers, count: int) -> int:
    """Pairs of runs with the same class, over the examples of `classes` (N, t)."""
    examples = classes.shape[1]
    offsets: Integers = np.arange(examples, dtype=np.int64) * count
    votes = np.bincount((classes + offsets).ravel(), minlength=examples * count)  # one count per (example, class)
    return int((votes * (votes - 1) // 2).sum())


def _mean_correlation(rows: Iterable[Floats], runs: int) -> float:
    """Mean over pairs of `1 - |z_i - z_j|^2 / 2`, the correlation of rows z of mean 0 and length 1.

    With d_i = z_i - z_0, the sum over pairs of `|z_i - z_j|^2` is `N sum_i |d_i|^2 - |sum_i d_i|^2`: one pass, two
    rows of memory, exactly 0 for equal rows, and no loss of digits where all correlations are near 1.
    """
    first: Floats | None = None
    total = np.zeros(())
    squares = 0.0
    for row in rows:
        unit = _standardised(row)
        if unit is None:
            return math.nan
        if first is None:
            first, total = unit, np.zeros_like(unit)
            continue
        unit -= first
        total += unit
        squares += float(np.square(unit).sum())
    distance = runs * squares - float(np.square(total).sum())
    return min(1.0, max(-1.0, 1.0 - distance / (runs * (runs - 1))))


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


def _ranks(row: Floats) -> Floats:
    """Ranks from 0, ties in the order in which they stand; a row of equal values has no ranks and stays as it is."""
    if row.max() == row.min():
        return row
    ranks = np.empty(len(row))
    ranks[_stable_order(row)] = np.arange(len(row))
    return ranks


def _stable_order(row: Floats) -> NDArray[np.intp]:
    """`argsort(kind="stable")` in a fraction of its time: two of numpy's fast sorts, the second inside each tie."""
    order = np.argsort(row)
    values = row[order]
    tie = np.append(0, np.cumsum(values[1:] != values[:-1])) * len(row)  # (n * c,): room for every position in each tie
    return np.sort(tie + order) - tie


def _flat(run: NDArray[Any]) -> Floats:
    return np.asarray(run, dtype=np.float64).ravel()  # (n, c) -> (n * c,)
