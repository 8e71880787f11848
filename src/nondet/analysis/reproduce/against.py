"""Compare a run of a script with a kept run, or with one of another machine, setting or command."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nondet.analysis.reproduce import causes
from nondet.analysis.reproduce.causes import Cause
from nondet.analysis.reproduce.diverge import INCONCLUSIVE, ORIGIN, Diverged, blank_of
from nondet.analysis.reproduce.ladder import Origin, at_line, cause_of, finished, last_step
from nondet.analysis.reproduce.parting import (
    Operation,
    Parting,
    differ,
    first_line,
    first_module,
    first_operation,
    parted,
    seen,
)
from nondet.errors import BadInput
from nondet.runners.kept_runs import RUN, KeptRun, check_free, keep, load
from nondet.runners.machine import NO_CHANGE, Machine, setting
from nondet.runners.script import Script
from nondet.runners.traced import How, Trace, Traced
from nondet.sources import OF_THE_MACHINE
from nondet.study.provenance import differences

GIVEN: Mapping[str, Cause] = {
    "start": replace(causes.RANDOM, what="the two draw different random numbers for the initial weights"),
    "order": replace(causes.RANDOM, what="the two draw different orders of the examples"),
    "loaded": replace(causes.DATA, what="the two are given different data"),
    "batch": replace(causes.DATA, what="the model is given different inputs"),
    "asked": replace(causes.DATA, what="the model is evaluated on different inputs"),
}
"""Causes of records that differ although nothing seen before them does."""

ENVIRONMENT = causes.Cause(
    "environment", "something that was not recorded differs", "make the two environments the same"
)


@dataclass(frozen=True)
class Other:
    """What a run is compared with: a kept run, or how to make one.

    name: as the user gave it. command: the one that replaces the user's, if any.
    """

    name: str
    kept: KeptRun | None = None
    machine: Machine = NO_CHANGE
    command: str = ""
    deterministic: bool = False


def other(text: str) -> Other:
    """Parse what `--against` names.

    Raises:
        BadInput: it names nothing.
    """
    name, given, value = text.partition("=")
    if name in OF_THE_MACHINE and given:
        return Other(text, machine=setting(name, value))
    if text == "compile":
        return Other(text, machine=Machine(told={"compile": "1"}))
    if text == "deterministic":
        return Other(text, deterministic=True)
    if (Path(text) / RUN).exists() or Path(text).is_dir():
        return Other(text, kept=load(Path(text)))
    if " " in text.strip():
        Script(shlex.split(text)).check()
        return Other(text, command=text)
    raise BadInput(
        f"<<against>> must be a folder that <<save>> wrote, threads=N, isa=NAME, precision=NAME, versions=PYTHON, "
        f"compile, deterministic, or another command in quotes (got {text!r}); try <<against=threads=2>>"
    )


class _Pair:
    """Runs of the script and of what it is compared with, with everything from outside held the same."""

    def __init__(self, script: Script, other: Other, until: int | None) -> None:
        self.traced, self.other = Traced(script), other
        self.also = Traced(Script(shlex.split(other.command))) if other.command else self.traced
        self.held = How(pins={}, hash=0, until=until)

    def here(self, **more: Any) -> Trace:
        return finished(self.traced.run(replace(self.held, **more)), FINISHED)

    def there(self, **more: Any) -> Trace:
        how = replace(self.held, machine=self.other.machine, deterministic=self.other.deterministic, **more)
        return finished(self.also.run(how), FINISHED)

    def operations(self) -> Trace:
        """Return a run here that records the operations of its first step."""
        return self.here(rung="operations", window=(0, 0), until=0)

    def close(self) -> None:
        self.traced.close()
        self.also.close()

    @property
    def runs(self) -> int:
        return self.traced.runs + (self.also.runs if self.also is not self.traced else 0)


FINISHED = "both runs must finish, but one did not"


def save(script: Script, folder: Path, steps: int | None, say: Callable[[str], None]) -> None:
    """Keep a run of a script so that others can be compared with it."""
    check_free(folder)
    with closing(_Pair(script, Other(""), last_step(steps))) as pair:
        say("Keeping a run: each step and module, and each operation of the first step.")
        whole = pair.here(rung="modules")
        keep(KeptRun(shlex.join(script.words), whole, pair.operations(), pair.held.until), folder)


def against(script: Script, text: str, *, steps: int | None, say: Callable[[str], None]) -> Diverged:
    """Compare a run of a script with what `text` names; see `other`."""
    named, until = other(text), last_step(steps)
    if named.kept is not None and named.kept.until is not None:
        until = named.kept.until if until is None else min(until, named.kept.until)
    with closing(_Pair(script, named, until)) as pair:
        return _compared(pair, say)


def _compared(pair: _Pair, say: Callable[[str], None]) -> Diverged:
    say("Running the script twice with everything from outside held.")
    a, again = pair.here(rung="modules"), pair.here(rung="modules")
    kept = pair.other.kept
    if kept is None:
        say(f"Running it with {pair.other.name}.")
    b = _cut(kept.steps if kept is not None else pair.there(rung="modules"), pair.held.until)
    differs = {name: (mine, theirs) for name, (theirs, mine) in differences(b.machine, a.machine).items()}
    mine, theirs = shlex.join(pair.traced.script.words), kept.command if kept else pair.other.command
    if theirs and theirs != mine:
        differs["command"] = (mine, theirs)
    found = blank_of(pair.traced.script, a, b, pair.runs, against=pair.other.name, differs=differs)
    if not seen(a):
        return replace(found, verdict=INCONCLUSIVE)
    if own := parted(a, again):
        why = "two runs here already part with everything held; leave out <<against>> to look for the cause"
        return replace(found, verdict=INCONCLUSIVE, why=why, **own.where)
    parting = parted(a, b)
    if parting is None:
        return found
    say(f"They part at step {parting.step}: {differ(parting.what)}.")
    origins = (_origin(pair, a, b, parting, differs),)
    return replace(found, verdict=ORIGIN, origins=origins, runs=pair.runs, **parting.where)


def _cut(trace: Trace, until: int | None) -> Trace:
    """Return a trace up to and including this step."""
    if until is None or trace.steps <= until + 1:
        return trace

    def is_later(kind: str, step: Any, *_: Any) -> bool:
        return kind in ("done", "end") or (type(step) is int and step > until)

    found = [record for record in trace.main if record[0] == "machine" or not is_later(*record)]
    return replace(trace, records={"main": found})


def _origin(pair: _Pair, a: Trace, b: Trace, parting: Parting, differs: Mapping[str, tuple[Any, Any]]) -> Origin:
    """Find the first record with equal inputs and different outputs: an operation, else a module, else an input."""
    apart = "; ".join(f"{name} ({mine} here, {theirs} there)" for name, (mine, theirs) in differs.items())
    mend = f"make the two equal in {apart}" if apart else ""
    if parting.kind in GIVEN:
        cause = replace(GIVEN[parting.kind], mend=mend or GIVEN[parting.kind].mend)
        line = first_line(pair.here(rung="lines"), pair.there(rung="lines")) if pair.other.kept is None else None
        if line is None:
            return Origin(cause, parting.site, parting, sure=False)
        return at_line(lambda text: cause, line, parting, sure=False)
    operation = _operation(pair, parting.step) if a.steps and b.steps else None
    if operation is not None:
        cause = cause_of(operation)
        return Origin(replace(cause, mend=mend or cause.mend), operation.site, parting, "", operation=operation)
    module = first_module(a, b, parting.step)
    cause = causes.ALGORITHM if module is not None or parting.kind in ("output", "answer") else ENVIRONMENT
    site = (module.site if module else "") or parting.site
    return Origin(replace(cause, mend=mend or cause.mend), site, parting, "", operation=module)


def _operation(pair: _Pair, step: int) -> Operation | None:
    """Find the first operation of a step with equal inputs and different outputs; a kept run has only step 0's."""
    kept = pair.other.kept
    if kept is not None:
        return None if step else first_operation(pair.operations(), kept.operations)
    how: dict[str, Any] = {"rung": "operations", "window": (step, step + 1), "until": step + 1}
    return first_operation(pair.here(**how), pair.there(**how))
