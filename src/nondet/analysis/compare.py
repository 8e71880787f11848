"""Is B better than A? One comparison, or several with one A: the verdicts and their cautions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from nondet.analysis.arm import Arm
from nondet.analysis.comparison import Comparison, Comparisons, Verdict, verdict_of
from nondet.analysis.groups import numbered_groups
from nondet.analysis.independence import without_copies
from nondet.analysis.more_runs import MOST_RUNS, ErrorParts, more_by_chance, more_runs, range_of_more
from nondet.analysis.two_arms import Measured, as_tested, measured_apart, p_of_verdict
from nondet.errors import BadInput
from nondet.stats.holm import holm
from nondet.stats.looks import MOST_LOOKS, look_level
from nondet.stats.means import holding, permutation_p, welch
from nondet.stats.spread import sd_of
from nondet.stats.superiority import superiority

MEANINGFUL = 0.75
"""The chance that Bouthillier et al. (2021, "Accounting for variance in machine learning benchmarks") propose."""

UNEQUAL = 2.0
"""The ratio of SDs from which a verdict on skewed values gets a caution."""

LOOKS = (
    "This was one look: adding runs and looking again until something is found errs more often than the level says. To "
    "look several times, plan the number of looks before the first one."
)


def check_options(margin: float | None, level: float) -> None:
    """Refuse a margin that is not a finite number above 0, and a level that is not above 0 and below 0.5."""
    if margin is not None and not 0 < margin < math.inf:
        raise BadInput(f"margin must be above 0 (got {margin}); give the largest difference that does not matter")
    if not 0 < level < 0.5:
        raise BadInput(f"level must be above 0 and below 0.5 (got {level}); try 0.05")


def check_criteria(chance: float | None, margin: float | None, looks: int) -> None:
    """Refuse a chance or a number of looks out of range, and a chance together with a margin."""
    if chance is not None and not 0.5 < chance < 1:
        raise BadInput(f"<<chance>> must be above 0.5 and below 1 (got {chance}); try <<chance={MEANINGFUL}>>")
    if chance is not None and margin is not None:
        raise BadInput(
            f"a verdict must have one criterion (got <<chance={chance}>> and <<margin={margin}>>); leave one out"
        )
    if not 1 <= looks <= MOST_LOOKS:
        raise BadInput(f"<<looks>> must be from 1 to {MOST_LOOKS} (got {looks}); say how often you will look in all")


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

    arms: at least two, of one test set and one metric. The others are those of `nondet.compare`; see also `by_chance`,
    `look_level` and `numbered_groups`.
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
        one = _by_chance(one, m.arms, each) if chance else replace(one, verdict=_by_means(one, decides))
        bold = _skewed_and_unequal(m.arms, level) if one.verdict in ("better", "worse") and not chance else []
        once = [LOOKS] if one.verdict == "undecided" and looks == 1 else []
        one = replace(one, notes=(*one.notes, *_cautions(one), *bold, *once))
        if one.verdict == "undecided" and not chance:
            parts = as_tested(m, each)
            more, aim = more_runs(one, parts, each)
            one = replace(one, more_runs=more, more_runs_aim=aim)
            one = replace(one, more_runs_range=range_of_more(one, parts, each) if more else None)
        one = _with_both_verdicts(one, m, each)
        found.append(replace(one, verdict=_of_conditions(one.verdict)) if one.conditions else one)
    broken = any(arm.control is False for arm in arms)
    return Comparisons(tuple(found), broken, tuple(arm.name for arm in arms if arm.probabilities))


def _by_means(found: Comparison, deciding: float) -> Verdict:
    return verdict_of(found.difference.value, found.metric.better, deciding, found.p_alike, found.level)


def _by_chance(found: Comparison, arms: tuple[Arm, Arm], level: float) -> Comparison:
    """Return the comparison with the verdict by the chance that B beats A, from its interval at this level."""
    a, b = (arm.metric.better * arm.values for arm in arms)
    verdict: Any = by_chance(*superiority(a, b, level)[1:], found.chance or 0.5)
    if found.comparisons > 1:
        said = f"With {found.comparisons} comparisons, the verdict on {found.b} uses the interval of the chance at "
        found = replace(found, notes=(*found.notes, f"{said}{100 * (1 - level):.3g} %."))
    if verdict != "undecided":
        return replace(found, verdict=verdict)
    more = more_by_chance(found.superiority, found.runs, level)
    return replace(found, verdict=verdict, more_runs=more, more_runs_aim="difference" if more < MOST_RUNS else "")


def by_chance(low: float, high: float, chance: float) -> str:
    """Return the verdict on B by the interval of the chance that one of its runs beats one of A.

    better: the interval lies above 0.5 and reaches beyond `chance`. worse: likewise, below. alike: it lies between
    1 - chance and chance. Source: Bouthillier et al. 2021, section 4.2: significant and meaningful; or not meaningful.
    """
    if 1 - chance <= low and high <= chance:
        return "alike"
    if low > 0.5 and high > chance:
        return "better"
    return "worse" if high < 0.5 and low < 1 - chance else "undecided"


def _of_conditions(verdict: Any) -> Any:
    """Turn a verdict into one on two conditions of one study, neither of which is better."""
    return "different" if verdict in ("better", "worse") else verdict


def _cautions(found: Comparison) -> list[str]:
    """Return why the interval may miss the truth more often than it says."""
    if found.verdict == "alike" and not found.difference.known:
        return [
            f"The runs of {found.a} do not differ in {found.metric.words}, nor do those of {found.b}: the two are "
            "alike in the usual run, but a rare run may still differ."
        ]
    if found.verdict != "undecided" or not found.p_value <= found.level / found.comparisons < found.p_permutation:
        return []
    return [
        f"The t-test finds a difference between {found.a} and {found.b} (p = {found.p_value:.2g}), but the permutation "
        "test, which is valid for few runs and skewed values, does not (p = "
        f"{found.p_permutation:.2g}): the verdict follows the permutation test, and the interval is too narrow."
    ]


def _skewed_and_unequal(arms: Sequence[Arm], level: float) -> list[str]:
    """Return a caution if both tests are too bold: for skewed values whose SDs differ much (docs/compare.md)."""
    skewed = [arm.name for arm in arms if arm.shape.skewed]
    sds = [sd_of(arm.values).value for arm in arms]
    if not skewed or not min(sds) or max(sds) < UNEQUAL * min(sds):
        return []
    larger, named = max(sds) / min(sds), " and ".join(skewed)
    return [
        f"The SDs differ by a factor of {larger:.2g}, and the values of {named} are skewed: such arms with equal means "
        f"are called different up to twice as often as the level says ({100 * level:.3g} %)."
    ]


def _with_both_verdicts(found: Comparison, measured: Measured, level: float) -> Comparison:
    """If any run failed or collapsed, add the verdicts from all runs and from the sound ones."""
    arms = measured.arms
    places = [arm.shape.collapsed for arm in arms]
    if not any(places) and not any(found.failed):
        return found
    named = [tuple(str(arm.named[i]) for i in own) for arm, own in zip(arms, places, strict=True)]
    every = _verdict_with_failed(arms, level) if any(found.failed) else found.verdict
    sound, said = found.verdict, ""
    if any(places):
        kept = [[i for i in range(len(arm)) if i not in own] for arm, own in zip(arms, places, strict=True)]
        sound = None
        if min(map(len, kept)) > 1:
            few = arms[0].keep(kept[0]), arms[1].keep(kept[1])
            m = measured_apart(*few, found.margin, level, found.examples, measured.groups)
            one = replace(m.found, level=level, chance=found.chance)
            sound = _by_chance(one, few, level).verdict if found.chance else _by_means(one, p_of_verdict(m, level))
            said = f" (difference {m.found.difference.value:+.4g}, from {len(kept[0])} and {len(kept[1])} runs)"
    if found.conditions:
        every, sound = _of_conditions(every), _of_conditions(sound)
    left = " or ".join(["failed"] * any(found.failed) + ["collapsed"] * any(places))
    worst = " (failed ones counted as the worst)" if any(found.failed) else ""
    note = f"Some runs {left}. The verdict on {found.b} from all runs{worst}: {every}; from the sound runs alone: "
    note += f"{sound or 'none, too few are left'}{said}."
    collapsed = (named[0], named[1])
    return replace(found, collapsed=collapsed, verdict_all=every, verdict_sound=sound, notes=(*found.notes, note))


def _verdict_with_failed(arms: tuple[Arm, Arm], level: float) -> Verdict:
    """Return better or worse by ranks, with a failed run ranked below every other.

    Source: Lachin 1999, Worst-rank score analysis, Controlled Clinical Trials 20.
    """
    from scipy.stats import rankdata

    counts = [len(arm) + arm.failed for arm in arms]
    values = [np.concatenate([arm.metric.better * arm.values, np.full(arm.failed, -math.inf)]) for arm in arms]
    ranks = rankdata(np.concatenate(values))
    a, b = ranks[: counts[0]], ranks[counts[0] :]
    shift, parts = welch(a, b), ErrorParts(0.0, (0.0, 0.0), (counts[0], counts[1]))
    p_value = holding(shift, permutation_p(a, b), parts.exchanges(), min(counts), level)
    return verdict_of(shift.estimate, 1, p_value, None, level)
