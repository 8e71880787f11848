"""Narrow down why two trainings part: first the kind of cause, then its line, then its operation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

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

MOST_SITES = 8
"""At most so many lines of one kind are tried one by one."""

REPEATS = 3
"""Runs with everything held, besides the control: threaded operations differ only now and then."""

NUMBERS = 3
"""How many other numbers of one kind are tried until one changes the training: a remainder may be the same."""

PASSING = ("clock", "process", "python", "numpy", "torch", "generator", "urandom")
"""Kinds that differ in each run on the same machine."""

NAMING = ("clock", "process", "generator", "urandom")
"""Kinds that make the name of a run's folder its own."""

UNNOTED = ("python", "numpy")
"""Kinds that a library may ask for, so that no line of the user's code is recorded."""


@dataclass(frozen=True)
class Origin:
    """Why trainings part: the cause, its line, and how that was seen.

    kind: what changed the training when it alone was changed and everything else was held; empty if two runs parted
    even with everything held. call: what the line calls.
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


def at_line(cause: Callable[[str], Cause], line: Line, parting: Parting, kind: str = "", sure: bool = True) -> Origin:
    """Return the origin at a line of the user's code. cause: for the text of its statement."""
    text = statement(line.site)
    return Origin(cause(text), line.site, parting, kind, text, line.names, line.function, sure=sure)


def finished(trace: Trace, must: str = "the script must finish, but it did not") -> Trace:
    """Return the trace of a run that has finished; raise BadInput for another one."""
    if trace.failure:
        raise BadInput(f"{must}: {trace.failure}; fix it")
    return trace


def last_step(steps: int | None) -> int | None:
    """Return the last of so many steps, from 0; None for all."""
    return None if steps is None else steps - 1


