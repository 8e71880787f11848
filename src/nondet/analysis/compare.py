"""Is B better than A? One comparison, or several with one A."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from numpy.typing import ArrayLike

from nondet.analysis.arms import Arm
from nondet.analysis.cautions import skewed_and_unequal
from nondet.analysis.comparison import Comparison, Comparisons
from nondet.analysis.criteria import check_criteria, check_options
from nondet.analysis.groups import numbered_groups
from nondet.analysis.independence import without_copies
from nondet.analysis.more_runs import more_runs, range_of_more
from nondet.analysis.two_arms import as_tested, measured_apart, p_of_verdict
from nondet.analysis.verdicts import cautions, of_conditions, verdict_by_chance, verdict_of, with_both_verdicts
from nondet.errors import BadInput
from nondet.stats.holm import holm
from nondet.stats.looks import look_level

LOOKS = (
    "This was one look: adding runs and looking again until something is found errs more often than the level says. To "
    "look several times, plan the number of looks before the first one."
)


def compare(
    arms: Sequence[Arm],
    margin: float | None = None,
    level: float = 0.05,
    *,
    chance: float | None = None,
    examples: bool = False,
    looks: int = 1,
    groups: str | Path | ArrayLike | None = None,
) -> Comparisons:
    """Compare each arm with the first; with several, verdicts go by Holm's adjusted p-values.

    Args:
        arms: at least two, of one test set and one metric.
        margin: the largest difference, in the metric's unit, that still counts as alike.
        level: the chance of a false `better` or `worse` in all comparisons together, and likewise of a false `alike`.
        chance: decide by the chance that a run of B beats one of A, not by the means; see `by_chance`.
        examples: whether errors and intervals also allow for other test examples, drawn as these were.
        looks: how often you look at the runs in all, this time included; see `look_level`.
        groups: with `examples`, the group that each example was drawn with, or a file of these; see `numbered_groups`.

    Raises:
        BadInput: see `check_options`, `check_criteria`, `without_copies` and `separated`; or fewer than two arms.
    """
    check_options(margin, level)
    check_criteria(chance, margin, looks)
    level = look_level(level, looks)
    if len(arms) < 2:
        raise BadInput(f"arms must be at least 2 (got {len(arms)}); name what to compare with the first")
    a, *others = (without_copies(arm) for arm in arms)
    numbers = None if groups is None or not a.runs.kind.by_example else numbered_groups(groups, len(a.runs.labels))
    each = level / len(others)
    measured = [measured_apart(a, b, margin, level, examples, numbers) for b in others]
    different = holm([m.found.p_value for m in measured])
    deciding = holm([p_of_verdict(m, each) for m in measured])
    alike = holm([1.0 if m.found.p_alike is None else m.found.p_alike for m in measured])
    found: list[Comparison] = []
    for m, p_holm, p_alike, decides in zip(measured, different, alike, deciding, strict=True):
        one = replace(m.found, p_holm=p_holm, p_alike=None if margin is None else p_alike, comparisons=len(others))
        one = replace(one, chance=chance, examples=examples, looks=looks)
        one = verdict_by_chance(one, m.arms, each) if chance else replace(one, verdict=verdict_of(one, decides))
        bold = skewed_and_unequal(m.arms, level) if one.verdict in ("better", "worse") and not chance else []
        one = replace(one, notes=(*one.notes, *cautions(one), *bold))
        if one.verdict == "undecided" and looks == 1:
            one = replace(one, notes=(*one.notes, LOOKS))
        if one.verdict == "undecided" and not chance:
            parts = as_tested(m, each)
            more, aim = more_runs(one, parts, each)
            one = replace(one, more_runs=more, more_runs_aim=aim)
            one = replace(one, more_runs_range=range_of_more(one, parts, each) if more else None)
        one = with_both_verdicts(one, m, each)
        found.append(replace(one, verdict=of_conditions(one.verdict)) if one.conditions else one)
    probable = tuple(arm.name for arm in arms if arm.probabilities)
    return Comparisons(tuple(found), any(arm.control is False for arm in arms), probable)
