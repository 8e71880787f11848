"""The stopping rule of `nondet run --until`: add runs to every condition until the error of a number is small enough.

The number is one that `nondet show --json` names, such as accuracy.sd. A round adds as many runs to each condition as
fill whole stacks, and the rule is checked when they are all there. So the rounds depend only on the command and the
study's stack width, and an interrupted command reaches the same end.
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
"""What is measured of a condition's runs; None if fewer than two succeeded."""
CAUTION = "Because the results decided how many runs were added, intervals are as wide as for two looks at them."
LIMIT = 200
"""The most runs in each condition, unless another limit is given."""


@dataclass(frozen=True)
class Until:
    """The rule `figure.error<bound`, in percent of the number if `relative`; at most `limit` runs in each condition.

    begin: how many runs of each condition the command begins with.
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
        """Whether an error that `error_of` returned is small enough. An error of exactly 0 is: all runs are equal."""
        return error is not None and (error < self.bound or error == 0)

    def error_of(self, found: Measures) -> float | None:
        """Return the error of the rule's number in a condition, in percent of the number if the rule is relative.

        None if fewer than FEW runs differ but happen to agree in this number: then an error of 0 shows nothing.
        """
        e = found[self.figure]
        if math.isnan(e.error) or (e.error == 0 and math.isnan(e.low) and found.sound < FEW):
            return None
        if not self.relative or not e.error:
            return e.error
        return 100 * e.error / abs(e.value) if e.value else None


def parse(expression: str, figures: Sequence[str], begin: int, limit: int | None) -> Until:
    """Return the rule that `--until` gives, for a task with these measures. BadInput if it is not a rule."""
    found = re.fullmatch(r"\s*([\w.]+?)\.error\s*<\s*([^%\s]+)\s*(%?)\s*", expression, re.ASCII)
    if not found:
        raise BadInput(
            f"<<until>> must be MEASURE.error<NUMBER or MEASURE.error<NUMBER% (got {expression!r}); "
            "try <<until=accuracy.sd.error<10%>>"
        )
    figure, number, percent = found.groups()
    if figure not in figures:
        near = did_you_mean(figure, figures)
        raise BadInput(f"<<until>> knows no measure {figure!r} of this task{near}; choose from {', '.join(figures)}")
    try:
        bound = float(number)
    except ValueError:
        bound = math.nan
    if not 0 < bound < math.inf:
        raise BadInput(f"the bound of <<until>> must be a number above 0 (got {number!r}); try {figure}.error<10%")
    most = LIMIT if limit is None else limit
    if most < begin:
        raise BadInput(
            f"<<limit>> must be at least the number of runs that <<until>> begins with (got <<limit={most}>> and "
            f"<<runs={begin}>>); try <<limit={max(begin, LIMIT)}>>"
        )
    return Until(expression.strip(), figure, bound, bool(percent), begin, most)


def looked_at(until: Until, study: Study, conditions: Sequence[Condition], measure: Measure) -> Stopping:
    """Apply the rule to these conditions, whose runs are all there. It is decided if it holds, or at the limit."""
    now = _of(study, conditions)
    found = {c.name: measure(study, c) for c in now}
    errors = {name: until.error_of(m) if m else None for name, m in found.items()}
    runs, held = min(c.runs for c in now), all(map(until.holds, errors.values()))
    return replace(until.begun, runs=runs, held=held if held or runs >= until.limit else None, errors=errors)


def worst(stopping: Stopping) -> str:
    """Describe the largest error and its condition; an error that is not known counts as the largest."""
    unknown = [name for name, error in stopping.errors.items() if error is None]
    if unknown:
        return f"not known ({', '.join(unknown)})"
    error, name = max((error, name) for name, error in stopping.errors.items() if error is not None)
    return f"{error:.3g}{' %' if stopping.expression.endswith('%') else ''} ({name})"


def words(stopping: Stopping | None, dead: Collection[str] = ()) -> str:
    """Say how many runs a stopping rule led to; empty if there was none.

    dead: names of dead conditions, whose error of 0 says nothing.
    """
    if stopping is None:
        return ""
    rule = (
        f"Starting with {stopping.begin} in each condition, runs were added until {stopping.expression} in all of them"
    )
    alive = {name: error for name, error in stopping.errors.items() if name not in dead}
    if stopping.errors and not alive:
        return f"{rule}: all conditions are dead, so the rule says nothing."
    stopping = replace(stopping, errors=alive)
    if stopping.held is None:
        return f"{rule}: this is not decided yet."
    if stopping.held:
        return f"{rule}: that took {stopping.runs}, and the largest error is {worst(stopping)}. {CAUTION}"
    return (
        f"{rule}, up to {stopping.limit}: after {stopping.runs} the largest error is {worst(stopping)}, "
        f"so the rule does not hold; continue with a larger limit. {CAUTION}"
    )


def next_runs(study: Study, conditions: Sequence[Condition], limit: int) -> int:
    """Return how many runs these conditions have next: at most a stack more, with the fewest slots left empty."""
    now = min(c.runs for c in _of(study, conditions))
    return min(range(now + 1, min(now + study.width, limit) + 1), key=lambda runs: _empty(study, conditions, runs))


def _empty(study: Study, conditions: Sequence[Condition], runs: int) -> int:
    """Count the slots left empty when the new runs are trained: a stack has one family, and at most one control."""
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
