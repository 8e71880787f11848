"""Find the lines that are the user's own."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from types import FrameType

from nondet.script.sites import HERE, is_library

_THROUGH = (
    "glob.py",
    "pathlib.py",
    "_abc.py",
    "_local.py",
    "os.py",
    "secrets.py",
    "uuid.py",
    "random.py",
    "thread.py",
    "_base.py",
    "/context.py",
    "<frozen os>",
)
"""Files of the standard library that only do what their caller asks for."""


def above(levels: int = 1) -> FrameType:
    """Return the frame of the caller of the function that asks, or one more levels up."""
    return sys._getframe(levels + 1)  # pyright: ignore[reportPrivateUsage]


def is_own(file: str) -> bool:
    """Whether a file belongs neither to Python nor to a package nor to nondet."""
    return not is_library(file) and not file.startswith((sys.prefix, HERE))


def caller(frame: FrameType | None, far: bool = False) -> str:
    """Return FILE:LINE of the user's code that calls; empty if a library does.

    far: look past libraries, to the user's line that leads there.
    """
    while frame is not None:
        file = frame.f_code.co_filename
        if is_own(file):
            return f"{short(file)}:{frame.f_lineno}"
        if not far and not file.startswith(HERE) and not file.endswith(_THROUGH):
            return ""
        frame = frame.f_back
    return ""


def asking(frame: FrameType | None) -> FrameType | None:
    """Return the user's frame that has a seed set; for a helper such as `seed_everything`, the frame that calls it."""
    while frame is not None and not is_own(frame.f_code.co_filename):
        frame = frame.f_back
    while frame is not None and re.search(r"seed|determinis|reproducib", frame.f_code.co_name):
        if frame.f_back is None or not is_own(frame.f_back.f_code.co_filename):
            break
        frame = frame.f_back
    return frame


def short(file: str) -> str:
    """Return a file's path as its reader knows it: relative to the folder that the script runs in, if it is there."""
    for folder in (f"{Path.cwd()}/", *_ORIGINAL):
        if file.startswith(folder):
            return file[len(folder) :]
    return file


_ORIGINAL: list[str] = []


def stands_for(folder: str) -> None:
    """Note the folder in which the command was given; its files are linked to where the script runs."""
    _ORIGINAL.append(folder.rstrip("/") + "/")


MOST_MODULES, MOST_ENTRIES = 200, 1_000
"""How many of the user's modules, and entries of a folder, are looked at: a folder may contain a million pictures."""


def own_modules(words: Sequence[str]) -> list[Path]:
    """Return the script that a command names, the modules next to it, and those in the folders next to it.

    If it names no script, modules in the current folder count.
    """
    script = next((Path(word) for word in words if word.endswith(".py")), None)
    beside = script.parent if script else Path()
    inside = [path for one in _entries(beside) if one.is_dir() for path in _entries(one)]
    found = [path for path in [*_entries(beside), *inside] if path.suffix == ".py" and path != script]
    return [*([script] if script else []), *found[:MOST_MODULES]]


def _entries(folder: Path) -> list[Path]:
    """Return the entries of a folder, except those that are hidden or belong to an environment."""
    try:
        found = sorted(islice(folder.iterdir(), MOST_ENTRIES))
    except OSError:
        return []
    return [one for one in found if not one.name.startswith((".", "site-packages", "__pycache__"))]
