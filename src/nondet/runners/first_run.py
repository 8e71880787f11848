"""The first run of a new study of a script, all seeds fixed: it shows what the script draws and leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from nondet.errors import BadInput
from nondet.io.streams import WARNING
from nondet.runners import outside
from nondet.runners.observed import described
from nondet.runners.process import Process
from nondet.runners.script import Script, variables_in
from nondet.runners.script_run import make
from nondet.runners.script_runner import ScriptRunner, code_of
from nondet.sources import FIXED_SEED, SOURCES
from nondet.study.study import EPOCHS

_FEW = 4
"""Generators of a script's own that are named."""

_LEAVE = (
    "add <<record=outputs=logits, labels=y>>, <<metrics=acc=([0-9.]+)>>, <<outputs=FILE>>, or a line "
    "nondet.record(...) to it"
)


def first(script: Script, folder: Path, say: Callable[[str], None]) -> ScriptRunner:
    """The runner of a new study: its first run, all seeds fixed, shows what the script draws and leaves.

    Raises:
        BadInput: the script fails, or leaves nothing that can be measured.
    """
    say(f"The first run of {script.title} shows what it draws and leaves.")
    process, here = Process(), Path.cwd()
    before = outside.seen(here, script.words, folder)
    made = make(script, dict.fromkeys(script.asked, FIXED_SEED), folder, None, process)
    changed = outside.changed(before, outside.seen(here, script.words, folder))
    if made.failure:
        for line in made.last:
            say(line)
        see = f" (see {folder / made.log})"
        raise BadInput(f"the script must come to its end, and its first run did not: {made.failure}{see}; mend it")
    if made.ledger.get("elsewhere"):
        say(
            f"{WARNING}it trains in a process that it forks, whose random numbers are not sorted; "
            "let it start that by spawn."
        )
    written = list(made.ledger.get("outside", ()))
    changed = [name for name in changed if name not in written]
    ledger: dict[str, Any] = {**made.ledger, "outside": written + changed}
    made = replace(made, ledger=ledger)
    identity, labels = described(script.title, script.recipe, code_of(script, ledger.get("modules", {})), made, _LEAVE)
    if ledger.get("moving"):
        identity["bit"] = ledger["moving"]
    if ledger.get("epochs"):
        identity[EPOCHS] = ledger["epochs"]
    sources, known = sources_of(script, ledger), {"reference": made}
    if "other" in sources and "labels" in made.arrays and ledger.get("early"):
        known["other=2"] = split = make(script, {"other": 2}, folder, None, process)
        if not split.failure and not np.array_equal(split.arrays.get("labels", labels), labels):
            sources.remove("other")
            if not sources:
                raise BadInput(
                    "a script must draw more than its test labels from the global generators (got one in which nothing "
                    "else varies); draw those from numpy.random.default_rng(0)"
                )
            say(f"{WARNING}what it draws outside every named source splits the data, so the source other is left out.")
    for sentence in (*_seen(made.ledger), *_met(written, changed)):
        say(sentence)
    side_by_side = None if ledger.get("outside") else folder
    device = "cuda" if ledger.get("cuda") else "cpu"
    return ScriptRunner(
        script, identity, sources, labels, device=device, known=known, process=process, folder=side_by_side
    )


def sources_of(script: Script, ledger: Mapping[str, Any]) -> list[str]:
    """What can vary: the seeds that its words ask for; of a Python script what it draws from, and what it trains."""
    draws = ledger.get("draws", {})
    there = {name for name in ("init", "shuffle", "augment", "dropout", "other") if draws.get(name)}
    there |= {"order"} if ledger.get("shuffled") else set()  # an order that nothing shuffles may be that of the outputs
    there |= {"bit"} if ledger.get("moving") else set()
    there |= {"kernels"} if ledger.get("cuda") else set()
    there |= {*script.machine}
    modules = [Path(name) for name in ledger.get("modules", {})]
    asked = list(dict.fromkeys([*script.asked, *(name for path in modules for name in variables_in(path))]))
    found = [name for name in SOURCES if name in there or name in asked]
    found += [name for name in asked if name not in SOURCES]
    if not found:
        raise BadInput(
            "a command must draw random numbers that nondet can sort, or take a seed (got one that does neither); put "
            "{seed} where its seed stands"
        )
    wrong = next((name for name in found if name in ("all", "crossed", "deterministic")), None)
    if wrong:
        raise BadInput(f"a seed must have the name of one source (got {{{wrong}}}); try {{seed}}")
    return found


def _seen(ledger: Mapping[str, Any]) -> Iterator[str]:
    """What a user should know of a script's random numbers and files, in sentences."""
    drawn = {name: n for name, n in ledger.get("draws", {}).items() if n}
    if drawn:
        yield f"It draws from {', '.join(f'{name} ({n:,})' for name, n in sorted(drawn.items()))}."
    own = [f"{name}, {times} times" if times > 1 else name for name, times in ledger.get("explicit", {}).items()]
    yield from (f"A generator of its own: {name}." for name in own[:_FEW])
    if len(own) > _FEW:
        yield f"And {len(own) - _FEW} more."
    if ledger.get("sites"):
        lines = [f"{line} ({times:,})" for line, times in ledger["sites"].items()]
        yield f"Drawn outside every named source, and so of other: {_few(lines)}."


def _met(written: Sequence[str], changed: Sequence[str]) -> Iterator[str]:
    """That runs are made one at a time, since they may meet in a file; if that is so."""
    what = f"It writes outside its folder ({_few(written)})" if written else ""
    also = f"{_few(changed)} changed while it ran" if changed else ""
    if what or also:
        yield (
            f"{'; '.join(filter(None, (what, also)))}: runs side by side would meet there, so they are made one at a "
            "time. Let it write to {out}, which stands for the folder of a run."
        )


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
