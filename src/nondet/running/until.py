"""The stopping rule of `nondet run --until`: runs are added to every condition until a figure's error is small enough.

The figure is one of those that `nondet show --json` names, such as accuracy.sd. A round adds as many runs to each
condition as fill whole stacks, and the rule is looked at when they are all there. So the rounds follow from the command
and the study's stack width alone, and an interrupted command goes on to the same end.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from nondet.errors import BadInput
from nondet.io.nearest import did_you_mean
from nondet.measures.measured import Measures
from nondet.stats.intervals import FEW
from nondet.study.design import Condition, Stopping, merged
from nondet.study.study import Study

Measure = Callable[[Study, Condition], Measures | None]
"""What is measured of a condition's runs; None if fewer than two did not fail."""
CAUTION = "Because runs were added in the light of what they showed, intervals are as wide as for two looks at them."
LIMIT = 200
"""Runs in each condition after which no more are added, if nothing else is said."""


@dataclass(frozen=True)
class Until:
    """The rule `figure.error<bound`, where `relative` in percent of the figure; at most `limit` runs a condition.

    begin: the runs of each condition with which the command begins.
    """

    expression: str
    figure: str
    bound: float
    relative: bool
    begin: int
    limit: int

    @property
    def begun(self) -> Stopping:
        """The rule before anything is trained."""
        return Stopping(self.expression, self.begin, self.limit, self.begin)

    def holds(self, error: float | None) -> bool:
        """Whether an error, as `error_of` gives it, is small enough. One of exactly 0 is: the runs are all equal."""
        return error is not None and (error < self.bound or error == 0)

    def error_of(self, found: Measures) -> float | None:
        """The figure's error among a condition's figures, in percent of the figure if the rule is relative.

        Not known of fewer than FEW runs that differ and agree in this figure by chance, whose error of 0 shows nothing.
        """
        e = found[self.figure]
        if math.isnan(e.error) or (e.error == 0 and math.isnan(e.low) and found.sound < FEW):
            return None
        if not self.relative or not e.error:
            return e.error
        return 100 * e.error / abs(e.value) if e.value else None


def parse(expression: str, figures: Sequence[str], begin: int, limit: int | None) -> Until:
    """The rule that `--until` gives, for a task with these figures. BadInput if it is none."""
    found = re.fullmatch(r"\s*([\w.]+?)\.error\s*<\s*([^%\s]+)\s*(%?)\s*", expression, re.ASCII)
    if not found:
        raise BadInput(
            f"<<until>> must be FIGURE.error<NUMBER or FIGURE.error<NUMBER% (got {expression!r}); "
            "try <<until=accuracy.sd.error<10%>>"
        )
    figure, number, percent = found.groups()
    if figure not in figures:
        near = did_you_mean(figure, figures)
        raise BadInput(f"<<until>> knows no figure {figure!r} of this task{near}; choose from {', '.join(figures)}")
    try:
        bound = float(number)
    except ValueError:
        bound = math.nan
    if not 0 < bound < math.inf:
        raise BadInput(f"the bound of <<until>> must be a number above 0 (got {number!r}); try {figure}.error<10%")
    most = LIMIT if limit is None else limit
    if most < begin:
        raise BadInput(
            f"<<limit>> must be at least the runs that <<until>> begins with (got <<limit={most}>> and "
            f"<<runs={begin}>>); try <<limit={max(begin, LIMIT)}>>"
        )
    return Until(expression.strip(), figure, bound, bool(percent), begin, most)


def looked_at(until: Until, study: Study, conditions: Sequence[Condition], measure: Measure) -> Stopping:
    """What the rule says of these conditions, all of whose runs are there: decided if it holds or the limit is met."""
    now = _of(study, conditions)
    found = {c.name: measure(study, c) for c in now}
    errors = {name: until.error_of(m) if m else None for name, m in found.items()}
    runs, held = min(c.runs for c in now), all(map(until.holds, errors.values()))
    return replace(until.begun, runs=runs, held=held if held or runs >= until.limit else None, errors=errors)


def worst(stopping: Stopping) -> str:
    """The largest error and its condition, in words; one that is not known counts as the largest."""
    unknown = [name for name, error in stopping.errors.items() if error is None]
    if unknown:
        return f"not known ({', '.join(unknown)})"
    error, name = max((error, name) for name, error in stopping.errors.items() if error is not None)
    return f"{error:.3g}{' %' if stopping.expression.endswith('%') else ''} ({name})"


def words(stopping: Stopping | None, dead: Collection[str] = ()) -> str:
    """How many runs there are because of a stopping rule; empty if there was none.

    dead: names of dead conditions, whose error of 0 says nothing.
    """
    if stopping is None:
        return ""
    rule = f"Runs were added, from {stopping.begin} in each condition on, until {stopping.expression} in all of them"
    alive = {name: error for name, error in stopping.errors.items() if name not in dead}
    if stopping.errors and not alive:
        return f"{rule}: they are dead, so the rule says nothing."
    stopping = replace(stopping, errors=alive)
    if stopping.held is None:
        return f"{rule}: that is not decided yet."
    if stopping.held:
        return f"{rule}: so it is after {stopping.runs}, where the largest error is {worst(stopping)}. {CAUTION}"
    return (
        f"{rule}, or {stopping.limit} at most: after {stopping.runs} the largest error is {worst(stopping)}, "
        f"so the rule does not hold; go on with a larger limit. {CAUTION}"
    )


def next_runs(study: Study, conditions: Sequence[Condition], limit: int) -> int:
    """To how many runs these conditions grow next: at most a stack more, and so that the fewest slots stay empty."""
    now = min(c.runs for c in _of(study, conditions))
    return min(range(now + 1, min(now + study.width, limit) + 1), key=lambda runs: _empty(study, conditions, runs))


def _empty(study: Study, conditions: Sequence[Condition], runs: int) -> int:
    """Slots that stay empty when the runs that are new are trained: a stack has one family, and one control at most."""
    grown = replace(study, conditions=tuple(merged(study.conditions, [replace(c, runs=runs) for c in conditions])))
    planned = grown.planned()
    new = [planned[key] for key in planned.keys() - study.planned().keys()]
    empty = 0
    for _, family in groupby(sorted(new, key=lambda s: s.family), key=lambda s: s.family):
        specs = list(family)
        stacks = max(-(-len(specs) // study.width), sum(s.repeat > 0 for s in specs))
        empty += stacks * study.width - len(specs)
    return empty


def _of(study: Study, conditions: Sequence[Condition]) -> list[Condition]:
    names = {c.name for c in conditions}
    return [c for c in study.conditions if c.name in names]
