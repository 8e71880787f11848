"""The first run of a script's new study: with all seeds fixed, it shows what the script draws and leaves."""

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


def first(script: Script, folder: Path, say: Callable[[str], None]) -> ScriptRunner:
    """Return the runner of a new study, after a first run with all seeds fixed.

    That run shows which random numbers the script draws, and what it leaves.

    Raises:
        BadInput: the script fails, or leaves nothing that can be measured.
    """
    say(f"The first run of {script.title} shows which random numbers it draws, and what it leaves.")
    process, here = Process(), Path.cwd()
    before = outside.seen(here, script.words, folder)
    made = make(script, dict.fromkeys(script.asked, FIXED_SEED), folder, None, process)
    changed = outside.changed(before, outside.seen(here, script.words, folder))
    if made.failure:
        for line in made.last:
            say(line)
        see = f" (see {folder / made.log})"
        raise BadInput(f"the script must run to its end, but its first run did not: {made.failure}{see}; fix it")
    if made.ledger.get("elsewhere"):
        say(
            f"{WARNING}it trains in a process that it forks, and random numbers drawn there are not sorted by source; "
            "have it spawn that process instead."
        )
    written = list(made.ledger.get("outside", ()))
    changed = [name for name in changed if name not in written]
    ledger: dict[str, Any] = {**made.ledger, "outside": written + changed}
    made = replace(made, ledger=ledger)
    way_out = (
        "add <<record=outputs=logits, labels=y>>, <<metrics=acc=([0-9.]+)>>, <<outputs=FILE>>, or a line "
        "nondet.record(...) to it"
    )
    identity, labels = described(script.title, script.recipe, code_of(script, ledger.get("modules", {})), made, way_out)
    identity |= {field: ledger[name] for field, name in (("bit", "moving"), (EPOCHS, "epochs")) if ledger.get(name)}
    sources, known = sources_of(script, ledger), {"reference": made}
    if "other" in sources and "labels" in made.arrays and ledger.get("early"):
        known["other=2"] = split = make(script, {"other": 2}, folder, None, process)
        if not split.failure and not np.array_equal(split.arrays.get("labels", labels), labels):
            sources.remove("other")
            if not sources:
                raise BadInput(
                    "a script must draw more than its test labels from the global generators (got one in which nothing "
                    "else varies); draw the labels from numpy.random.default_rng(0)"
                )
            say(f"{WARNING}its draws outside the named sources decide the data split, so the source other is left out.")
    for sentence in (*_seen(made.ledger), *_met(written, changed)):
        say(sentence)
    device, place = "cuda" if ledger.get("cuda") else "cpu", None if ledger.get("outside") else folder
    return ScriptRunner(script, identity, sources, labels, device=device, known=known, process=process, folder=place)


def sources_of(script: Script, ledger: Mapping[str, Any]) -> list[str]:
    """Return the sources that can vary: those whose seeds its words ask for and, in Python, those that it draws from.

    A Python script that trains on shuffled data also has `order`, and one that trains a model `bit`.
    """
    draws = ledger.get("draws", {})
    there = {name for name in ("init", "shuffle", "augment", "dropout", "other") if draws.get(name)}
    # an unshuffled order may be that of the outputs
    noted = {"order": "shuffled", "bit": "moving", "kernels": "cuda"}
    there |= {name for name, note in noted.items() if ledger.get(note)} | {*script.machine}
    modules = [Path(name) for name in ledger.get("modules", {})]
    asked = list(dict.fromkeys([*script.asked, *(name for path in modules for name in variables_in(path))]))
    found = [name for name in SOURCES if name in there or name in asked]
    found += [name for name in asked if name not in SOURCES]
    if not found:
        raise BadInput(
            "a command must draw random numbers that nondet can sort, or take a seed (got one that does neither); put "
            "{seed} in place of its seed"
        )
    wrong = next((name for name in found if name in ("all", "crossed", "deterministic")), None)
    if wrong:
        raise BadInput(f"a seed must be named after one source (got {{{wrong}}}); try {{seed}}")
    return found


def _seen(ledger: Mapping[str, Any]) -> Iterator[str]:
    """Yield sentences about a script's random numbers."""
    drawn = {name: n for name, n in ledger.get("draws", {}).items() if n}
    if drawn:
        yield f"It draws from {', '.join(f'{name} ({n:,})' for name, n in sorted(drawn.items()))}."
    own = [f"{name}, {times} times" if times > 1 else name for name, times in ledger.get("explicit", {}).items()]
    yield from (f"It has its own generator: {name}." for name in own[:4])
    if len(own) > 4:
        yield f"And {len(own) - 4} more."
    if ledger.get("sites"):
        lines = [f"{line} ({times:,})" for line, times in ledger["sites"].items()]
        yield f"Drawn outside the named sources, so counted as other: {_few(lines)}."


def _met(written: Sequence[str], changed: Sequence[str]) -> Iterator[str]:
    """Say that runs are made one at a time, if they would otherwise write to the same files."""
    what = f"It writes outside its folder ({_few(written)})" if written else ""
    also = f"{_few(changed)} changed while it ran" if changed else ""
    if what or also:
        yield (
            f"{'; '.join(filter(None, (what, also)))}: runs side by side would collide there, so they are made one at "
            "a time. Let it write to {out}, which stands for the run's folder."
        )


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
