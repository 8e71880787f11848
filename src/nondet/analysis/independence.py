"""Which runs of two arms are independent, and which belong together in pairs."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace

from nondet.analysis.arm import Arm
from nondet.analysis.measure import all_one, copies_words, distinct, exact_digest, named_runs
from nondet.errors import BadInput
from nondet.measures.copies import features, shared
from nondet.measures.measured import listed_copies
from nondet.study.provenance import differences


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
            raise BadInput(all_one(arm.name, len(arm)))
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
    note = f"{named_runs(dropped)} of {larger.name} {'is' if len(dropped) == 1 else 'are'} also in {smaller.name}, and "
    note += f"{'counts' if len(dropped) == 1 else 'count'} only there."
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
