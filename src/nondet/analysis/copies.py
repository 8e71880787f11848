"""Copies of a run are one run, in every command: however often it is given, it is one training."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nondet.errors import BadInput
from nondet.io.foreign import scratch
from nondet.measures.arrays import checked, checked_classes
from nondet.measures.summary import Measures, measure_predictions
from nondet.measures.summary import measure as measure_all
from nondet.stats.values import as_array

SHOWN = 5
"""Runs that are named."""


def measure(
    outputs: ArrayLike, labels: ArrayLike, failed: int = 0, examples: bool = False, *, name: str = "these"
) -> Measures:
    """Take every measure of somebody's runs, each of which counts once, however many copies of it there are.

    Args:
        outputs: logits `(N, n, c)` of the runs that did not fail; or predicted classes `(N, n)`, integers from 0, which
            give accuracy, its variance and disagreement.
        labels: classes `(n,)`.
        failed: how many further runs failed.
        examples: whether errors and intervals are to hold for other test examples too, drawn as these were.
        name: of the outputs, in messages.

    Raises:
        BadInput: see `checked` and `checked_classes`; fewer than two runs differ; or predicted classes alone are equal.
    """
    array = as_array(outputs, "outputs")
    classes = array.ndim == 2 and array.dtype.kind in "iu"
    given, truth = (checked_classes if classes else checked)(array, labels)
    kept, copies = distinct(name, range(1, len(given) + 1), [exact_digest(run) for run in given], classes)
    found = (measure_predictions if classes else measure_all)(_only(given, kept), truth, failed, examples)
    return replace(found, copies=copies)


def distinct(
    name: str, numbers: Sequence[int], digests: Sequence[str], classes: bool
) -> tuple[list[int], dict[int, int]]:
    """The places of the first of each of equal runs; and each copy's number with that of the first.

    Raises:
        BadInput: predicted classes alone are equal, which copies are, but also runs that answer alike; or fewer than
            two runs differ.
    """
    first: dict[str, int] = {}
    for place, digest in enumerate(digests):
        first.setdefault(digest, place)
    kept = list(first.values())
    copies = {numbers[place]: numbers[first[digest]] for place, digest in enumerate(digests) if first[digest] != place}
    if copies and classes:
        raise BadInput(
            f"runs must be independent, and {_said(name, copies)} the answers of an earlier run: copies cannot be told "
            "from runs that answer alike by their classes; leave copies out, or give logits"
        )
    if copies and len(kept) < 2:
        raise BadInput(
            f"runs must be at least 2 that differ (all {len(digests)} of {name} have equal outputs, and count as one "
            "run); give runs that were trained with different seeds of a source that matters"
        )
    return kept, copies


def exact_digest(run: NDArray[Any]) -> str:
    """SHA-256 of one run's numbers as they are, but that -0 and 0 are equal."""
    plain = np.ascontiguousarray(run)
    return hashlib.sha256((plain + plain.dtype.type(0)).tobytes()).hexdigest()


def copies_words(name: str, copies: Mapping[int, int]) -> str:
    """Which runs, by number, count once with an equal one before them; empty without any."""
    if not copies:
        return ""
    once = "counts" if len(copies) == 1 else "count"
    return f"{_said(name, copies)} exactly the outputs of an earlier run, and {once} once with it."


def _said(name: str, copies: Mapping[int, int]) -> str:
    listed = named_runs([f"{number} (equal to {original})" for number, original in copies.items()])
    return f"{listed} of {name} {'has' if len(copies) == 1 else 'have'}"


def named_runs(numbers: Sequence[str]) -> str:
    """Runs by their numbers, not more than a few."""
    more = len(numbers) - SHOWN
    shown = ", ".join(numbers[:SHOWN]) + (f" and {more} other{'s' * (more > 1)}" if more > 0 else "")
    return f"{'run' if len(numbers) == 1 else 'runs'} {shown}"


def _only(runs: NDArray[Any], places: Sequence[int]) -> NDArray[Any]:
    """The runs at these places; a large copy goes to disk."""
    if len(places) == len(runs):
        return runs
    kept = scratch((len(places), *runs.shape[1:]), runs.dtype)
    for row, place in zip(kept, places, strict=True):
        row[...] = runs[place]
    return kept
