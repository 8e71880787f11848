"""Two arms measured against each other: their difference, its error and its tests, without a verdict yet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import special

from nondet.analysis.arm import Arm
from nondet.analysis.comparison import Comparison, Method
from nondet.analysis.groups import groups_words
from nondet.analysis.independence import environments_differ, pairs, separated
from nondet.analysis.more_runs import ErrorParts
from nondet.errors import BadInput
from nondet.measures.churn import Churn, churn
from nondet.stats.estimate import Estimate
from nondet.stats.groups import sums_by_group, variance_of_groups
from nondet.stats.jackknife import summed
from nondet.stats.means import Shift, holding, paired, pairing_helps, permutation_p, sign_flip_p, welch, widened
from nondet.stats.spread import sd_ratio
from nondet.stats.superiority import superiority
from nondet.stats.values import Integers


@dataclass(frozen=True)
class Measured:
    """A comparison without a verdict yet, the arms without the runs they share, and the parts of the error."""

    found: Comparison
    arms: tuple[Arm, Arm]
    shift: Shift
    parts: ErrorParts
    groups: Integers | None


def measured_apart(
    a: Arm, b: Arm, margin: float | None, level: float, examples: bool = False, groups: Integers | None = None
) -> Measured:
    """Compare B with A at this level, except for the verdict and what follows from it."""
    a, b = separated(a, b)
    matched = pairs(a, b)
    method, shift, p_permutation, correlation, parts = _difference(a, b, matched)
    if examples:
        shift, *added = _with_examples(shift, a, b, groups)
        parts = replace(parts, added=(added[0], added[1]))
    p_value, sign = shift.p_value(), a.metric.better
    chance, low, high = superiority(sign * a.values, sign * b.values, level)
    notes = dict.fromkeys(filter(None, (*a.notes, *b.notes, environments_differ(a, b), *a.cautions, *b.cautions)))
    first, second, studies = a.predictions, b.predictions, (a.runs.study, b.runs.study)
    answered = None if first is None or second is None else churn(first, second, level, matched)
    found = Comparison(
        a=a.name,
        b=b.name,
        metric=a.metric,
        runs=(len(a), len(b)),
        means=(float(a.values.mean()), float(b.values.mean())),
        sds=(a.sd, b.sd),
        difference=Estimate(shift.estimate, shift.error, *(shift.interval(level) or (math.nan, math.nan))),
        inner=shift.interval(2 * level),
        p_value=p_permutation if p_value is None else p_value,
        p_permutation=p_permutation,
        p_alike=None if margin is None else _p_alike(shift, margin, (len(a), len(b))),
        method=method,
        pairs=0 if method == "welch" else len(matched),
        correlation=correlation,
        superiority=chance,
        superiority_interval=(low, high),
        sd_ratio=sd_ratio(a.values, b.values, level),
        churn=answered,
        level=level,
        margin=margin,
        notes=(*notes, *_dependence(a, b, answered), *([] if groups is None else [groups_words(groups)])),
        copies=(list(a.copies), list(b.copies)),
        failed=(a.failed, b.failed),
        test_set=not (a.of_scores or b.of_scores),
        conditions=None not in studies and len({study.folder.resolve() for study in studies if study}) == 1,
    )
    return Measured(found, (a, b), shift, parts, groups)


def _dependence(a: Arm, b: Arm, answered: Churn | None) -> list[str]:
    """Return a caution if the runs of two arms are nearer to each other than to those of their own arm."""
    if answered is None or answered.interval is None or answered.interval[1] >= 0:
        return []
    return [
        f"The excess churn is below 0 ({answered.excess:.2f}), which independent runs do not show: runs of {a.name} "
        f"and of {b.name} have something in common, and neither the interval nor the verdict can be relied on."
    ]


def _p_alike(shift: Shift, margin: float, runs: tuple[int, int]) -> float:
    """Return the p-value of a difference outside the margin.

    If all runs of both arms have one value, as at the ceiling, this is about the usual run, not the mean, which a rare
    run could move. If at least half of an arm's runs were beyond the margin, the smaller arm would show none of them
    with a chance of at most `0.5^N`.
    """
    return shift.p_within(margin) if shift.error or shift.estimate else 0.5 ** min(runs)


def _with_examples(shift: Shift, a: Arm, b: Arm, groups: Integers | None) -> tuple[Shift, float, int]:
    """Add to the difference's error what drawing the test examples adds; return also that, squared, and their number.

    Runs and examples cross: every run of either arm meets every example. Let y_i be the difference of the arms' means
    on example i. What is added is the variance of y over examples, less what the runs' scatter adds to it, divided by
    their number (as in `nondet.measures.by_example`; Owen 2007, The pigeonhole bootstrap, Ann. Appl. Statist. 1).
    If there are groups, groups are drawn and not single examples; see `variance_of_groups`.
    """
    first, second = _table(a), _table(b)  # (N, n)
    examples = first.shape[1]
    if examples < 2:
        raise BadInput(f"<<examples>> needs at least 2 test examples (got {examples}); leave it out")
    means = second.mean(axis=0) - first.mean(axis=0)
    numbers = np.arange(examples) if groups is None else groups
    added = variance_of_groups(means, [sums_by_group(table, numbers) for table in (first, second)], numbers)
    drawn = int(numbers.max()) + 1
    error, freedom = summed([shift.error**2, added], [shift.freedom, drawn - 1])
    return replace(shift, error=error, freedom=freedom), added, drawn


def _table(arm: Arm) -> Any:
    score = next((s for s in arm.runs.kind.scores if s.name == arm.metric.name), None)
    if not arm.runs.kind.by_example or score is None or score.table is None:
        raise BadInput(
            "<<examples>> is for outputs of classifiers, whose test examples are drawn one by one or in <<groups>> "
            f"(got {arm.name}); leave it out"
        )
    return score.unit_of_table * np.asarray(score.table(arm.runs.answers), dtype=np.float64)


def _difference(
    a: Arm, b: Arm, matched: Sequence[tuple[int, int]]
) -> tuple[Method, Shift, float, float | None, ErrorParts]:
    """Return the method, the difference, its permutation p-value, the pairs' correlation, and the error's parts."""
    unpaired = welch(a.values, b.values)
    first, second = a.values[[i for i, _ in matched]], b.values[[j for _, j in matched]]
    helps, correlation = pairing_helps(first, second, unpaired)
    by_design = a.paired and b.paired and len(matched) > 1 and bool(np.ptp(second - first) > 0)
    if by_design or (helps and ((correlation or 0.0) > 0 or len(matched) == len(a) == len(b))):
        shift = paired(first, second)
        parts = ErrorParts(shift.estimate, (float(np.var(second - first, ddof=1)),), (len(matched),))
        return "paired", shift, sign_flip_p(second - first), correlation, parts
    shift = widened(a.values, b.values, matched) if helps else unpaired
    wider = (shift.error / unpaired.error) ** 2 if helps else 1.0
    variances = tuple(wider * float(np.var(x.values - x.values[0], ddof=1)) for x in (a, b))
    parts = ErrorParts(shift.estimate, variances, (len(a), len(b)))
    return "widened" if helps else "welch", shift, permutation_p(a.values, b.values), correlation, parts


def p_of_verdict(m: Measured, level: float) -> float:
    """Return the p-value that decides the verdict; see `holding`."""
    return holding(m.shift, m.found.p_permutation, m.parts.exchanges(), min(m.parts.runs), level)


def as_tested(m: Measured, level: float) -> ErrorParts:
    """Return the parts of the error, enlarged if the t-test finds a difference that the verdict does not.

    They then give the verdict's p-value. Otherwise the two tests agree as runs are added: their p-values differ only
    because there are few.
    """
    p_value, decides = m.shift.p_value(), p_of_verdict(m, level)
    if p_value is None or not p_value <= level < decides < 1:
        return m.parts
    t, wanted = (float(special.stdtrit(m.shift.freedom, 1 - p / 2)) for p in (p_value, decides))
    return replace(m.parts, variances=tuple(v * (t / wanted) ** 2 for v in m.parts.variances))
