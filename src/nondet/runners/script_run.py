"""One run of a script or a command, in its own process and its own folder."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from nondet.errors import BadInput
from nondet.runners.machine import of_seeds
from nondet.runners.observed import Made, varied
from nondet.runners.process import Process, environment_of, last_lines
from nondet.runners.script import Script
from nondet.runners.script_left import read_left
from nondet.sources import FIXED_SEED


def make(
    script: Script,
    seeds: Mapping[str, int],
    study: Path | None,
    bit: Mapping[str, Any] | None,
    process: Process,
    onset: int = 0,
) -> Made:
    """Make one run: the command gets its own process, and a new folder under the study's."""
    if study is None:
        raise BadInput("a script's runs need a study folder (got none); give <<folder>>")
    place = _new_folder(study, varied(seeds, onset))
    kept = place / ".nondet"
    kept.mkdir(parents=True)
    link_here(place, study, script)
    order = {"seeds": dict(seeds), "record": script.record, "folder": str(kept.absolute()), "bit": bit}
    order |= {"onset": onset, "here": str(Path.cwd().resolve())}
    machine = of_seeds(script.machine, seeds)
    order |= {"machine": dict(machine.told)} if script.machine else {}
    words = machine.words([filled(word, seeds, place) for word in script.started])
    log = study / "logs" / f"{place.name}.txt"
    log.parent.mkdir(exist_ok=True)
    log.touch()
    (kept / "order.json").write_text(json.dumps(order), encoding="utf-8")
    status = process.run(words, place, log, {**environment_of(seeds, place.absolute()), **machine.variables})
    text = log.read_bytes().decode("utf-8", "replace")
    made = replace(read_left(script, place, kept, text, status), last=last_lines(text), log=str(log.relative_to(study)))
    process.learn(made.ledger)
    if onset and not made.failure and not made.ledger.get("bit"):
        return replace(made, failure=f"no bit was moved: it trained for fewer than {onset + 1} epochs")
    return made


def _new_folder(study: Path, name: str) -> Path:
    """Make a folder that no run has used: a script might resume from the files of a run that was stopped half-way."""
    path, attempts = study / "work" / name, count(2)
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        try:
            path.mkdir()
        except FileExistsError:
            path = path.with_name(f"{name}~{next(attempts)}")
        else:
            return path


def link_here(place: Path, study: Path, script: Script) -> None:
    """Link what is in the current folder into a run's folder, so that the script's relative paths work.

    New files stay in the run's folder. The study is not linked, and the folders that the outputs go into are the run's
    own.
    """
    here, outputs = Path.cwd(), Path(script.outputs)
    own = [] if not script.outputs or outputs.is_absolute() else [*outputs.parents, outputs]
    for folder in own[:-1]:
        (place / folder).mkdir(parents=True, exist_ok=True)
    for folder in own[:-1] or [Path()]:
        for entry in (here / folder).iterdir() if (here / folder).is_dir() else []:
            target = place / folder / entry.name
            if not study.absolute().is_relative_to(entry.absolute()) and folder / entry.name not in own:
                target.symlink_to(entry.absolute(), entry.is_dir())


def filled(word: str, seeds: Mapping[str, int], place: Path) -> str:
    """Return a word with `{out}` and the names of seeds filled in."""
    filled = word.replace("{out}", str(place.absolute()))
    return re.sub(r"\{([A-Za-z_][A-Za-z0-9_]*)\}", lambda found: str(seeds.get(found[1], FIXED_SEED)), filled)
