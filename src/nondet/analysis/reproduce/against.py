"""Compare a run of a script with a kept run, or with one of another machine, setting or command."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nondet.analysis.reproduce import causes
from nondet.analysis.reproduce.causes import Cause
from nondet.analysis.reproduce.diverge import INCONCLUSIVE, NONE, ORIGIN, Diverged, window_of
from nondet.analysis.reproduce.ladder import Origin, cause_of
from nondet.analysis.reproduce.parting import (
    Operation,
    Parting,
    differ,
    first_line,
    first_module,
    first_operation,
    parted,
    seen,
    statement,
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
        return _run(self.traced, replace(self.held, **more))

    def there(self, **more: Any) -> Trace:
        how = replace(self.held, machine=self.other.machine, deterministic=self.other.deterministic, **more)
        return _run(self.also, how)

    def close(self) -> None:
        self.traced.close()
        self.also.close()

    @property
    def runs(self) -> int:
        return self.traced.runs + (self.also.runs if self.also is not self.traced else 0)


def _run(traced: Traced, how: How) -> Trace:
    trace = traced.run(how)
    if trace.failure:
        raise BadInput(f"both runs must finish, but one did not: {trace.failure}; fix it")
    return trace


def save(script: Script, folder: Path, steps: int | None, say: Callable[[str], None]) -> None:
    """Keep a run of a script so that others can be compared with it."""
    check_free(folder)
    pair = _Pair(script, Other(""), None if steps is None else steps - 1)
    try:
        say("Keeping a run: each step and module, and each operation of the first step.")
        keep(_kept(pair, script), folder)
    finally:
        pair.close()


def _kept(pair: _Pair, script: Script) -> KeptRun:
    whole = pair.here(rung="modules")
    return KeptRun(
        shlex.join(script.words), whole, pair.here(rung="operations", window=(0, 0), until=0), pair.held.until
    )


def against(script: Script, text: str, *, steps: int | None, say: Callable[[str], None]) -> Diverged:
    """Compare a run of a script with what `text` names; see `other`."""
    named = other(text)
    until = None if steps is None else steps - 1
    if named.kept is not None and named.kept.until is not None:
        until = named.kept.until if until is None else min(until, named.kept.until)
    pair = _Pair(script, named, until)
    try:
        return _compared(pair, say)
    finally:
        pair.close()


def _compared(pair: _Pair, say: Callable[[str], None]) -> Diverged:
    say("Running the script twice with everything from outside held.")
    a, again = pair.here(rung="modules"), pair.here(rung="modules")
    kept = pair.other.kept
    if kept is None:
        say(f"Running it with {pair.other.name}.")
    b = kept.steps if kept is not None else pair.there(rung="modules")
    if pair.held.until is not None:
        b = _cut(b, pair.held.until)
    differs = {name: (mine, theirs) for name, (theirs, mine) in differences(b.machine, a.machine).items()}
    mine, theirs = shlex.join(pair.traced.script.words), kept.command if kept else pair.other.command
    if theirs and theirs != mine:
        differs["command"] = (mine, theirs)
    evaluations = min(len(trace.of("answer")) for trace in (a, b))
    found = Diverged(
        pair.traced.script.title,
        NONE,
        None,
        "",
        (),
        window_of(a, b),
        a.ended and b.ended,
        evaluations,
        pair.runs,
        against=pair.other.name,
        differs=differs,
    )
    if not seen(a):
        return replace(found, verdict=INCONCLUSIVE)
    if own := parted(a, again):
        why = "two runs here already part with everything held; leave out <<against>> to look for the cause"
        return replace(found, verdict=INCONCLUSIVE, step=own.step, what=own.what, why=why, site=own.site)
    parting = parted(a, b)
    if parting is None:
        return found
    say(f"They part at step {parting.step}: {differ(parting.what)}.")
    origin = _origin(pair, a, b, parting, differs)
    return replace(
        found,
        verdict=ORIGIN,
        step=parting.step,
        what=parting.what,
        site=parting.site,
        origins=(origin,),
        runs=pair.runs,
    )


def _cut(trace: Trace, until: int) -> Trace:
    """Return a trace up to and including this step."""
    found: list[Any] = []
    for record in trace.main:
        if record[0] == "machine" or trace.steps <= until + 1:
            found.append(record)
        elif record[0] in ("done", "end") or (type(record[1]) is int and record[1] > until):
            continue
        else:
            found.append(record)
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
        text = statement(Path.cwd(), line.site)
        return Origin(cause, line.site, parting, "", text, line.names, line.function, sure=False)
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
        return (
            first_operation(pair.here(rung="operations", window=(0, 0), until=0), kept.operations) if not step else None
        )
    how: dict[str, Any] = {"rung": "operations", "window": (step, step + 1), "until": step + 1}
    return first_operation(pair.here(**how), pair.there(**how))
