"""Which runs are independent, which are copies and count once, and which belong together in pairs."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nondet.analysis.arm import Arm
from nondet.errors import BadInput
from nondet.measures.copies import features, near_copies, shared
from nondet.measures.measured import listed_copies
from nondet.study.provenance import differences

SHOWN = 5
"""How many runs are named."""


def without_copies(arm: Arm) -> Arm:
    """Return the arm with each run once, and a note on what was left out, and why.

    Runs that a study trained with their own seeds are independent, whatever their outputs: a run whose changed bit did
    nothing counts too. For outputs that no study made this is not known, so copies and near-copies count once.

    Raises:
        BadInput: fewer than two runs are left, or all runs of a study are equal, so that none of their seeds matters.
    """
    if arm.of_scores:  # copies cannot be told from runs with the same score
        return arm
    if arm.runs.made:
        if len(set(arm.digests)) == 1:
            raise BadInput(_all_one(arm.name, len(arm)))
        return arm
    outputs, rounded = arm.runs.outputs, arm.runs.outputs.dtype.itemsize > 4 and not arm.classes_alone
    digests = [exact_digest(run) for run in outputs] if rounded else arm.digests
    kept, copies, near = distinct(arm.name, arm.numbers, digests, arm.points, arm.classes_alone)
    if not (copies or near):
        return arm
    notes = (*arm.notes, *copies_words(arm.name, copies, near))
    return replace(arm.keep(kept), copies=tuple(listed_copies(copies, near)), notes=notes)


def separated(a: Arm, b: Arm) -> tuple[Arm, Arm]:
    """Return both arms without a run in common: it stays in the arm with fewer runs (in A if both have as many).

    In two studies, runs are the same if their outputs and all their seeds are. In other outputs, they are the same if
    they are equal, or nearer than the runs of either arm are to each other.

    Raises:
        BadInput: the arms are the same runs, or fewer than two are left in one.
    """
    common = _common(a, b)
    if not common:
        return a, b
    in_a, in_b = {i for i, _ in common}, {j for _, j in common}
    if len(in_a) == len(a) and len(in_b) == len(b):
        nearly = "nearly equal" if set(a.digests).isdisjoint(b.digests) else "equal to the last bit"
        equal = "answers are all equal" if a.classes_alone or b.classes_alone else f"outputs are {nearly}"
        raise BadInput(
            f"the arms must be different runs ({a.name} and {b.name} are the same {len(a)} runs: their {equal}); "
            "compare runs of another model, recipe or seeds"
        )
    larger, smaller, shared_places = (a, b, in_a) if len(a) > len(b) else (b, a, in_b)
    left = [place for place in range(len(larger)) if place not in shared_places]
    dropped = [str(larger.numbers[place]) for place in sorted(shared_places)]
    if len(left) < 2:
        raise BadInput(
            f"the arms must be independent, and {larger.name} shares {len(dropped)} of its {len(larger)} runs with "
            f"{smaller.name}, which leaves {len(left)}; add runs to it, or compare other arms"
        )
    also, counts = ("is also", "counts") if len(dropped) == 1 else ("are also", "count")
    note = f"{_named_runs(dropped)} of {larger.name} {also} in {smaller.name}, and {counts} only there."
    reduced = larger.keep(left)
    reduced = replace(reduced, notes=(*reduced.notes, note))
    return (reduced, b) if larger is a else (a, reduced)


def _common(a: Arm, b: Arm) -> list[tuple[int, int]]:
    """Return the places of runs that are the same in both arms."""
    if a.runs.made and b.runs.made:
        runs = [zip(arm.digests, arm.runs.made, strict=True) for arm in (a, b)]
        return _equal(*([(digest, *sorted(made.seeds.items())) for digest, made in each] for each in runs))
    if a.predictions is None or b.predictions is None:
        return _equal(a.digests, b.digests)
    if a.classes_alone or b.classes_alone:  # what logits and classes have in common is the answers
        return shared(features(a.predictions), features(b.predictions))
    return list(dict.fromkeys([*_equal(a.digests, b.digests), *shared(a.points, b.points)]))


def _equal(a: Sequence[Hashable], b: Sequence[Hashable]) -> list[tuple[int, int]]:
    places: dict[Hashable, list[int]] = {}
    for place, found in enumerate(b):
        places.setdefault(found, []).append(place)
    return [(i, j) for i, found in enumerate(a) for j in places.get(found, ())]


def pairs(a: Arm, b: Arm) -> list[tuple[int, int]]:
    """Return the places of runs of a and b with equal seeds in every source that varies in both; empty if none does."""
    if not (a.seeds and b.seeds):
        return []
    shared = sorted(set(a.seeds[0]) & set(b.seeds[0]))
    if not shared:
        return []
    places = {tuple(seeds[s] for s in shared): place for place, seeds in enumerate(a.seeds)}
    found = [(places.get(tuple(seeds[s] for s in shared)), place) for place, seeds in enumerate(b.seeds)]
    return [(i, j) for i, j in found if i is not None]


def environments_differ(a: Arm, b: Arm) -> str:
    """Say what differs between the environments of two studies; empty if nothing does."""
    first, second = a.runs.study, b.runs.study
    if first is None or second is None:
        return ""
    fields = [f"{name}: {x} and {y}" for name, (x, y) in differences(first.environment, second.environment).items()]
    if not fields:
        return ""
    return f"They were trained in different environments ({'; '.join(fields)}), which may cause the difference."


def distinct(
    name: str, numbers: Sequence[int], digests: Sequence[str], points: NDArray[Any] | None, classes: bool
) -> tuple[list[int], dict[int, int], dict[int, int]]:
    """Return the places of runs that are no copies; and the number of each copy, and near-copy, with the first one's.

    Logits that are equal to the last bit are copies. If only predicted classes are known, equal ones are copies if the
    other runs differ so much that two trainings would not be equal by chance.

    Args:
        points: of each run, as `features` returns them; without them, near-copies are not looked for.
        classes: whether only predicted classes are known.

    Raises:
        BadInput: fewer than two runs differ.
    """
    first: dict[str, int] = {}
    for place, digest in enumerate(digests):
        first.setdefault(digest, place)
    equal = {place: first[digest] for place, digest in enumerate(digests) if first[digest] != place}
    if len(first) == 1:
        raise BadInput(_all_one(name, len(digests)))
    if points is None:
        found = equal
    elif classes:
        found = near_copies(points)
    else:
        places = list(first.values())
        found = equal | {places[i]: places[j] for i, j in near_copies(points[places]).items()}
    kept = [place for place in range(len(digests)) if place not in found]
    if len(kept) < 2:
        raise BadInput(_all_one(name, len(digests), "nearly "))
    named = {numbers[place]: numbers[earlier] for place, earlier in found.items()}
    exact = {numbers[place] for place, earlier in found.items() if digests[place] == digests[earlier]}
    copies = {number: of for number, of in named.items() if number in exact}
    return kept, copies, {number: of for number, of in named.items() if number not in exact}


def _all_one(name: str, runs: int, nearly: str = "") -> str:
    """Say why runs that are all equal are refused."""
    return (
        f"runs must be at least 2 that differ (all {runs} of {name} have {nearly}equal outputs, and count as one run); "
        "give runs that were trained with different seeds of a source that matters"
    )


def exact_digest(run: NDArray[Any]) -> str:
    """Return the SHA-256 of one run's numbers as they are, except that -0 equals 0."""
    plain = np.ascontiguousarray(run)
    return hashlib.sha256((plain + plain.dtype.type(0)).tobytes()).hexdigest()


def copies_words(name: str, copies: Mapping[int, int], near: Mapping[int, int]) -> list[str]:
    """Say which runs, by number, count once with an earlier one, and why; empty if there is none."""
    found: list[str] = []
    for runs, what, why in (
        (copies, "exactly the outputs", ""),
        (near, "nearly the outputs", ", far nearer than other runs are to each other"),
    ):
        if runs:
            listed = _named_runs(
                [f"{number} (like {of})" if why else f"{number} (equal to {of})" for number, of in runs.items()]
            )
            has, once = ("has", "counts") if len(runs) == 1 else ("have", "count")
            found.append(f"{listed} of {name} {has} {what} of an earlier run{why}, and {once} once with it.")
    return found


def _named_runs(numbers: Sequence[str]) -> str:
    """Name runs by their numbers, at most a few of them."""
    more = len(numbers) - SHOWN
    shown = ", ".join(numbers[:SHOWN]) + (f" and {more} other{'s' * (more > 1)}" if more > 0 else "")
    return f"{'run' if len(numbers) == 1 else 'runs'} {shown}"
