"""Ensembles of all pairs of runs, for an array that fits in memory: what one core works on at a time."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nondet.measures.arrays import UNTHREADED
from nondet.measures.variability import at, log_sum_exp
from nondet.stats.values import Floats, Integers

Flags = NDArray[np.bool_]

BLOCK = 2**17  # pairs of runs x examples computed at once, in 16 bits, to fit into a core's cache
FARTHEST = 2**14 - 1  # steps from 0 of the farthest margins, so that the sum of two is within 16 bits
WIDEST, DEPTH = 64, 16  # runs and examples in a block of overlaps: half a MiB
TINY = 1e-290  # a product of overlaps below this has lost digits


def accuracy_gains(tile: Floats, truth: Integers, chosen: Integers) -> NDArray[Any]:
    """Gains of each run's ensembles, `(N,)`, in right answers, for `tile` (N, t, c) and its argmax `chosen` (N, t)."""
    right: Flags = chosen == truth
    alone, votes = right.sum(axis=1), right.sum(axis=0)
    split: Flags = (chosen != chosen[0]).any(axis=0)  # elsewhere ensembles predict what all runs do: no gain
    together = right @ votes - alone  # with the partners that are right too
    together += _right_with_a_wrong_one(tile[:, split], truth[split], chosen[:, split])
    return (2 * together - (len(tile) - 2) * alone - alone.sum()) / 2


