"""Find files that change during a run, whatever program writes them: runs side by side would collide there.

A Python process reports its own files (`nondet.script.files`), but not those that C++ code in it writes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

_BY_HAND = re.compile(r".*\.(pyi?|ipynb|R|Rmd|jl|m|sh|c|cc|cpp|cu|h|hpp|rs|go|md|rst|tex|toml|cfg|ini|ya?ml|html)")
"""Files that somebody may be editing in the meantime."""

_MOST = 50_000
"""How many files are looked at; in a larger tree, the first ones found."""

Seen = Mapping[str, tuple[int, int]]


def seen(here: Path, words: Sequence[str], study: Path) -> Seen:
    """Return size and modification time of the files in the current folder, and in the places that the words name.

    Hidden folders, studies, and files that people write are left out. If a word names a file, the other files in its
    folder are included.
    """
    named = [Path(word.rpartition("=")[2]) for word in words[1:]]
    places = [path if path.is_dir() else path.parent for path in named if path.is_absolute()]
    found: dict[str, tuple[int, int]] = {}
    for place, deep in ((here, True), *((place, place in named) for place in places)):
        for entry in _files(place, deep, study.absolute()):
            if len(found) == _MOST:
                return found
            with suppress(OSError):
                state = entry.stat(follow_symlinks=False)
                found[os.path.realpath(entry.path)] = (state.st_size, state.st_mtime_ns)
    return found


def changed(before: Seen, after: Seen) -> list[str]:
    """Return the files that are new or changed, except those that a process outlasting the run still has open."""
    found = sorted(name for name, state in after.items() if before.get(name) != state)
    if len(before) == _MOST:  # a file that was not looked at before need not be new
        found = [name for name in found if name in before]
    held = _held() if found else set[str]()
    return [name for name in found if name not in held]


def _files(place: Path, deep: bool, study: Path) -> Iterator[os.DirEntry[str]]:
    waiting = [str(place)]
    while waiting:
        folder = waiting.pop()
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError:
            continue
        names = {entry.name for entry in entries}
        if Path(folder) == study or "study.json" in names or {"work", "logs"} <= names:
            continue
        for entry in entries:
            if entry.name.startswith(".") or entry.name == "__pycache__" or entry.is_symlink():
                continue
            if entry.is_file():
                if not _BY_HAND.fullmatch(entry.name):
                    yield entry
            elif deep and entry.is_dir():
                waiting.append(entry.path)


def _held() -> set[str]:
    """Return the files open in any process, such as the log that a shell or `tee` keeps of this one."""
    found: set[str] = set()
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):
            found.add(str(link.readlink()))
    return found
