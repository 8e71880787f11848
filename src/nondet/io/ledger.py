"""A ledger: a file to which lines are added but never changed; each line is sealed together with all before it.

A line is one JSON object. Its `previous` is the `sha256` of the line before, and its own `sha256` is that of the rest
of the line: changing, dropping or inserting a line breaks the chain after it. Lines dropped from the end leave a valid,
shorter ledger; to notice that, keep the last line's `sha256` elsewhere.
"""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from nondet.errors import BadInput
from nondet.io import locks
from nondet.io.files import read_json, sha256_of_json

FORMAT = 1
LARGEST = 2**28  # bytes


class Ledger:
    """An open ledger, which no other process can write to. lines: its content; the first line is its terms."""

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self.path, self.file = path, file
        size = os.fstat(file.fileno()).st_size
        if size > LARGEST:
            raise BadInput(f"<<ledger>> must name a ledger (got {path} with {size:,} bytes); name another file")
        file.seek(0)
        self.lines = _checked(path, file.read())

    @property
    def seal(self) -> str:
        """The SHA-256 of the last line, which covers all lines before it too."""
        return self.lines[-1]["sha256"] if self.lines else ""

    def add(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Add a line, flush it to the disk, and return it as written."""
        body = {**record, "previous": self.seal}
        line = {**body, "sha256": sha256_of_json(body)}
        self.file.write(json.dumps(line, ensure_ascii=True, allow_nan=False).encode() + b"\n")
        self.file.flush()
        os.fsync(self.file.fileno())
        self.lines.append(line)
        return line


@contextmanager
def opened(path: Path) -> Generator[Ledger]:
    """Open a ledger inside the block, or make one; BadInput if the file is none, or not what was written."""
    if path.exists() and not path.is_file():
        raise BadInput(f"<<ledger>> must name a file (got {path}, which is not one); name another")
    try:
        file = path.open("ab+")
    except OSError as error:
        raise BadInput(
            f"<<ledger>> must name a file that can be written (got {path}: {error.strerror}); name another"
        ) from error
    with file:
        locks.lock(file.fileno())
        yield Ledger(path, file)


def _checked(path: Path, content: bytes) -> list[dict[str, Any]]:
    """Return the lines after checking that each follows the one before."""
    lines: list[dict[str, Any]] = []
    for number, text in enumerate(content.splitlines(keepends=True), 1):
        try:
            line = read_json(text)
            body = {name: value for name, value in line.items() if name != "sha256"}
            sound = text.endswith(b"\n") and line["sha256"] == sha256_of_json(body)
            sound = sound and line["previous"] == (lines[-1]["sha256"] if lines else "")
        except (ValueError, KeyError, AttributeError, TypeError):
            sound, line = False, {}
        if number == 1 and sound and (line.get("ledger") != "nondet" or line.get("format") != FORMAT):
            raise BadInput(
                f"{path} must be a ledger of format {FORMAT} (got another); name another file with <<ledger>>"
            )
        if not sound:
            raise BadInput(
                f"{path} must be a ledger that was not changed (line {number} was, or does not follow the one before); "
                "restore the file, or begin a new one with <<ledger>>"
            )
        lines.append(line)
    return lines
