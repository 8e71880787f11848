"""Down the ladder: from two trainings that part to the kind of thing that parts them, its line and its operation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from nondet.analysis.reproduce import causes
from nondet.analysis.reproduce.causes import Cause
from nondet.analysis.reproduce.parting import (
    Line,
    Operation,
    Parting,
    first_line,
    first_operation,
    kinds_of,
    parted,
    sites_of,
    statement,
)
from nondet.errors import BadInput
from nondet.runners.traced import How, Trace, Traced
from nondet.script.trace.outside import KINDS

MOST_SITES = 8
"""Lines of one kind that are tried one by one."""

REPEATS = 3
"""Runs with everything held, beside the control: operations under threads part now and then."""

UNNOTED = ("python", "numpy")
"""Kinds that a library may ask for, where no line of the user's is noted."""


@dataclass(frozen=True)
class Origin:
    """Why trainings part: the cause, the line that it is on, and how that was seen.

    kind: what was changed alone, with everything else held, so that the training became another; empty where holding
    everything did not make two runs equal. call: what the line calls.
    """

    cause: Cause
    site: str
    parting: Parting
    kind: str = ""
    call: str = ""
    names: tuple[str, ...] = ()
    function: str = ""
    operation: Operation | None = None
    sure: bool = True


class Ladder:
    """Runs of one script, all alike but in what is asked.

    until: the last step that is looked at; None for all. say: is told what is done.
    """

    def __init__(self, traced: Traced, until: int | None, say: Callable[[str], None]) -> None:
        self.traced, self.until, self.say = traced, until, say
        self.here = Path.cwd()
        self.how = How(until=until)
        self._held: Trace | None = None

    def run(self, how: How) -> Trace:
        """One run that must come to its end."""
        trace = self.traced.run(how)
        if trace.failure:
            raise BadInput(f"the script must come to its end, and it did not: {trace.failure}; mend it")
        return trace

    def as_it_is(self) -> Trace:
        """The script as its user runs it."""
        return self.run(self.how)

    @property
    def held(self) -> How:
        """With all that comes from outside the same in each run."""
        return replace(self.how, pins={}, hash=0)

    def control(self) -> Trace:
        """A run with everything held; made once."""
        if self._held is None:
            self._held = self.run(self.held)
        return self._held

    def changed(self, kind: str, rung: str = "steps", site: str = "") -> Trace:
        """A run in which one kind alone is another; site: on one line alone."""
        how = replace(self.held, rung=rung)
        if kind == "hash":
            return self.run(replace(how, hash=1))
        if site:
            return self.run(replace(how, sites={f"{kind}@{site}": 1}))
        return self.run(replace(how, pins={kind: 1}))

    def kinds(self, *traces: Trace) -> list[str]:
        """What is worth changing: what was asked for, hashes, and what a library may ask for unseen."""
        found = kinds_of(*traces)
        return [*(kind for kind in KINDS if kind in found or kind in UNNOTED), "hash"]

    def unsteady(self, times: int = REPEATS) -> tuple[Trace, Trace] | None:
        """Two runs that part although everything is held; None if so many are all equal."""
        control = self.control()
        for _ in range(times):
            again = self.run(self.held)
            if parted(control, again):
                return control, again
        return None

    def origins(self, kinds: Sequence[str]) -> list[Origin]:
        """Each kind that alone makes the training another, the first to do so first."""
        found: list[Origin] = []
        control = self.control()
        for kind in kinds:
            self.say(f"Is it {causes.BY_KIND[kind].name}{' (hash())' if kind == 'hash' else ''}?")
            trace = self.changed(kind)
            parting = parted(control, trace)
            if parting and (kind == "threads" or parted(trace, self.changed(kind)) is None):  # and not by chance
                found += self.located(kind, trace, parting)
            elif parting:
                return [self.unexplained(control, trace)]
        return sorted(found, key=lambda one: one.parting.place)

    def located(self, kind: str, changed: Trace, parting: Parting) -> list[Origin]:
        """The lines on which a kind that makes the training another is asked for."""
        control = self.control()
        sites = {**sites_of(control, kind), **sites_of(changed, kind)}
        cause = causes.BY_KIND[kind]
        if len(sites) == 1:
            site, call = next(iter(sites.items()))
            if kind not in UNNOTED or parted(control, self.changed(kind, site=site)):
                return [Origin(cause, self.told(kind, site), parting, kind, call)]
        else:
            found: list[Origin] = []
            for site, call in list(sites.items())[:MOST_SITES]:
                there = parted(control, self.changed(kind, site=site))
                if there:
                    found.append(Origin(cause, site, there, kind, call))
            if found:
                return found
        line = first_line(self.run(replace(self.held, rung="lines")), self.changed(kind, "lines"))
        if line is None:
            return [Origin(cause, parting.site, parting, kind, sure=False)]
        text = statement(self.here, line.site)
        cause = causes.of_statement(kind, text)
        return [Origin(cause, line.site, parting, kind, text, line.names, line.function)]

    def told(self, kind: str, site: str) -> str:
        """The line to name: where threads end in another order, that which takes their results."""
        return site

    def unexplained(self, a: Trace, b: Trace) -> Origin:
        """Two runs with everything held part all the same: on which line, and in which operation."""
        parting = parted(a, b)
        if parting is None:
            raise ValueError("they do not part")
        lines: Line | None = None
        for _ in range(REPEATS):
            first, second = (self.run(replace(self.held, rung="lines")) for _ in range(2))
            lines = first_line(first, second)
            if lines:
                break
        step = min(parting.step, lines.step if lines else parting.step)
        operation = self.operation(step) if a.steps else None
        text = statement(self.here, lines.site) if lines else ""
        if operation is not None and (lines is None or _in_training(lines, operation)):
            return Origin(cause_of(operation), operation.site, parting, "", operation.name, operation=operation)
        if lines is not None:
            return Origin(
                causes.of_unknown(text), lines.site, parting, "", text, lines.names, lines.function, sure=False
            )
        return Origin(causes.UNKNOWN, parting.site, parting, sure=False)

    def operation(self, step: int) -> Operation | None:
        """The first operation of a step, or of the next ones, that gives another result for equal inputs."""
        window = (max(0, step), step + 1)
        how = replace(self.held, rung="operations", window=window, until=step + 1)
        for _ in range(2 * REPEATS):
            found = first_operation(self.run(how), self.run(how))
            if found:
                return found
        return None


def _in_training(line: Line, operation: Operation) -> bool:
    """Whether a line that differs is no earlier than an operation that does."""
    return line.step >= operation.step


def cause_of(operation: Operation) -> Cause:
    """The cause where an operation gives another result for the same inputs."""
    if operation.unwritten:
        return causes.MEMORY
    return causes.REDUCTION if operation.near else causes.ALGORITHM
