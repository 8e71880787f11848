"""Down the ladder: from two trainings that part to the kind of thing that parts them, its line and its operation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
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
    repeated_operation,
    sites_of,
    statement,
    uses_hashes,
)
from nondet.errors import BadInput
from nondet.runners.traced import How, Trace, Traced
from nondet.script.trace.outside import KINDS

MOST_SITES = 8
"""Lines of one kind that are tried one by one."""

REPEATS = 3
"""Runs with everything held, beside the control: operations under threads part now and then."""

NUMBERS = 3
"""Other numbers of one kind that are tried until one makes the training another: a remainder may be the same."""

PASSING = ("clock", "process", "python", "numpy", "torch", "generator", "urandom")
"""Kinds that are another in each run on the same machine."""

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
        self.fresh = False
        self._held: Trace | None = None

    def begin(self, how: How) -> None:
        """Run in another way from now on."""
        self.how, self._held = how, None

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
        return replace(self.how, pins={}, hash=0, fresh=self.fresh)

    def control(self) -> Trace:
        """A run with everything held; made once."""
        if self._held is None:
            self._held = self.run(self.held)
        return self._held

    def changed(self, kind: str, number: int = 1, rung: str = "steps", site: str = "") -> Trace:
        """A run in which one kind alone is another; site: on one line alone."""
        how = replace(self.held, rung=rung)
        if kind == "hash":
            return self.run(replace(how, hash=number))
        if kind == "left":
            self.run(self.held)
            return self.run(replace(how, keep=True))
        if site:
            return self.run(replace(how, sites={f"{kind}@{site}": number}))
        return self.run(replace(how, pins={kind: number}))

    def kinds(self, *traces: Trace) -> list[str]:
        """What is worth changing: what was asked for, hashes, files that a run leaves, what a library may ask for.

        traces: as it is, and held. Where they are equal, hashes have differed already.
        """
        found = kinds_of(*traces)
        left = ["left"] if self.traced.left() else []
        steady = not any(parted(one, self.control()) for one in traces)
        hashes = [] if steady and not self.hashes else ["hash"]
        return [*(kind for kind in KINDS if kind in found or kind in UNNOTED), *hashes, *left]

    @cached_property
    def hashes(self) -> bool:
        """Whether the script says anything of sets or hashes."""
        return uses_hashes(self.here, self.traced.script.words)

    def numbers(self, kind: str) -> range:
        """The other numbers that a kind is tried with: one where nothing says that the script asks for it."""
        asked = kind in kinds_of(self.control()) if kind != "hash" else self.hashes
        return range(1, 1 + (NUMBERS if asked and kind not in ("threads", "memory", "cores") else 1))

    def unsteady(self, times: int = REPEATS) -> tuple[Trace, Trace] | None:
        """Two runs that part although everything is held; None if so many are all equal."""
        control = self.control()
        for _ in range(times):
            again = self.run(self.held)
            if parted(control, again):
                return control, again
        return None

    def by_chance(self, *traces: Trace) -> list[Origin]:
        """What two runs ask of the outside, are equal with by chance, and can part by."""
        asked = kinds_of(*traces)
        return self.origins([kind for kind in PASSING if kind in asked], moving=False)

    def origins(self, kinds: Sequence[str], moving: bool = True) -> list[Origin]:
        """Each kind that alone makes the training another, the first to do so first.

        moving: whether addresses in memory are tried as well, where hashes or nothing that is noted seems to be the
        cause.
        """
        found: list[Origin] = []
        control = self.control()
        for kind in kinds:
            self.say(f"Is it {causes.BY_KIND[kind].name}{' (hash())' if kind == 'hash' else ''}?")
            for number in self.numbers(kind):
                trace = self.changed(kind, number)
                parting = parted(control, trace)
                if not parting:
                    continue
                if kind != "threads" and parted(trace, self.changed(kind, number)):  # by chance
                    return self.moved() or [self.unexplained(control, trace)]
                found += self.located(kind, number, trace, parting)
                break
        unasked = [one for one in found if one.kind in (*UNNOTED, "hash") and not sites_of(control, one.kind)]
        if moving and (unasked or (not found and self.hashes)) and "address" not in kinds:
            moved = self.moved()  # whatever is changed moves addresses in memory as well
            found = [*(one for one in found if one not in unasked), *moved] if moved else found
        return sorted(found, key=lambda one: one.parting.place)

    def moved(self) -> list[Origin]:
        """What makes the training another where everything is held, and what it makes stands elsewhere in memory."""
        self.say(f"Is it {causes.ADDRESS.name}?")
        for number in range(1, 1 + NUMBERS):
            trace = self.changed("address", number)
            parting = parted(self.control(), trace)
            if parting and not parted(trace, self.changed("address", number)):
                return [self.moved_line() or Origin(causes.ADDRESS, parting.site, parting, "address", sure=False)]
        return []

    def moved_line(self) -> Origin | None:
        """The line that differs where what is made stands elsewhere in memory."""
        plain = self.run(replace(self.held, rung="lines"))
        for number in range(1, 1 + NUMBERS):
            other = self.changed("address", number, "lines")
            parting, line = parted(plain, other), first_line(plain, other)
            if parting and line:
                text = statement(self.here, line.site)
                return Origin(causes.ADDRESS, line.site, parting, "address", text, line.names, line.function)
        return None

    def located(self, kind: str, number: int, changed: Trace, parting: Parting) -> list[Origin]:
        """The lines on which a kind that makes the training another is asked for."""
        control = self.control()
        sites = {**sites_of(control, kind), **sites_of(changed, kind)}
        cause = causes.BY_KIND[kind]
        if len(sites) == 1:
            site, call = next(iter(sites.items()))
            if kind not in UNNOTED or parted(control, self.changed(kind, number, site=site)):
                return [Origin(cause, site, parting, kind, call)]
        else:
            found: list[Origin] = []
            for site, call in list(sites.items())[:MOST_SITES]:
                there = parted(control, self.changed(kind, number, site=site))
                if there:
                    found.append(Origin(cause, site, there, kind, call))
            if found:
                return found
        line = first_line(self.run(replace(self.held, rung="lines")), self.changed(kind, number, "lines"))
        if line is None:
            return [Origin(cause, parting.site, parting, kind, sure=False)]
        text = statement(self.here, line.site)
        cause = causes.of_statement(kind, text)
        return [Origin(cause, line.site, parting, kind, text, line.names, line.function)]

    def apart(self) -> tuple[Trace, Trace] | None:
        """Two runs that part, each in a process that no other one was forked from: by what stands where in memory."""
        held, self._held, self.fresh = self._held, None, True
        pair = self.unsteady(1)
        if pair is None:
            self._held, self.fresh = held, False
        return pair

    def repeated(self) -> Origin | None:
        """An operation of the first steps that gives another result each time it is done of the same inputs."""
        self.say("Operations that may add in any order are done again and again.")
        trace = self.run(replace(self.held, rung="operations", window=(0, 1), until=1, again=True))
        operation = repeated_operation(trace)
        if operation is None:
            return None
        parting = Parting("operation", operation.step, operation.site, 0)
        return Origin(cause_of(operation), operation.site, parting, "", operation.name, operation=operation)

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
                causes.of_unknown(text, self.fresh),
                lines.site,
                parting,
                "",
                text,
                lines.names,
                lines.function,
                sure=False,
            )
        moved = self.moved_line() if self.hashes else None
        return moved or Origin(causes.UNKNOWN, parting.site, parting, sure=False)

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
