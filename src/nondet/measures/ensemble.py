"""Ensemble delta: how much a two-run ensemble, the mean of the two runs' logits, gains over its members.

Every pair of runs is an ensemble, compared with both of its members. A function `..._by_run` gives each run's mean over
its partners, from which errors follow by leaving out one run at a time; the measure is the mean of these.
Source: Summers & Dinneen, ICML 2021.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nondet.measures.arrays import Floats, Integers, checked, in_threads

Flags = NDArray[np.bool_]

EXACT_RUNS = 2000
"""Up to so many runs every pair is taken; the pairs of more would take longer than all other measures together."""

GROUP = 100
"""More runs are dealt at random into groups of about this size, and every pair within a group is taken."""

TILE = 2**22  # numbers in one part: enough examples for long inner loops, and 32 MiB of float64
LONGEST = 1024  # examples in one part, so that there are parts for all cores
BLOCK = 2**15  # pairs of runs x examples worked on at once, in float32, so that each core's cache holds them
WIDEST, DEPTH = 96, 8  # runs and examples in a block of overlaps: half a MiB
UNTHREADED = 2**18  # multiplications up to which OpenBLAS stays in one thread, so that no result depends on its number
TINY = 1e-290  # a product of overlaps below this has lost digits


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
    rows = ensemble_accuracy_delta_by_run(outputs, labels)
    return math.fsum(rows) / len(rows)


def sampled_pairs(runs: int) -> int | None:
    """How many pairs the ensemble deltas of so many runs are means over; None where that is all of them.

    Above EXACT_RUNS the runs are dealt at random, by a fixed seed, into groups of about GROUP, whose sizes differ by at
    most one. Each run's partners are those of its group.
    """
    return None if runs <= EXACT_RUNS else sum(len(group) * (len(group) - 1) // 2 for group in _groups(runs))


def ensemble_accuracy_delta_by_run(outputs: ArrayLike, labels: ArrayLike) -> Floats:
    """Mean gain of each run's ensembles, `(N,)`, in points; their mean is `ensemble_accuracy_delta`.

    The gain of a pair is its ensemble's accuracy minus the mean of its two members'; run i's is the mean over partners.

    Args:
        outputs: logits `(N, n, c)`.
        labels: classes `(n,)`.

    Raises:
        BadInput: see `checked`.
    """
    logits, truth = checked(outputs, labels)
    return 100.0 * _mean_by_run(logits, lambda tile, part: _accuracy_gains(tile, truth[part]))


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
    rows = ensemble_cross_entropy_delta_by_run(outputs, labels)
    return math.fsum(rows) / len(rows)


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
    rows = _mean_by_run(logits, lambda tile, _: _log_overlaps(tile))
    return np.minimum(0.0, rows)  # rounding could leave 1e-17


def _groups(runs: int) -> list[Integers]:
    """The runs of which every pair is taken: all of them together, or several groups."""
    if runs <= EXACT_RUNS:
        return [np.arange(runs, dtype=np.int64)]
    dealt = np.random.Generator(np.random.Philox(0)).permutation(runs)
    return np.array_split(dealt, -(-runs // GROUP))


def _mean_by_run(logits: NDArray[Any], gains: Callable[[Floats, slice], NDArray[Any]]) -> Floats:
    """Mean over examples and partners, `(N,)`, of what `gains` sums over them for a part of the examples."""
    runs, examples, classes = logits.shape
    groups = _groups(runs)
    step = max(1, min(LONGEST, TILE // (len(groups[0]) * classes)))
    parts = [(group, slice(start, start + step)) for group in groups for start in range(0, examples, step)]

    def work(part: tuple[Integers, slice]) -> NDArray[Any]:
        with np.errstate(under="ignore", over="ignore"):  # what leaves the range is negligible, or worked out again
            return gains(logits[part].astype(np.float64, order="C"), part[1])

    total, partners = np.zeros(runs), np.empty(runs)
    for (group, _), sums in zip(parts, in_threads(work, parts), strict=True):
        total[group] += sums
        partners[group] = len(group) - 1
    return total / (partners * examples)


def _accuracy_gains(tile: Floats, truth: Integers) -> NDArray[Any]:
    """Gains of each run's ensembles, `(N,)`, in right answers, for `tile` (N, t, c)."""
    chosen = tile.argmax(axis=-1)  # (N, t)
    alone = np.count_nonzero(chosen == truth, axis=1)
    split: Flags = (chosen != chosen[0]).any(axis=0)  # elsewhere the ensembles predict what all runs do: no gain
    together = _right_together(tile[:, split], truth[split])
    together += (len(tile) - 1) * np.count_nonzero(chosen[0, ~split] == truth[~split])
    return (2 * together - (len(tile) - 2) * alone - alone.sum()) / 2


