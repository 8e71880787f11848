"""Ensemble delta: how much a two-run ensemble, the mean of the two runs' logits, gains over its members.

Every pair of runs is an ensemble, compared with both of its members. The measure is the mean of each run's mean over
its partners, from which errors follow by leaving out one run at a time.
Source: Summers & Dinneen, ICML 2021.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nondet.measures.arrays import in_threads
from nondet.measures.pairs import accuracy_gains, log_overlaps
from nondet.stats.values import Floats, Integers

EXACT_RUNS = 2000
"""Up to so many runs, every pair is used; the pairs of more would take longer than all other measures together."""

GROUP = 100
"""If there are more, runs are put at random into groups of about this size, and every pair within a group is used."""

TILE = 2**22  # numbers in one part: enough examples for long inner loops, and 32 MiB of float64
LONGEST = 256  # examples in one part, so that a run's numbers stay in the cache and there are parts for all cores


def sampled_pairs(runs: int) -> int | None:
    """How many pairs the ensemble deltas of so many runs are means over; None if that is all of them.

    Above EXACT_RUNS the runs are put at random, with a fixed seed, into groups of about GROUP, whose sizes differ by at
    most one. A run's partners are the others in its group.
    """
    return None if runs <= EXACT_RUNS else sum(len(group) * (len(group) - 1) // 2 for group in groups_of(runs))


def groups_of(runs: int) -> list[Integers]:
    """The groups of runs in which every pair is used: one group of all runs, or several."""
    if runs <= EXACT_RUNS:
        return [np.arange(runs, dtype=np.int64)]
    dealt = np.random.Generator(np.random.Philox(0)).permutation(runs)
    return np.array_split(dealt, -(-runs // GROUP))


def gains_by_run(
    logits: NDArray[Any],
    truth: Integers,
    predicted: Integers | None = None,
    names: Sequence[str] = ("accuracy", "cross_entropy"),
) -> dict[str, Floats]:
    """Mean gain of each run's ensembles in each score, `(N,)`, by name, in one pass over what `checked` returns.

    The gain of a pair is its ensemble's score minus the mean of its two members'; run i's is the mean over partners.

    accuracy, in points: the ensemble predicts the class with the largest sum of the two logits in float64, the first if
    several tie; if both runs predict the same class, that class. Right answers are counted in whole numbers, so equal
    runs give exactly 0.

    cross_entropy, in nats: the label's logits cancel, and for runs a and b on one example the gain is
    `log(sum_k exp((a_k + b_k) / 2)) - (log(sum_k exp(a_k)) + log(sum_k exp(b_k))) / 2`, the logarithm of the overlap
    `sum_k sqrt(p_k q_k)` of their predicted distributions. So it is never above 0, and equal runs give exactly 0.

    Args:
        logits: `(N, n, c)`. truth: `(n,)`. predicted: the predictions `(N, n)`, if known.
    """
    runs, count, classes = logits.shape
    groups = groups_of(runs)
    step = max(1, min(LONGEST, TILE // (len(groups[0]) * classes)))
    parts = [(group, slice(start, start + step)) for group in groups for start in range(0, count, step)]

    def work(part: tuple[Integers, slice]) -> list[NDArray[Any]]:
        group, examples = part
        tile = logits[:, examples][group].astype(np.float64, order="C", copy=False)
        chosen = tile.argmax(axis=-1) if predicted is None else predicted[:, examples][group]
        with np.errstate(under="ignore", over="ignore"):  # out of range: negligible, or computed again
            first = [accuracy_gains(tile, truth[examples], chosen)] if "accuracy" in names else []
            return [*first, log_overlaps(tile, chosen)] if "cross_entropy" in names else first

    total, partners = np.zeros((len(names), runs)), np.empty(runs)
    for (group, _), sums in zip(parts, in_threads(work, parts, numbers=logits.size), strict=True):
        total[:, group] += sums
        partners[group] = len(group) - 1
    found = dict(zip(names, total / (partners * count), strict=True))
    if "accuracy" in found:
        found["accuracy"] *= 100.0
    if "cross_entropy" in found:
        found["cross_entropy"] = np.minimum(0.0, found["cross_entropy"])  # rounding could leave 1e-17
    return found
