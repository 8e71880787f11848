"""Ensemble delta: how much a two-run ensemble, the mean of the two runs' logits, gains over its members.

Every pair of runs is an ensemble, compared with both of its members. The members' mean over all pairs is the mean
over runs, so one sum over pairs and one over runs give the result. All partners of a run are taken at once.
Source: Summers & Dinneen, ICML 2021.
"""

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
    logits, truth = checked(outputs, labels)
    runs, examples, classes = logits.shape
    count = _right_by_class if classes <= FEW_CLASSES else _right_by_argmax
    alone, together = 0, 0
    for part, tile in tiles(logits):
        alone += int(np.count_nonzero(tile.argmax(axis=-1) == truth[part]))
        together += count(tile, truth[part])
    # together / (pairs n) - alone / (N n), over one denominator
    return 100.0 * (2 * together - (runs - 1) * alone) / (runs * (runs - 1) * examples)


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
    logits, _ = checked(outputs, labels)
    runs, examples, _ = logits.shape
    with np.errstate(under="ignore"):  # what underflows is negligible, or worked out again
        total = sum(_log_overlaps(tile) for _, tile in tiles(logits))
    return min(0.0, total / (runs * (runs - 1) * examples // 2))  # rounding could leave 1e-17


def _right_by_argmax(tile: Floats, truth: Integers) -> int:
    """Right answers of all pairs of `tile` (N, t, c)."""
    return sum(
        int(np.count_nonzero((tile[run] + tile[run + 1 :]).argmax(axis=-1) == truth)) for run in range(len(tile) - 1)
    )


def _right_by_class(tile: Floats, truth: Integers) -> int:
    """The same count, class after class: as in argmax, a later one takes over only by being strictly larger."""
    by_class = np.ascontiguousarray(tile.transpose(0, 2, 1))  # (N, c, t)
    classes: Integers = np.arange(tile.shape[-1], dtype=np.int64)
    is_truth: Flags = classes[:, None] == truth  # (c, t)
    count = 0
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
        count += int(np.count_nonzero(right))
    return count


def _log_overlaps(tile: Floats) -> float:
    """Sum over pairs and examples of the logarithm of the overlap, for `tile` (N, t, c), which is overwritten.

    The overlap's square is `S_ij^2 / (S_ii S_jj)` with `S_ij = sum_k exp(a_k / 2) exp(b_k / 2)`: the exponentials are
    taken once per run, not once per pair. The quotient of equal numbers is 1, so equal runs give exactly 0.
    """
    tile -= tile.max(axis=-1, keepdims=True)  # cancels in the quotient
    tile /= 2
    weights = np.exp(tile)
    own = np.stack([_products(row[None], row)[0] for row in weights])  # (N, t): from 1 to c
    total = 0.0
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
        total += float(logs.sum())
    return total / 2


def _products(partners: Floats, weights: Floats) -> Floats:
    """Inner products over classes, `(m, t)`; a BLAS product of matrices would not sum equal rows in one fixed order."""
    return np.einsum("mtc,tc->mt", partners, weights)


def _log_sum_exp(rows: Floats) -> Floats:
    top = rows.max(axis=-1)
    return top + np.log(np.exp(rows - top[..., None]).sum(axis=-1))
