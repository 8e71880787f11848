"""The verdict on B, by the difference of means or by the chance that B beats A, and its cautions."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from nondet.analysis.arms import Arm
from nondet.analysis.cautions import arm_shape
from nondet.analysis.comparison import Comparison, Verdict
from nondet.analysis.criteria import by_chance
from nondet.analysis.more_runs import MOST_RUNS, ErrorParts, more_by_chance
from nondet.analysis.two_arms import Measured, measured_apart, p_of_verdict
from nondet.stats.means import holding, permutation_p, welch
from nondet.stats.superiority import superiority


def verdict_of(found: Comparison, deciding: float) -> Verdict:
    """Return the verdict by the difference of means; `deciding` is its p-value, adjusted for all comparisons."""
    if found.p_alike is not None and found.p_alike <= found.level:
        return "alike"
    if deciding > found.level or not found.difference.value:
        return "undecided"
    return "better" if found.difference.value * found.metric.better > 0 else "worse"


def verdict_by_chance(found: Comparison, arms: tuple[Arm, Arm], level: float) -> Comparison:
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


def of_conditions(verdict: Any) -> Any:
    """Turn a verdict into one on two conditions of one study, neither of which is better."""
    return "different" if verdict in ("better", "worse") else verdict


def cautions(found: Comparison) -> list[str]:
    """Return why the interval may miss the truth more often than it says."""
    if found.verdict == "alike" and not found.difference.known:
        return [
            f"The runs of {found.a} do not differ in {found.metric.words}, nor do those of {found.b}: the two are "
            "alike in the usual run, but a rare run may still differ."
        ]
    if found.verdict != "undecided" or not found.p_value <= found.level / found.comparisons:
        return []
    name = f"The t-test finds a difference between {found.a} and {found.b} (p = {found.p_value:.2g}), but"
    if found.p_permutation > found.level / found.comparisons:
        return [
            f"{name} the permutation test, which is valid for few runs and skewed values, does not (p = "
            f"{found.p_permutation:.2g}): the verdict follows the permutation test, and the interval is too narrow."
        ]
    return []


def with_both_verdicts(found: Comparison, measured: Measured, level: float) -> Comparison:
    """If any run failed or collapsed, add the verdicts from all runs and from the sound ones."""
    arms = measured.arms
    places = [arm_shape(arm).collapsed for arm in arms]
    if not any(places) and not any(found.failed):
        return found
    named = [tuple(str((arm.run_names or arm.numbers)[i]) for i in own) for arm, own in zip(arms, places, strict=True)]
    every = _verdict_with_failed(arms, level) if any(found.failed) else found.verdict
    sound, said = found.verdict, ""
    if any(places):
        kept = [[i for i in range(len(arm)) if i not in own] for arm, own in zip(arms, places, strict=True)]
        sound = None
        if min(map(len, kept)) > 1:
            few = arms[0].keep(kept[0]), arms[1].keep(kept[1])
            m = measured_apart(*few, found.margin, level, found.examples, measured.groups)
            one = replace(m.found, level=level, chance=found.chance)
            by_means = verdict_of(one, p_of_verdict(m, level))
            sound = verdict_by_chance(one, few, level).verdict if found.chance else by_means
            said = f" (difference {m.found.difference.value:+.4g}, from {len(kept[0])} and {len(kept[1])} runs)"
    if found.conditions:
        every, sound = of_conditions(every), of_conditions(sound)
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
    if holding(shift, permutation_p(a, b), parts.exchanges(), min(counts), level) > level or not shift.estimate:
        return "undecided"
    return "better" if shift.estimate > 0 else "worse"