def _right_together(tile: Floats, truth: Integers) -> Integers:
    """Right answers of each run's ensembles, `(N,)`, for `tile` (N, t, c).

    An ensemble is right where all its margins are below 0, a margin being a class's logit minus the label's. They are
    added in float32; where the largest is closer to 0 than rounding could move it, the sums are compared in float64.
    """
    runs, examples, _ = tile.shape
    counts = np.zeros(runs, dtype=np.int64)
    if not examples:
        return counts
    margins, bounds = _margins(tile, truth)  # (c - 1, N, t), (N,)
    height = max(1, BLOCK // examples)
    for start in range(0, runs, height):
        for run in range(min(start + height, runs) - 1):
            later = slice(max(start, run + 1), start + height)
            limit = (bounds[run] + bounds[later])[:, None]  # (m, 1)
            largest = _largest_sums(margins, run, later)  # (m, t)
            right: Flags = largest < -limit
            near: Flags = largest <= limit
            if np.count_nonzero(near) > np.count_nonzero(right):
                near &= ~right
                partner, example = np.nonzero(near)
                sums = tile[run, example] + tile[later][partner, example]
                right[partner, example] = sums.argmax(axis=-1) == truth[example]
            answers = np.bitwise_count(np.packbits(right, axis=1)).sum(axis=1, dtype=np.int64)
            counts[run] += answers.sum()
            counts[later] += answers
    return counts


def _margins(tile: Floats, truth: Integers) -> tuple[NDArray[np.float32], Floats]:
    """Each class's logit minus the label's, but for a factor, `(c - 1, N, t)`; and bounds on their errors, `(N,)`.

    The sum of two runs' margins is off by less than the sum of their bounds. Whole numbers are exact, their bound is 0,
    and a quarter makes the ensembles' ties what they are: lost to a lower class, won from a higher one.
    """
    label = truth[:, None]  # (t, 1)
    others: Integers = np.arange(tile.shape[-1] - 1, dtype=np.int64)
    others = others + (others >= label)  # (t, c - 1)
    margins = np.take_along_axis(tile, others[None], axis=-1)
    margins -= np.take_along_axis(tile, label[None], axis=-1)
    size = np.abs(tile).max(axis=(1, 2))
    if size.max() < 2**20 and (np.rint(tile) == tile).all():
        margins += np.where(others < label, 0.25, -0.25)
        bounds = np.zeros(len(tile))
    else:
        scale = np.abs(margins).max() or 1.0  # so that none leaves the range of float32
        margins /= scale
        # rounding: of the margins and their sum in float32, of the logits' sums in float64; and underflow
        bounds = 2.0**-22 * np.abs(margins).max(axis=(1, 2)) + 2.0**-51 * (size / scale) + 2.0**-140
    return np.ascontiguousarray(margins.transpose(2, 0, 1), dtype=np.float32), bounds


def _largest_sums(margins: NDArray[np.float32], run: int, later: slice) -> NDArray[np.float32]:
    """The largest over classes of a run's margin plus a later run's, `(m, t)`."""
    largest = margins[0, run] + margins[0, later]
    sums = np.empty_like(largest)
    for margin in margins[1:]:
        np.add(margin[run], margin[later], out=sums)
        np.maximum(largest, sums, out=largest)
    return largest


def _log_overlaps(tile: Floats) -> Floats:
    """Sum over partners and examples of the logarithm of the overlap, `(N,)`, for `tile` (N, t, c).

    The overlap of a and b is the inner product of `exp(a / 2)` and `exp(b / 2)`, each of length 1: exponentials are
    taken once per run, not once per pair. Of equal rows one is worked out, and they overlap by exactly 1.
    """
    half = (tile - tile.max(axis=-1, keepdims=True)) / 2
    unit = np.exp(half)
    length = np.sqrt(np.square(unit).sum(axis=-1, keepdims=True))  # from 1 to sqrt(c)
    unit /= length
    half -= np.log(length)  # unit = exp(half), but for what underflows
    rows = unit.reshape(len(unit), -1)
    row = np.dtype((np.void, rows.itemsize * rows.shape[1]))
    _, first, which, copies = np.unique(
        rows.view(row)[:, 0], return_index=True, return_inverse=True, return_counts=True
    )
    unit, half = (np.ascontiguousarray(array[first].transpose(1, 0, 2)) for array in (unit, half))  # (t, D, c)
    sums = np.zeros(len(first))
    width = min(WIDEST, max(1, math.isqrt(UNTHREADED // tile.shape[-1])))
    blocks = [slice(start, start + width) for start in range(0, len(first), width)]
    for number, ours in enumerate(blocks):
        for theirs in blocks[number:]:
            logs = _block(unit[:, ours], unit[:, theirs], half[:, ours], half[:, theirs])
            if ours == theirs:
                np.fill_diagonal(logs, 0.0)
            else:
                sums[theirs] += (logs * copies[ours, None]).sum(axis=0)
            sums[ours] += (logs * copies[theirs]).sum(axis=1)
    return sums[which]


def _block(ours: Floats, theirs: Floats, half: Floats, their_half: Floats) -> Floats:
    """Sum over examples of the logarithms of the overlaps of runs `(t, a, c)` with others `(t, b, c)`: `(a, b)`."""
    logs = np.zeros((ours.shape[1], theirs.shape[1]))
    for start in range(0, len(ours), DEPTH):
        part = slice(start, start + DEPTH)
        overlaps = np.matmul(ours[part], theirs[part].transpose(0, 2, 1))  # (DEPTH, a, b)
        product = overlaps.prod(axis=0)  # one logarithm for several examples
        lost: Flags = product < TINY
        if lost.any():  # far apart: stay in logarithms
            product[lost] = 1.0
            a, b = np.nonzero(lost)
            logs[lost] += _log_sum_exp(half[part, a] + their_half[part, b]).sum(axis=0)
        logs += np.log(product)
    return logs


def _log_sum_exp(rows: Floats) -> Floats:
    top = rows.max(axis=-1)
    return top + np.log(np.exp(rows - top[..., None]).sum(axis=-1))
