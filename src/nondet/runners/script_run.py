"""One run of a script or a command, in its own process and its own folder, and what it left there."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from nondet.errors import BadInput
from nondet.io.outputs import read_labels, read_outputs
from nondet.runners.machine import of_seeds
from nondet.runners.observed import Made, varied
from nondet.runners.process import Process, environment_of, last_lines
from nondet.runners.script import Script
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
    made = replace(_left(script, place, kept, text, status), last=last_lines(text), log=str(log.relative_to(study)))
    process.learn(made.ledger)
    if onset and not made.failure and not made.ledger.get("bit"):
        return replace(made, failure=f"no bit was moved: it trained for fewer than {onset + 1} epochs")
    return made


def _new_folder(study: Path, name: str) -> Path:
    """Make a folder that no run has used: a script might resume from the files of a run that was stopped half-way."""
    path, attempts = study / "work" / name, count(2)
    while True:
        with suppress(FileExistsError):
            path.mkdir(parents=True)
            return path
        path = path.with_name(f"{name}~{next(attempts)}")


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


def _left(script: Script, place: Path, kept: Path, text: str, status: int) -> Made:
    """Return what a process left that ended with this status."""
    arrays: dict[str, np.ndarray] = {}
    if status:
        refused = kept / "refused"
        return Made({}, {}, {}, refused.read_text(encoding="utf-8") if refused.exists() else _ended(status, text))
    ledger = ledger_of(kept)
    if script.record and ledger.get("record"):
        return Made({}, {}, ledger, f"the expressions to record cannot be evaluated: {ledger['record']}")
    if script.is_python and not ledger and not script.asked:
        return Made({}, {}, ledger, "it ended without Python's normal exit, as after os._exit, so nothing was kept")
    if ledger.get("arrays"):
        with np.load(str(ledger["file"]), allow_pickle=False) as held:
            arrays = {name: held[name] for name in held.files}
    scores = dict(ledger.get("scores", {}))
    for pattern in script.metrics:
        name, value = metric_in(pattern, text)
        if value is None and name not in scores:
            return Made({}, {}, ledger, f"it printed nothing that matches the metric {pattern}")
        scores[name] = scores[name] if value is None else value
    for name, path, read in (("outputs", script.outputs, read_outputs), ("labels", script.labels, read_labels)):
        if path:
            file = place / path
            if not file.exists():
                return Made({}, {}, ledger, f"it left no file {path}")
            found = np.asarray(read(file))
            arrays[name] = found[0] if name == "outputs" and found.ndim == 3 and len(found) == 1 else found
    return Made(arrays, scores, ledger, curves=ledger.get("curves", {}))


def _ended(status: int, text: str) -> str:
    """Say how a failed process ended, with the last line of its output that says something."""
    how = f"signal {-status} ({signal.Signals(-status).name})" if status < 0 else f"exit status {status}"
    said = next((line.strip() for line in reversed(text.splitlines()) if re.search(r"[^\W_]", line)), "")
    return f"{how}: {said}" if said else how


def ledger_of(kept: Path) -> dict[str, Any]:
    """Return the ledger of the process that trained or drew the most, with the results of the one that left some."""
    found: list[dict[str, Any]] = []
    for path in sorted(kept.glob("left-*.json")):
        read: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        found.append({**read, "file": path.with_suffix(".npz")})

    def trained(one: Mapping[str, Any]) -> tuple[int, bool, bool, int]:
        return int(one["steps"]), left(one), not one["anew"], sum(one["draws"].values())

    def left(one: Mapping[str, Any]) -> bool:
        return bool(one["arrays"] or one["scores"]) and not one.get("record")

    best = max(found, key=trained, default={})
    leaving = max(found, key=lambda one: (left(one), trained(one)), default={})
    return best | {name: leaving[name] for name in ("arrays", "scores", "curves", "record", "file") if name in leaving}


def metric_in(pattern: str, text: str) -> tuple[str, float | None]:
    """Return a score's name, and the last number in a text that matches a pattern.

    The number is None if nothing matches, and NaN if that is printed instead. `acc=([0-9.]+)` is first matched as a
    whole; if that finds nothing, `acc` is taken as the user's name for whatever the rest matches.
    """
    name, equals, rest = pattern.partition("=")
    found = re.match(r"[A-Za-z_][\w./-]*", pattern)
    called = found[0].rstrip(".-/") if found else "metric"
    own_name = equals and re.fullmatch(r"[A-Za-z_][\w./-]*", name) and re.match(r"[^(]*[A-Za-z]", rest)
    for tried in (pattern, *([rest] if own_name else [])):
        values = {one.start(1): one[1] for form in (_diverged(tried), tried) for one in re.finditer(form, text, re.M)}
        if values:
            with suppress(ValueError):
                return called, float(values[max(values)].rstrip(".,;%"))  # a sentence may end there
    return called, None


def _diverged(pattern: str) -> str:
    """Return a pattern that matches nan or inf in place of the number that its group stands for."""
    opened: list[int | None] = []
    for part in re.finditer(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\(\?P<|\(\??|\)", pattern, re.DOTALL):
        if part[0].startswith("("):
            opened.append(None if part[0] == "(?" else part.start())
        elif part[0] == ")" and (begin := opened.pop()) is not None:
            return pattern[:begin] + r"((?i:[-+]?(?:nan|inf(?:inity)?))\b)" + pattern[part.end() :]
    return pattern