class Ladder:
    """Runs of one script that differ only in what each call asks for.

    steps: how many training steps to compare; None for all. say: is called with each message on progress.
    """

    def __init__(self, traced: Traced, steps: int | None, say: Callable[[str], None]) -> None:
        self.traced, self.say = traced, say
        self.how = How(until=last_step(steps))
        self._held: Trace | None = None

    def begin(self, how: How) -> None:
        """Run the script in another way from now on."""
        self.how, self._held = how, None

    def run(self, how: How) -> Trace:
        """Make one run, which must finish."""
        return finished(self.traced.run(how))

    @property
    def held(self) -> How:
        """How to run the script with everything from outside held the same."""
        return replace(self.how, pins={}, hash=0)

    def control(self) -> Trace:
        """Return a run with everything held; it is made once."""
        if self._held is None:
            self._held = self.run(self.held)
        return self._held

    def lines(self) -> Trace:
        """Return a run with everything held that records each line."""
        return self.run(replace(self.held, rung="lines"))

    def changed(self, kind: str, number: int = 1, rung: str = "steps", site: str = "") -> Trace:
        """Make a run in which only this kind is changed; site: only on this line."""
        how = replace(self.held, rung=rung)
        if kind == "hash":
            return self.run(replace(how, hash=number))
        if kind == "left":
            return self.left(how)
        if site:
            if kind == "clock" and self.how.until is None:  # a loop that waits for a time might not end
                how = replace(how, until=self.control().steps or None)
            return self.run(replace(how, sites={f"{kind}@{site}": number}))
        return self.run(replace(how, pins={kind: number}))

    def left(self, how: How) -> Trace:
        """Make a run with the files of another; the control if the script cannot run twice in one folder.

        With the same time and the same random numbers, a run finds a folder of its own that has its name already.
        """
        self.run(self.held)
        trace = self.traced.run(replace(how, keep=True))
        if not trace.failure:
            return trace
        how = replace(how, pins=dict.fromkeys(NAMING, 1))
        alone = self.traced.run(how)
        self.run(self.held)
        trace = self.traced.run(replace(how, keep=True))
        return self.control() if trace.failure or alone.failure or not parted(alone, trace) else trace

    def kinds(self, *traces: Trace) -> list[str]:
        """Return the kinds worth changing: those asked for, hashes, files that a run leaves, and a library's own.

        traces: of runs as they are, and held. If these are equal, hashes have already differed without effect.
        """
        found = kinds_of(*traces)
        left = ["left"] if self.traced.left() else []
        steady = not any(parted(one, self.control()) for one in traces)
        hashes = [] if steady and not self.hashes else ["hash"]
        return [*(kind for kind in causes.BY_KIND if kind in found or kind in UNNOTED), *hashes, *left]

    @cached_property
    def hashes(self) -> bool:
        """Whether the script uses sets or hashes."""
        return uses_hashes(self.traced.script.words)

    def numbers(self, kind: str) -> range:
        """Return the other numbers to try for a kind: only one if nothing shows that the script asks for it."""
        asked = kind in kinds_of(self.control()) if kind != "hash" else self.hashes
        return range(1, 1 + (NUMBERS if asked and kind not in ("threads", "memory", "cores") else 1))

    def unsteady(self, times: int = REPEATS) -> tuple[Trace, Trace] | None:
        """Return two runs that part although everything is held; None if `times` runs all equal the control."""
        control = self.control()
        for _ in range(times):
            again = self.run(self.held)
            if parted(control, again):
                return control, again
        return None

    def by_chance(self, *traces: Trace) -> list[Origin]:
        """Find what two runs ask for from outside that can make them part, although here they are equal by chance."""
        asked = kinds_of(*traces)
        return self.origins([kind for kind in PASSING if kind in asked], moving=False)

    def origins(self, kinds: Sequence[str], moving: bool = True) -> list[Origin]:
        """Find each kind that changes the training by itself, earliest first.

        moving: whether to try other addresses in memory too, if hashes, or nothing that was recorded, seem to be the
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
            moved = self.moved()  # any change moves addresses in memory as well
            found = [*(one for one in found if one not in unasked), *moved] if moved else found
        return sorted(found, key=lambda one: one.parting.place)

    def moved(self) -> list[Origin]:
        """Find what changes the training when everything is held but objects lie elsewhere in memory."""
        self.say(f"Is it {causes.ADDRESS.name}?")
        for number in range(1, 1 + NUMBERS):
            trace = self.changed("address", number)
            parting = parted(self.control(), trace)
            if parting and not parted(trace, self.changed("address", number)):
                return [self.moved_line() or Origin(causes.ADDRESS, parting.site, parting, "address", sure=False)]
        return []

    def moved_line(self) -> Origin | None:
        """Find the line that differs when objects lie elsewhere in memory."""
        plain = self.lines()
        for number in range(1, 1 + NUMBERS):
            other = self.changed("address", number, "lines")
            parting, line = parted(plain, other), first_line(plain, other)
            if parting and line:
                return at_line(partial(causes.of_statement, "address"), line, parting, "address")
        return None

    def located(self, kind: str, number: int, changed: Trace, parting: Parting) -> list[Origin]:
        """Find the lines that ask for a kind that changes the training."""
        control = self.control()
        sites = {**sites_of(control, kind), **sites_of(changed, kind)}
        cause = causes.BY_KIND[kind]
        alone, found = len(sites) == 1, list[Origin]()
        for site, call in list(sites.items())[:MOST_SITES]:
            known = alone and kind not in UNNOTED
            there = parting if known else parted(control, self.changed(kind, number, site=site))
            if there:
                found.append(Origin(cause, site, parting if alone else there, kind, call))
        if found:
            return found
        line = first_line(self.lines(), self.changed(kind, number, "lines"))
        if line is None:
            return [Origin(cause, parting.site, parting, kind, sure=False)]
        return [at_line(partial(causes.of_statement, kind), line, parting, kind)]

    def apart(self) -> tuple[Trace, Trace] | None:
        """Return two runs that part when no process is forked from another, so that memory addresses differ."""
        how, held = self.how, self._held
        self.begin(replace(how, fresh=True))
        pair = self.unsteady(1)
        if pair is None:
            self.how, self._held = how, held
        return pair

    def repeated(self) -> Origin | None:
        """Find an operation of the first steps that, when repeated, gives different results for the same inputs."""
        self.say("Repeating operations that may add in any order.")
        trace = self.run(replace(self.held, rung="operations", window=(0, 1), until=1, again=True))
        operation = repeated_operation(trace)
        return operation and at_operation(operation, Parting("operation", operation.step, operation.site, 0))

    def unexplained(self, a: Trace, b: Trace) -> Origin:
        """Find the line and the operation in which two runs part although everything is held."""
        parting = parted(a, b)
        if parting is None:
            raise ValueError("the two runs do not part")
        lines: Line | None = None
        for _ in range(REPEATS):
            lines = first_line(self.lines(), self.lines())
            if lines:
                break
        operation = self.operation(min(parting.step, lines.step if lines else parting.step)) if a.steps else None
        if operation is not None and (lines is None or lines.step >= operation.step):
            return at_operation(operation, parting)
        if lines is not None:
            return at_line(partial(causes.of_unknown, fresh=self.how.fresh), lines, parting, sure=False)
        moved = self.moved_line() if self.hashes else None
        return moved or Origin(causes.UNKNOWN, parting.site, parting, sure=False)

    def operation(self, step: int) -> Operation | None:
        """Find the first operation of a step, or of the next, that gives different results for equal inputs."""
        window = (max(0, step), step + 1)
        how = replace(self.held, rung="operations", window=window, until=step + 1)
        for _ in range(2 * REPEATS):
            found = first_operation(self.run(how), self.run(how))
            if found:
                return found
        return None


def at_operation(operation: Operation, parting: Parting) -> Origin:
    """Return the origin at an operation that gives different results for the same inputs."""
    return Origin(cause_of(operation), operation.site, parting, "", operation.name, operation=operation)


def cause_of(operation: Operation) -> Cause:
    """Return the cause when an operation gives different results for the same inputs."""
    if operation.unwritten:
        return causes.MEMORY
    return causes.REDUCTION if operation.near else causes.ALGORITHM
