"""Ensembles of all pairs of the runs in an array that fits in memory: what one core works on at a time."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nondet.stats.values import Floats, Integers

Flags = NDArray[np.bool_]

BLOCK = 2**17  # pairs of runs x examples worked on at once, in 16 bits, so that each core's cache holds them
FARTHEST = 2**14 - 1  # steps from 0 of the farthest margins, so that the sum of two is within 16 bits
WIDEST, DEPTH = 64, 16  # runs and examples in a block of overlaps: half a MiB
UNTHREADED = 2**18  # multiplications up to which OpenBLAS stays in one thread, so that no result depends on its number
TINY = 1e-290  # a product of overlaps below this has lost digits


def accuracy_gains(tile: Floats, truth: Integers) -> NDArray[Any]:
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
    added in 16 bits; where the largest is closer to 0 than rounding could move it, the sums are compared in float64.
    """
    runs, examples, _ = tile.shape
    counts = np.zeros(runs, dtype=np.int64)
    if not examples:
        return counts
    margins, limits = _margins(tile, truth)  # (c - 1, N, t), (N,)
    height = min(runs, max(1, BLOCK // examples))
    room = np.empty((2, height, examples), dtype=np.int16)
    for start in range(0, runs, height):
        stop = min(start + height, runs)
        for run in range(stop - 1):
            later = slice(max(start, run + 1), stop)
            largest = _largest_sums(margins, run, later, room)  # (m, t)
            limit = max(limits[run], limits[later].max())
            right: Flags = largest < -limit
            near: Flags = largest <= limit
            if np.count_nonzero(near) > np.count_nonzero(right):
                partner, example = np.divmod(np.flatnonzero(near != right), examples)
                sums = tile[run, example] + tile[later][partner, example]
                right[partner, example] = sums.argmax(axis=-1) == truth[example]
            answers = np.bitwise_count(np.packbits(right, axis=1)).sum(axis=1, dtype=np.int64)
            counts[run] += answers.sum()
            counts[later] += answers
    return counts


def _margins(tile: Floats, truth: Integers) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    """Each class's logit minus the label's, in steps, `(c - 1, N, t)`; and how far from 0 sums are sure, `(N,)`.

    The sum of two runs' margins has the right sign if it is further from 0 than both runs' limits. Margins beyond the
    range keep its end: where that could change a sign, the sum is near 0. Whole numbers are four steps each, and one
    step makes the ensembles' ties what they are: lost to a lower class, won from a higher one.
    """
    label = truth[:, None]  # (t, 1)
    others: Integers = np.arange(tile.shape[-1] - 1, dtype=np.int64)
    others = others + (others >= label)  # (t, c - 1)
    margins = np.take_along_axis(tile, others[None], axis=-1)
    margins -= np.take_along_axis(tile, label[None], axis=-1)
    size = np.abs(tile).max(axis=(1, 2))
    if size.max() < 2**50 and (np.rint(tile) == tile).all():
        margins *= 4
        margins += np.where(others < label, 1, -1)
        limits = np.ones(len(tile))
    else:
        step = float(np.median(np.abs(margins).max(axis=(1, 2)))) / FARTHEST or 1.0  # of most runs, whatever one does
        margins /= step
        limits = 1 + 2.0**-50 * (size / step)  # half a step of rounding each, and that of the logits' sums in float64
    np.clip(np.rint(margins, out=margins), -FARTHEST, FARTHEST, out=margins)
    limits = np.minimum(np.ceil(limits), 2 * FARTHEST).astype(np.int16)
    return np.ascontiguousarray(margins.transpose(2, 0, 1), dtype=np.int16), limits


def _largest_sums(margins: NDArray[np.int16], run: int, later: slice, room: NDArray[np.int16]) -> NDArray[np.int16]:
    """The largest over classes of a run's margin plus a later run's, `(m, t)`, in `room` for two such arrays."""
    largest, sums = room[:, : later.stop - later.start]
    np.add(margins[0, run], margins[0, later], out=largest)
    for margin in margins[1:]:
        np.add(margin[run], margin[later], out=sums)
        np.maximum(largest, sums, out=largest)
    return largest


def log_overlaps(tile: Floats) -> Floats:
    """Sum over partners and examples of the logarithm of the overlap, `(N,)`, for `tile` (N, t, c), overwritten.

    The overlap of a and b is the inner product of `exp(a / 2)` and `exp(b / 2)`, each scaled to length 1: exponentials
    are taken once per run, not once per pair. Of equal rows one is worked out, and they overlap by exactly 1.
    """
    tile -= tile.max(axis=-1, keepdims=True)
    tile /= 2
    unit = np.exp(tile)
    length = np.sqrt(np.square(unit).sum(axis=-1, keepdims=True))  # from 1 to sqrt(c)
    unit /= length
    tile -= np.log(length)  # unit = exp(tile), but for what underflows
    numbers: dict[bytes, int] = {}
    which = np.array([numbers.setdefault(row.tobytes(), len(numbers)) for row in tile])  # (N,): equal rows' number
    _, first, copies = np.unique(which, return_index=True, return_counts=True)
    unit, logs = np.ascontiguousarray(unit[first].transpose(1, 0, 2)), tile.transpose(1, 0, 2)  # (t, D, c), (t, N, c)
    sums = np.zeros(len(first))
    width = min(WIDEST, max(1, math.isqrt(UNTHREADED // tile.shape[-1])))
    blocks = [slice(start, start + width) for start in range(0, len(first), width)]
    for number, ours in enumerate(blocks):
        for theirs in blocks[number:]:
            pairs = _block(unit[:, ours], unit[:, theirs], logs, first[ours], first[theirs])
            if ours == theirs:
                np.fill_diagonal(pairs, 0.0)
            else:
                sums[theirs] += (pairs * copies[ours, None]).sum(axis=0)
            sums[ours] += (pairs * copies[theirs]).sum(axis=1)
    return sums[which]


def _block(ours: Floats, theirs: Floats, logs: Floats, our_runs: Integers, their_runs: Integers) -> Floats:
    """Sum over examples of the logarithms of the overlaps of rows `(t, a, c)` with others `(t, b, c)`: `(a, b)`.

    `logs` (t, N, c) are the rows' logarithms, by run, for overlaps that would underflow.
    """
    total = np.zeros((ours.shape[1], theirs.shape[1]))
    room = np.empty((DEPTH, *total.shape))
    for start in range(0, len(ours), DEPTH):
        part = slice(start, min(start + DEPTH, len(ours)))
        overlaps = np.matmul(ours[part], theirs[part].transpose(0, 2, 1), out=room[: part.stop - start])
        product = overlaps.prod(axis=0)  # one logarithm for several examples
        lost: Flags = product < TINY
        if lost.any():
            product[lost] = 1.0
            a, b = np.nonzero(lost)
            total[lost] += _log_sum_exp(logs[part, our_runs[a]] + logs[part, their_runs[b]]).sum(axis=0)
        total += np.log(product, out=product)
    return total


def _log_sum_exp(rows: Floats) -> Floats:
    top = rows.max(axis=-1)
    return top + np.log(np.exp(rows - top[..., None]).sum(axis=-1))
