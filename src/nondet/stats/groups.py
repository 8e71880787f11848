"""Groups of test examples that depend on each other: what drawing groups instead of examples adds to an error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nondet.stats.values import Floats, Integers


def group_numbers(groups: Sequence[object]) -> Integers:
    """Number each example's group from 0, `(n,)`, in the order in which the groups first occur."""
    places: dict[object, int] = {}
    return np.array([places.setdefault(group, len(places)) for group in groups], dtype=np.int64)


def variance_of_groups(means: Floats, within: Sequence[Floats], groups: Integers) -> float:
    """What drawing groups of examples adds to the squared error of a mean over runs and examples.

    Runs and examples cross, as in `nondet.measures.by_example`; the examples of a group may depend on each other in any
    way. Let D_g be the sum over a group of the deviations from the mean. The result is `C / (C - 1) sum_g D_g^2 / n^2`
    for the means over runs, less what the cells themselves add: the variance of the same sums over runs.

    Args:
        means: over runs, `(n,)`. within: for each arm the sums of its numbers by run and group, `(N, C)`; each is
            divided by its number of runs. groups: `(n,)`, from 0.
    """
    count, sizes = len(means), np.bincount(groups)
    between = np.square(np.bincount(groups, weights=means - means.mean())).sum()
    for sums in within:
        apart = sums - sizes * sums.sum(axis=1, keepdims=True) / count
        between -= apart.var(axis=0, ddof=1).sum() / len(sums)
    return max(0.0, float(between)) * len(sizes) / (len(sizes) - 1) / count**2


def sums_by_group(table: NDArray[Any], groups: Integers) -> Floats:
    """Sum numbers by run and example, `(N, n)`, over the examples of each group: `(N, C)`."""
    return np.array([np.bincount(groups, weights=row) for row in table], dtype=np.float64)
