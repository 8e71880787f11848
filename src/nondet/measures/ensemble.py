"""Ensemble delta: how much a two-run ensemble, the mean of the two runs' logits, gains over its members.

Every pair of runs is an ensemble, compared with both of its members. A function `..._by_run` gives each run's mean over
its partners, from which errors follow by leaving out one run at a time; the measure is the mean of these.
Source: Summers & Dinneen, ICML 2021.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nondet.measures.arrays import Floats, Integers, checked, tiles

Flags = NDArray[np.bool_]

FEW_CLASSES = 32  # up to here one pass per class beats numpy's argmax over a short axis; measured at 10 and at 100
TINY = 1e-150  # below this the square of a sum of exponentials would leave the range of float64


def ensemble_accuracy_delta(outputs: ArrayLike, labels: ArrayLike) -> float:
    """Mean over pairs and both members of (accuracy of the pair's ensemble - accuracy of the member), in points.

    The ensemble predicts the class with the largest sum of the two logits in float64, the first where several tie.
    Right answers are counted in whole numbers, so equal runs give exactly 0.

    Args:
        outputs: logits `(N, n, c)`.
        labels: classes `(n,)`.

    Raises:
        BadInput: see `checked`.
    """
    gains, parts = _accuracy_gains(outputs, labels)
    return 100.0 * int(gains.sum()) / (len(gains) * parts)


def ensemble_accuracy_delta_by_run(outputs: ArrayLike, labels: ArrayLike) -> Floats:
    """Mean gain of each run's ensembles, `(N,)`, in points; their mean is `ensemble_accuracy_delta`.

    The gain of a pair is its ensemble's accuracy minus the mean of its two members'; run i's is the mean over partners.

    Args:
        outputs: logits `(N, n, c)`.
        labels: classes `(n,)`.

    Raises:
        BadInput: see `checked`.
    """
    gains, parts = _accuracy_gains(outputs, labels)
    return 100.0 * gains / parts


def ensemble_cross_entropy_delta(outputs: ArrayLike, labels: ArrayLike) -> float:
    """Mean over pairs and both members of (cross-entropy of the pair's ensemble - that of the member), in nats.

    The label's logits cancel: for runs a and b on one example the difference is
    `log(sum_k exp((a_k + b_k) / 2)) - (log(sum_k exp(a_k)) + log(sum_k exp(b_k))) / 2`, the logarithm of the overlap
    `sum_k sqrt(p_k q_k)` of their predicted distributions. So it is never above 0, labels matter only in being checked,
    and equal runs give exactly 0.

    Args:
        outputs: logits `(N, n, c)`.
        labels: classes `(n,)`.

    Raises:
        BadInput: see `checked`.
    """
    return float(ensemble_cross_entropy_delta_by_run(outputs, labels).mean())


def ensemble_cross_entropy_delta_by_run(outputs: ArrayLike, labels: ArrayLike) -> Floats:
    """Mean gain of each run's ensembles, `(N,)`, in nats; their mean is `ensemble_cross_entropy_delta`.

    The gain of a pair is its ensemble's cross-entropy minus the mean of its two members'; run i's is the mean over
    partners.

    Args:
        outputs: logits `(N, n, c)`.
        labels: classes `(n,)`.

    Raises:
        BadInput: see `checked`.
    """
    logits, _ = checked(outputs, labels)
    runs, examples, _ = logits.shape
    total = np.zeros(runs)
    with np.errstate(under="ignore"):  # what underflows is negligible, or worked out again
        for _, tile in tiles(logits):
            total += _log_overlaps(tile)
    return np.minimum(0.0, total / ((runs - 1) * examples))  # rounding could leave 1e-17


def _accuracy_gains(outputs: ArrayLike, labels: ArrayLike) -> tuple[Integers, int]:
    """Whole numbers `(N,)` in proportion to each run's mean gain, and the number that would be a gain of 1."""
    logits, truth = checked(outputs, labels)
    runs, examples, classes = logits.shape
    count = _right_by_class if classes <= FEW_CLASSES else _right_by_argmax
    alone, together = np.zeros((2, runs), dtype=np.int64)
    for part, tile in tiles(logits):
        alone += np.count_nonzero(tile.argmax(axis=-1) == truth[part], axis=1)
        together += count(tile, truth[part])
    # together / (N - 1) - (alone + mean over partners of alone) / 2, over one denominator
    gains = 2 * together - (runs - 2) * alone - int(alone.sum())
    return gains, 2 * (runs - 1) * examples


def _right_by_argmax(tile: Floats, truth: Integers) -> Integers:
    """Right answers of each run's ensembles, `(N,)`, for `tile` (N, t, c)."""
    counts = np.zeros(len(tile), dtype=np.int64)
    for run in range(len(tile) - 1):
        _add(counts, run, np.count_nonzero((tile[run] + tile[run + 1 :]).argmax(axis=-1) == truth, axis=1))
    return counts


def _right_by_class(tile: Floats, truth: Integers) -> Integers:
    """The same counts, class after class: as in argmax, a later one takes over only by being strictly larger."""
    by_class = np.ascontiguousarray(tile.transpose(0, 2, 1))  # (N, c, t)
    classes: Integers = np.arange(tile.shape[-1], dtype=np.int64)
    is_truth: Flags = classes[:, None] == truth  # (c, t)
    counts = np.zeros(len(tile), dtype=np.int64)
    for run in range(len(by_class) - 1):
        partners = by_class[run + 1 :]  # (m, c, t)
        best = by_class[run, 0] + partners[:, 0]  # (m, t)
        right: Flags = np.repeat(is_truth[:1], len(best), axis=0)
        sums, larger = np.empty_like(best), np.empty_like(right)
        for k in range(1, len(is_truth)):
            np.add(by_class[run, k], partners[:, k], out=sums)
            np.greater(sums, best, out=larger)
            np.maximum(sums, best, out=best)
            np.greater(right, larger, out=right)  # still right, unless overtaken
            np.logical_and(larger, is_truth[k], out=larger)
            np.logical_or(right, larger, out=right)
        _add(counts, run, np.count_nonzero(right, axis=1))
    return counts


def _add(sums: NDArray[Any], run: int, pairs: NDArray[Any]) -> None:
    """Add the figures of a run with each later one, to both."""
    sums[run] += pairs.sum()
    sums[run + 1 :] += pairs


def _log_overlaps(tile: Floats) -> Floats:
    """Sum over partners and examples of the logarithm of the overlap, `(N,)`, for `tile` (N, t, c), overwritten.

    The overlap's square is `S_ij^2 / (S_ii S_jj)` with `S_ij = sum_k exp(a_k / 2) exp(b_k / 2)`: the exponentials are
    taken once per run, not once per pair. The quotient of equal numbers is 1, so equal runs give exactly 0.
    """
    tile -= tile.max(axis=-1, keepdims=True)  # cancels in the quotient
    tile /= 2
    weights = np.exp(tile)
    own = np.stack([_products(row[None], row)[0] for row in weights])  # (N, t): from 1 to c
    sums = np.zeros(len(tile))
    for run in range(len(tile) - 1):
        shared = _products(weights[run + 1 :], weights[run])  # (m, t)
        scale = own[run] * own[run + 1 :]
        lost = shared < TINY
        shared[lost] = 1.0
        logs = np.log(shared * shared / scale)
        if lost.any():  # far apart: take the sum's logarithm without leaving logarithms
            partner, example = np.nonzero(lost)
            exact = _log_sum_exp(tile[run + 1 + partner, example] + tile[run, example])
            logs[lost] = 2 * exact - np.log(scale[lost])
        _add(sums, run, logs.sum(axis=1) / 2)
    return sums


def _products(partners: Floats, weights: Floats) -> Floats:
    """Inner products over classes, `(m, t)`; a BLAS product of matrices would not sum equal rows in one fixed order."""
    return np.einsum("mtc,tc->mt", partners, weights)


def _log_sum_exp(rows: Floats) -> Floats:
    top = rows.max(axis=-1)
    return top + np.log(np.exp(rows - top[..., None]).sum(axis=-1))
