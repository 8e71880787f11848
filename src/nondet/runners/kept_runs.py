"""Keep a recorded run in a folder, to compare another run with it elsewhere or later."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nondet.errors import BadInput, Damaged
from nondet.io.files import NotAFile, misfit, read_file, sealed, unsealed, write_file
from nondet.runners.traced import Trace
from nondet.version import __version__

RUN, STEPS, OPERATIONS = "run.json", "steps.jsonl", "operations.jsonl"

FORMAT = 1

_LARGEST = 2**30
"""The most bytes that one of its files may have."""


@dataclass(frozen=True)
class KeptRun:
    """A run of a command.

    steps: what it did in each step, and in each module. operations: the operations of its first step. until: the last
    step that was watched; None for all.
    """

    command: str
    steps: Trace
    operations: Trace
    until: int | None

    @property
    def machine(self) -> Mapping[str, Any]:
        return self.steps.machine


def check_free(folder: Path) -> None:
    """Raise BadInput if the folder is not free for a run."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BadInput(
            f"a run must be kept in a new folder (got <<save={folder}>>, which exists already); choose another"
        )


def keep(run: KeptRun, folder: Path) -> None:
    """Write a run into a new folder. The file written last contains the hashes of all the others."""
    check_free(folder)
    files: dict[str, bytes] = {}
    for name, trace in ((STEPS, run.steps), (OPERATIONS, run.operations)):
        files[name] = "".join(json.dumps(record, separators=(",", ":")) + "\n" for record in trace.main).encode()
    for record in run.operations.of("op"):
        if record[11]:
            files[record[11]] = (run.operations.folder / record[11]).read_bytes()
    for name, content in files.items():
        write_file(folder / name, content, flush_folder=False)
    about = {"format": FORMAT, "nondet": __version__, "command": run.command, "until": run.until}
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    write_file(folder / RUN, sealed({**about, "machine": dict(run.machine), "files": hashes}))


def load(folder: Path) -> KeptRun:
    """Load a run that `keep` wrote, perhaps on another machine, and check every byte and every record of it.

    Raises:
        BadInput: it is not such a run, or it has changed since it was written.
    """
    try:
        about = unsealed(_bytes(folder / RUN, 2**24), folder / RUN)
    except Damaged:
        raise _changed(folder / RUN, "its SHA-256 differs") from None
    if about.get("format") != FORMAT:
        raise BadInput(
            f"a kept run must be in format {FORMAT} (got {about.get('format')!r} in {folder}, written by nondet "
            f"{about.get('nondet')}); keep it again with <<save>>"
        )
    files: Any = about.get("files")
    until: Any = about.get("until")
    whole = isinstance(files, dict) and {STEPS, OPERATIONS} <= {*files} and isinstance(about.get("command"), str)
    if not whole or not (until is None or type(until) is int):
        raise _changed(folder / RUN, "its fields are not those that nondet writes")
    traces: list[Trace] = []
    for name, kinds in ((STEPS, _OF_STEPS), (OPERATIONS, {**_OF_STEPS, "op": _OPERATION})):
        content = _bytes(folder / name, _LARGEST)
        if hashlib.sha256(content).hexdigest() != files[name]:
            raise _changed(folder / name, f"its SHA-256 is not the one in {RUN}")
        traces.append(Trace({"main": _records(content, folder / name, kinds)}, "", folder))
    for record in traces[1].of("op"):
        if record[11] and record[11] not in files:
            raise _changed(folder / OPERATIONS, f"it names {record[11]!r}, which is not part of the run")
        if record[11] and hashlib.sha256(_bytes(folder / record[11], _LARGEST)).hexdigest() != files[record[11]]:
            raise _changed(folder / record[11], f"its SHA-256 is not the one in {RUN}")
    return KeptRun(about["command"], traces[0], traces[1], until)


def _changed(path: Path, how: str) -> BadInput:
    return BadInput(f"a kept run must be as nondet wrote it (got {path}: {how}); keep it again with <<save>>")


def _bytes(path: Path, most: int) -> bytes:
    try:
        return read_file(path, most)
    except FileNotFoundError:
        raise BadInput(
            f"a kept run must have the file {path.name} (got {path.parent}, which has none); keep a run with "
            "<<save=FOLDER>>"
        ) from None
    except (NotAFile, OSError) as error:
        raise _changed(path, f"{error}") from error


def _records(content: bytes, path: Path, shapes: Mapping[str, Sequence[Any]]) -> list[Any]:
    """Read the records of a file, and check the fields of those that are compared."""
    found: list[Any] = []
    try:
        for line in content.decode("utf-8").splitlines():
            record: Any = json.loads(line)
            fields = shapes.get(record[0], ())
            if type(record) is not list or len(record) < 1 + len(fields):
                raise ValueError
            if any(misfit(field, shape) for field, shape in zip(record[1:], fields, strict=False)):
                raise ValueError
            found.append(record)
    except (ValueError, TypeError, IndexError, KeyError, RecursionError):
        raise _changed(path, f"line {len(found) + 1} is not a valid record") from None
    return found


_WHOLE = range(2**63)
_SITE = re.compile(r"((.*:)?\d+)?", re.DOTALL)
_ARRAY = re.compile(r"(op-[0-9]{1,9}\.npy)?")
_SEEN = (_WHOLE, str, _SITE)
_OF_STEPS: Mapping[str, Sequence[Any]] = {
    **dict.fromkeys(("start", "loaded", "batch", "output", "loss", "weights", "asked", "answer", "order"), _SEEN),
    "end": (*_SEEN, str),
    "done": (_WHOLE,),
    "machine": (dict,),
    "module": (_WHOLE, str, str, _SITE, str, str),
}
_OPERATION = (_WHOLE, str, str, _SITE, str, [str], [str], [[_WHOLE]], [_WHOLE], _WHOLE, _ARRAY)
