"""The runner for studies of a script."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from nondet.errors import BadInput, Damaged
from nondet.io.files import NotAFile, read_file
from nondet.runners.machine import MACHINE, declared, read_values, values_of, written
from nondet.runners.observed import Made, Observed
from nondet.runners.process import Process
from nondet.runners.script import LARGEST, Script
from nondet.runners.script_run import make
from nondet.study.mirror import folder_of, shown
from nondet.study.record import load
from nondet.study.study import EPOCHS, Study


class ScriptRunner(Observed):
    """Makes the runs of a script. Created by `first` and `again`.

    folder: the study's, if other processes may help; None if runs would collide in a file.
    """

    resumes = ""  # each run is made from the beginning, whatever its onset

    def __init__(
        self, script: Script, *given: Any, process: Process | None = None, folder: Path | None = None, **more: Any
    ) -> None:
        super().__init__(script.title, *given, **more)
        self.epochs = max(1, self._identity.get(EPOCHS, 1))
        self.script, self.process = script, process or Process()
        self.levels = {name: len(values) for name, values in script.machine.items()}
        arguments = {"script": script.as_dict(), "folder": shown(folder)} if folder is not None else {}
        self.order = {"runner": f"{__name__}:helping", "arguments": arguments} if arguments else {}

    def check_onsets(self, vary: Sequence[str], onsets: Sequence[int]) -> None:
        late = next((onset for onset in onsets if onset), None)
        if late is None:
            return
        given = next((name for name in vary if name != "bit"), None)
        if given is not None or not vary:
            raise BadInput(
                f"in a script, only the source bit can have an onset (got <<onset={late}>> with "
                f"{f'<<vary={given}>>' if given else 'no source'}); give it with <<vary=bit>>, and vary other sources "
                "without it"
            )
        last = self._identity.get(EPOCHS, 0) - 1
        if "bit" in self.sources and last < 1:
            raise BadInput(
                f"an onset needs several epochs, which are passes over the torch DataLoader of the training data (got "
                f"<<onset={late}>>, and {self.name} makes {'one' if last == 0 else 'none'}); leave it out"
            )
        wrong = next((onset for onset in onsets if not 0 <= onset <= last), None)
        if "bit" in self.sources and wrong is not None:
            raise BadInput(
                f"a script's onset must be one of its epochs, from 0 to {last} (got <<onset={wrong}>>); choose another"
            )

    def make(self, seeds: Mapping[str, int], folder: Path | None, onset: int = 0) -> Made:
        return make(self.script, seeds, folder, self._identity.get("bit"), self.process, onset)


def again(script: Script, study: Study, *, repeats: bool = True) -> ScriptRunner:
    """Return the runner of an existing study, with the script's files as they are now."""
    identity = {**study.identity, "code": {name: _hash(Path(name)) for name in study.identity.get("code", {})}}
    identity["recipe"] = script.recipe
    device = str(study.environment.get("device", "cpu"))
    folder: Path | None = study.folder
    with suppress(Damaged, BadInput):
        if study.store.record(study.reference.key).get("facts", {}).get("outside"):
            folder = None
    return ScriptRunner(script, identity, study.sources, study.labels, device=device, repeats=repeats, folder=folder)


def helping(script: Mapping[str, Any], folder: str) -> ScriptRunner:
    """Return the runner of a helper process. Each run has its own process, so the main process's proof covers it."""
    return again(Script.of(script), load(folder_of(folder)), repeats=False)


def code_of(script: Script, modules: Mapping[str, str]) -> dict[str, str]:
    """Return the SHA-256 of each file of the training: those that its words name, and the modules it imported."""
    here = Path.cwd()
    found = {str(Path(name)): digest for name, digest in modules.items()}
    found |= {str(path.absolute()): _hash(path) for path in script.files}
    return {_short(name, here): digest for name, digest in sorted(found.items())}


def _short(name: str, here: Path) -> str:
    path = Path(name)
    return str(path.relative_to(here)) if path.is_relative_to(here) else name


def _hash(path: Path) -> str:
    try:
        return hashlib.sha256(read_file(path, LARGEST)).hexdigest()
    except (OSError, NotAFile):  # a study from somebody else may name anything
        return ""


def of_machine(script: Script, vary: Sequence[str], study: Study | None) -> tuple[Script, list[str]]:
    """Return the script with the machine sources that `vary` declares, and `vary` without their values.

    study: the existing one, if any; it keeps the values that it began with.

    Raises:
        BadInput: a value is not valid, or the study has other values.
    """
    names, found = declared([text for text in vary if text.partition("=")[0] not in script.asked])
    names = [*names, *(text for text in vary if text.partition("=")[0] in script.asked)]
    given = {name: values_of(name, values) for name, values in found.items() if values}
    if study is None:
        return replace(script, machine={name: given.get(name) or values_of(name, ()) for name in found}), names
    known = read_values(str(study.identity["recipe"].get(MACHINE, "")))
    for name in found:
        if name not in known or (name in given and given[name] != known[name]):
            raise BadInput(
                f"a study must keep the machine values that it began with (got {written({name: found[name]})}, and it "
                f"has {written(known) or 'none'}); start a new one with <<folder>>"
            )
    if "versions" in known and "versions" not in given:
        raise BadInput(
            f"a study of versions runs other Pythons only if the command names them (got none); add <<vary=versions="
            f"{','.join(known['versions'][1:])}>>"
        )
    return replace(script, machine={name: values_of(name, values) for name, values in known.items()}), names
