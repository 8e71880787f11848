"""Which runs of two arms are independent, and which belong together in pairs."""

from __future__ import annotations

from dataclasses import replace

from nondet.analysis.arms import Arm, digest
from nondet.analysis.measure import copies_words, distinct, named_runs
from nondet.errors import BadInput
from nondet.study.provenance import differences


def without_copies(arm: Arm) -> Arm:
    """The arm with each run once: runs with equal outputs count as one, and a note says which.

    Raises:
        BadInput: predicted classes alone are equal, which copies are, but also runs that answer alike; or fewer than
            two runs are left.
    """
    kept, copies = distinct(arm.name, arm.numbers, arm.exact or arm.digests, arm.classes_alone)
    if not copies:
        return arm
    return replace(arm.keep(kept), notes=(*arm.notes, copies_words(arm.name, copies)))


def separated(a: Arm, b: Arm) -> tuple[Arm, Arm]:
    """Both arms without a run in common: it stays in the arm with fewer runs (A if both have as many).

    Raises:
        BadInput: the arms are the same runs, or fewer than two are left in one.
    """
    if a.classes_alone != b.classes_alone:  # classes beside logits: what they have in common is the answers
        same_a, same_b = (
            replace(
                x, classes_alone=True, digests=tuple(map(digest, x.predictions if x.predictions is not None else ()))
            )
            for x in (a, b)
        )
        separated(same_a, same_b)
        return a, b
    common = set(a.digests) & set(b.digests)
    if not common:
        return a, b
    if len(common) == len(a) == len(b):
        equal = "answers are all equal" if a.classes_alone else "outputs are equal to the last bit"
        raise BadInput(
            f"{a.name} and {b.name} are the same {len(a)} runs (their {equal}), which cannot be compared with "
            "themselves; compare runs of another model, recipe or seeds"
        )
    larger, smaller = (a, b) if len(a) > len(b) else (b, a)
    left = [place for place, found in enumerate(larger.digests) if found not in common]
    dropped = [str(number) for number, found in zip(larger.numbers, larger.digests, strict=True) if found in common]
    if a.classes_alone:
        raise BadInput(
            f"the arms must be independent, and {named_runs(dropped)} of {larger.name} give the answers of runs of "
            f"{smaller.name}: copies cannot be told from runs that answer alike by their classes; leave copies out, or "
            "give logits"
        )
    if len(left) < 2:
        raise BadInput(
            f"the arms must be independent, and {larger.name} shares {len(common)} of its {len(larger)} runs with "
            f"{smaller.name}, which leaves {len(left)}; add runs to it, or compare others"
        )
    note = f"{named_runs(dropped)} of {larger.name} {'is' if len(dropped) == 1 else 'are'} also in {smaller.name}, and "
    note += f"{'counts' if len(dropped) == 1 else 'count'} there alone."
    reduced = larger.keep(left)
    reduced = replace(reduced, notes=(*reduced.notes, note))
    return (reduced, b) if larger is a else (a, reduced)


def pairs(a: Arm, b: Arm) -> list[tuple[int, int]]:
    """Places of the runs of a and b that have the same seed in every source that varies in both; empty if none does."""
    if not (a.seeds and b.seeds):
        return []
    shared = sorted(set(a.seeds[0]) & set(b.seeds[0]))
    if not shared:
        return []
    places = {tuple(seeds[s] for s in shared): place for place, seeds in enumerate(a.seeds)}
    found = [(places.get(tuple(seeds[s] for s in shared)), place) for place, seeds in enumerate(b.seeds)]
    return [(i, j) for i, j in found if i is not None]


def environments_differ(a: Arm, b: Arm) -> str:
    """What differs between the environments of two studies, as a sentence; empty if nothing does."""
    if a.environment is None or b.environment is None:
        return ""
    fields = [f"{name}: {x} and {y}" for name, (x, y) in differences(a.environment, b.environment).items()]
    if not fields:
        return ""
    return f"They were trained in different environments ({'; '.join(fields)}), so the difference may be of these."