def _right_with_a_wrong_one(tile: Floats, truth: Integers, chosen: Integers) -> Integers:
    """Right answers of each run's ensembles that have a wrong member, `(N,)`, for `tile` (N, t, c).

    An ensemble is right if all its margins are below 0; a margin is a class's logit minus the label's. Margins are
    added in 16 bits. If the largest is so close to 0 that rounding could matter, the sums are compared in float64.
    """
    runs, examples, _ = tile.shape
    counts = np.zeros(runs, dtype=np.int64)
    if not examples:
        return counts
    margins, limit = _margins(tile, truth)  # (c - 1, t, N)
    right = np.ascontiguousarray((chosen == truth).T)  # (t, N)
    wrong_example, wrong_run = np.nonzero(~right)
    step = max(1, BLOCK // runs)
    room = np.empty((2, step, runs), dtype=np.int16)
    for start in range(0, len(wrong_run), step):
        run, example = wrong_run[start : start + step], wrong_example[start : start + step]
        largest, sums = room[:, : len(run)]  # over classes, of a wrong run's margin plus each run's: (m, N)
        for number, margin in enumerate(margins):
            into = sums if number else largest
            np.take(margin, example, axis=0, out=into, mode="clip")  # this mode needs no other buffer
            into += margin[example, run][:, None]
            if number:
                np.maximum(largest, sums, out=largest)
        found: Flags = largest < -limit
        near: Flags = largest <= limit
        if np.count_nonzero(near) > np.count_nonzero(found):
            place, partner = np.nonzero(near != found)
            at, one = example[place], run[place]
            both = (tile[one, at] + tile[partner, at]).argmax(axis=-1) == truth[at]
            found[place, partner] = both & (chosen[one, at] != chosen[partner, at])
        answers = np.bitwise_count(np.packbits(found, axis=1)).sum(axis=1, dtype=np.int64)
        counts += np.bincount(run, answers, runs).astype(np.int64)
        found &= right[example]  # a pair of two wrong runs comes up twice, any other once
        counts += found.sum(axis=0)
    return counts


def _margins(tile: Floats, truth: Integers) -> tuple[NDArray[np.int16], int]:
    """Each class's logit minus the label's, in steps, `(c - 1, t, N)`; and from which size on a sum's sign is sure.

    Margins beyond the range are set to its end: if that could change a sign, the sum is near 0. Whole numbers are four
    steps each; one more step decides ties of ensembles: lost to a lower class, won against a higher one.
    """
    label = truth[:, None]  # (t, 1)
    others: Integers = np.arange(tile.shape[-1] - 1, dtype=np.int64)
    others = others + (others >= label)  # (t, c - 1)
    margins = np.take_along_axis(tile, others[None], axis=-1)
    margins -= np.take_along_axis(tile, label[None], axis=-1)
    size = float(np.abs(tile).max())
    if size < 2**50 and (np.rint(tile) == tile).all():
        margins *= 4
        margins += np.where(others < label, 1, -1)
        limit = 1.0
    else:
        step = float(np.median(np.abs(margins).max(axis=(1, 2)))) / FARTHEST or 1.0  # fits most runs, whatever one does
        margins /= step
        limit = 1 + 2.0**-50 * (size / step)  # half a step of rounding each, and float64's own
    np.clip(np.rint(margins, out=margins), -FARTHEST, FARTHEST, out=margins)
    return np.ascontiguousarray(margins.transpose(2, 1, 0), dtype=np.int16), min(math.ceil(limit), 2 * FARTHEST)


def log_overlaps(tile: Floats, chosen: Integers) -> Floats:
    """Sum over partners and examples of the logarithm of the overlap, `(N,)`, for `tile` (N, t, c), overwritten.

    The overlap of a and b is the inner product of `exp(a / 2)` and `exp(b / 2)`, each scaled to length 1: exponentials
    are taken once per run, not once per pair. Only one of several equal rows is computed; their overlap is exactly 1.
    """
    tile -= at(tile, chosen)
    tile /= 2
    unit = np.exp(tile)
    length = np.sqrt(np.square(unit).sum(axis=-1, keepdims=True))  # from 1 to sqrt(c)
    unit /= length
    which = _equal_rows(tile)
    _, first, copies = np.unique(which, return_index=True, return_counts=True)
    unit = np.ascontiguousarray((unit if len(first) == len(unit) else unit[first]).transpose(1, 0, 2))  # (t, D, c)
    sums = np.zeros(len(first))
    width = min(WIDEST, max(1, math.isqrt(UNTHREADED // tile.shape[-1])))
    blocks = [slice(start, start + width) for start in range(0, len(first), width)]

    def lost(part: slice, ours: Integers, theirs: Integers) -> Floats:
        """The same for some examples and pairs, `(p,)`, in logarithms, because exponentials have lost digits."""
        logs = tile[:, part] - np.log(length[:, part])
        return log_sum_exp(logs[first[ours]] + logs[first[theirs]]).sum(axis=1)

    for number, ours in enumerate(blocks):
        for theirs in blocks[number:]:
            pairs = _block(unit, ours, theirs, lost)
            if ours == theirs:
                np.fill_diagonal(pairs, 0.0)
            else:
                sums[theirs] += (pairs * copies[ours, None]).sum(axis=0)
            sums[ours] += (pairs * copies[theirs]).sum(axis=1)
    return sums[which]


def _equal_rows(tile: Floats) -> Integers:
    """Number the rows `(N,)`, equal rows with the same number; only rows with equal sums can be equal."""
    numbers: dict[Any, int] = {}
    sums = tile.sum(axis=(1, 2))
    several = {value for value, times in zip(*np.unique(sums, return_counts=True), strict=True) if times > 1}
    keys = ((value, row.tobytes() if value in several else b"") for value, row in zip(sums, tile, strict=True))
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)


def _block(unit: Floats, ours: slice, theirs: slice, lost: Callable[[slice, Integers, Integers], Floats]) -> Floats:
    """Sum over examples of the logarithms of the overlaps of some rows of `unit` (t, D, c) with others: `(a, b)`.

    `lost` computes them for pairs whose overlaps underflow.
    """
    left, right = unit[:, ours], unit[:, theirs].transpose(0, 2, 1)
    total = np.zeros((left.shape[1], right.shape[2]))
    room = np.empty((DEPTH, *total.shape))
    for start in range(0, len(unit), DEPTH):
        part = slice(start, min(start + DEPTH, len(unit)))
        overlaps = np.matmul(left[part], right[part], out=room[: part.stop - start])
        product = overlaps.prod(axis=0)  # one logarithm for several examples
        if product.min() < TINY:
            a, b = np.nonzero(product < TINY)
            product[a, b] = 1.0
            total[a, b] += lost(part, ours.start + a, theirs.start + b)
        total += np.log(product, out=product)
    return total
