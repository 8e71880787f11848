"""Find runs that are too similar to be separate trainings: copies of one run, perhaps slightly changed.

Independent runs are about equally far from each other. Copies of a run, rounded or with noise, are far nearer to it
than any two trainings are. So runs are joined if their distance is less than a NEARER-th of every longer link between
groups (single linkage: Gower & Ross 1969, Applied Statistics 18), and small compared to the outputs themselves.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nondet.stats.values import Floats

NEARER = 50
"""A run that is so many times nearer than the next of the other runs is too near to be another training."""

SMALL = 0.01
"""Copies differ by at most this share of the outputs' size, however far away other runs are."""

ANSWERS = 10
"""For predicted classes: any other two runs must differ on so many examples before equal answers show a copy. If that
is the mean, two runs give the same answers by chance with probability exp(-10), in one pair of 20,000."""

WORK = 2 * 10**8
AT_ONCE = 4000
"""Most runs that are compared with each other; the memory needed is `AT_ONCE**2 / 2` distances."""


def features(outputs: Any) -> NDArray[Any]:
    """Return what tells copies from other runs, `(N, f)`: some of each run's answers.

    Logits lose their mean over classes, on which no answer depends, so that logits and log-probabilities are the same.
    A run that answers only one class becomes NaN: collapsed runs are near each other without being copies.

    Args:
        outputs: logits `(N, n, c)`, or a tensor of them on any device; or predicted classes `(N, n)`.
    """
    runs, examples = outputs.shape[:2]
    room = int(min(4096, max(64, 2 * WORK // min(runs, AT_ONCE) ** 2)))
    if outputs.ndim == 2:
        return np.asarray(outputs[:, :: -(-examples // room)])
    classes = outputs.shape[2]
    step = -(-examples * min(classes, 64) // room)
    some = outputs[:, ::step, :: -(-classes // 64)]
    some = np.asarray(some.detach().cpu().double() if hasattr(some, "detach") else some, dtype=np.float64)
    centred = some - some.mean(axis=2, keepdims=True)
    chosen = some.argmax(axis=2)
    if chosen.shape[1] > 1:
        centred[(chosen == chosen[:, :1]).all(axis=1)] = np.nan
    return centred.reshape(runs, -1)


def near_copies(points: NDArray[Any]) -> dict[int, int]:
    """Return the place of each run that is a copy, or nearly one, of an earlier run -> the place of the first of these.

    Nothing is found if only one run is far from the others, which are all near each other: it may be an outlying run.

    Args:
        points: those of each run, from `features`.
    """
    found: dict[int, int] = {}
    for start in range(0, len(points), AT_ONCE):
        part = points[start : start + AT_ONCE]
        places = np.flatnonzero(~_collapsed(part))
        groups = _groups(part[places]) if len(places) > 2 else None
        if groups is None:
            continue
        first: dict[int, int] = {}
        for place, group in zip((places + start).tolist(), groups.tolist(), strict=True):
            earlier = first.setdefault(group, place)
            if earlier != place:
                found[place] = earlier
    return found


def shared(a: NDArray[Any] | None, b: NDArray[Any] | None) -> list[tuple[int, int]]:
    """Return the places of runs of two arms that are nearly the same, compared to the distances within each arm.

    Args:
        a, b: their points, `(N, f)` and `(M, f)`, without the copies in each; None if there are none.
    """
    from scipy.spatial.distance import cdist

    if a is None or b is None:
        return []
    rows = [np.flatnonzero(~_collapsed(x)) for x in (a, b)]
    a, b = a[rows[0]], b[rows[1]]
    if min(len(a), len(b)) < 2 or a.shape[1] != b.shape[1]:
        return []
    apart = min(float(_links(x)[1][0]) for x in (a, b))
    between = cdist(a, b) if a.dtype.kind == "f" else cdist(a, b, "hamming") * a.shape[1]
    near = _nearer(between, apart, a)
    return [(int(rows[0][i]), int(rows[1][j])) for i, j in np.argwhere(near)]


def _collapsed(points: NDArray[Any]) -> NDArray[np.bool_]:
    """Return for each run whether it answers only one class, as `features` marks logits."""
    if points.dtype.kind == "f":
        return np.asarray(np.isnan(points).any(axis=1))
    return np.asarray((points == points[:, :1]).all(axis=1) & (points.shape[1] > 1))


def _groups(points: NDArray[Any]) -> NDArray[Any] | None:
    """Return the number of each point's group; None if no group has more than one point."""
    from scipy.cluster.hierarchy import fcluster

    tree, links = _links(points)
    cuts = np.flatnonzero(_nearer(links[:-1], links[1:], points))
    if not len(cuts):
        return None
    groups = fcluster(tree, links[cuts[-1]], criterion="distance")
    sizes = np.bincount(groups)[1:]
    return None if len(sizes) == 2 and len(points) > 3 and sizes.min() == 1 and links[0] > 0 else groups


def _links(points: NDArray[Any]) -> tuple[Floats, Floats]:
    """Return the tree of single linkage, and the lengths of its links in rising order."""
    from scipy.cluster.hierarchy import linkage
    from scipy.spatial.distance import pdist

    tree = linkage(pdist(points) if points.dtype.kind == "f" else pdist(points, "hamming") * points.shape[1], "single")
    return tree, tree[:, 2]


def _nearer(distance: Any, others: Any, points: NDArray[Any]) -> Any:
    """Whether distances are too small compared to those of others; if examples are counted, chance is allowed for."""
    if points.dtype.kind != "f":
        return NEARER * np.round(distance) + ANSWERS <= np.round(others)
    return (NEARER * distance < others) & (distance <= SMALL * float(np.median(np.linalg.norm(points, axis=1))))
