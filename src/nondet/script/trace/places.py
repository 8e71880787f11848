"""Which lines are the user's own."""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType

_PACKAGE = str(Path(__file__).resolve().parents[2])
_LIBRARY = (sys.base_prefix, sys.prefix, _PACKAGE, "<")
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
"""Files of the standard library that do what their caller asks for."""


def above(levels: int = 1) -> FrameType:
    """The frame of who has called the function that asks, or so many levels above it."""
    return sys._getframe(levels + 1)  # pyright: ignore[reportPrivateUsage]


def is_own(file: str) -> bool:
    """Whether a file is neither Python's, nor a package's, nor nondet's."""
    return not file.startswith(_LIBRARY) and "-packages" not in file


def caller(frame: FrameType | None, far: bool = False) -> str:
    """FILE:LINE of the user's code that calls; empty if a library does.

    far: look past libraries, to the user's line that leads there.
    """
    while frame is not None:
        file = frame.f_code.co_filename
        if is_own(file):
            return f"{short(file)}:{frame.f_lineno}"
        if not far and not file.startswith(_PACKAGE) and not file.endswith(_THROUGH):
            return ""
        frame = frame.f_back
    return ""


def short(file: str) -> str:
    """A file as its reader knows it: from the folder that the script runs in, where it is in there."""
    for folder in _here():
        if file.startswith(folder):
            return file[len(folder) :]
    return file


def _here() -> list[str]:
    return [str(Path.cwd()) + "/", *_ORIGINAL]


_ORIGINAL: list[str] = []


def stands_for(folder: str) -> None:
    """The folder in which the command was given: its files are linked where the script runs."""
    _ORIGINAL.append(folder.rstrip("/") + "/")
