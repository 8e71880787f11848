"""Criteria for a comparison besides the difference of means: the chance that B beats A, other examples, equal runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from nondet.analysis.arms import Arm
from nondet.errors import BadInput
from nondet.stats.groups import sums_by_group, variance_of_groups
from nondet.stats.jackknife import summed
from nondet.stats.looks import MOST_LOOKS
from nondet.stats.means import Shift
from nondet.stats.values import Integers

MEANINGFUL = 0.75
"""The chance that Bouthillier et al. (2021, "Accounting for variance in machine learning benchmarks") propose."""


def check_options(margin: float | None, level: float) -> None:
    """Refuse a margin that is not above 0 and a level that is not a probability below 0.5.

    Raises:
        BadInput: `margin` is not a finite number above 0, or `level` not above 0 and below 0.5.
    """
    if margin is not None and not 0 < margin < math.inf:
        raise BadInput(f"margin must be above 0 (got {margin}); give the largest difference that does not matter")
    if not 0 < level < 0.5:
        raise BadInput(f"level must be above 0 and below 0.5 (got {level}); try 0.05")


def check_criteria(chance: float | None, margin: float | None, looks: int) -> None:
    """Refuse a chance or a number of looks out of range, and a chance together with a margin.

    Raises:
        BadInput: in any of these cases.
    """
    if chance is not None and not 0.5 < chance < 1:
        raise BadInput(f"<<chance>> must be above 0.5 and below 1 (got {chance}); try <<chance={MEANINGFUL}>>")
    if chance is not None and margin is not None:
        raise BadInput(
            f"a verdict must have one criterion (got <<chance={chance}>> and <<margin={margin}>>); leave one out"
        )
    if not 1 <= looks <= MOST_LOOKS:
        raise BadInput(f"<<looks>> must be from 1 to {MOST_LOOKS} (got {looks}); say how often you will look in all")


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


def conditions_of_one_study(a: Arm, b: Arm) -> bool:
    """Whether the arms are two conditions of one study, which differ in what varies but not in the recipe."""
    first, second = a.runs.study, b.runs.study
    return bool(first and second and first.folder.resolve() == second.folder.resolve())


def with_examples(shift: Shift, a: Arm, b: Arm, groups: Integers | None) -> tuple[Shift, float, int]:
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


def p_equal(runs: Sequence[int]) -> float:
    """Return the p-value that runs of B and of A differ in more than half of all pairs, when no two runs differ.

    All runs of both arms have one value, as at the ceiling. If at least half of an arm's runs were beyond the margin,
    the smaller arm would show none of them with a chance of at most `0.5^N`. This is about the usual run, not the mean,
    which a rare run could move.
    """
    return 0.5 ** min(runs)
