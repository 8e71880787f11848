"""The streams of `other`: one for each place in the script that draws, so that a draw more moves no other's numbers.

A place is named by its module (`__main__` is the script, however it is started), its function and the text of its line,
and among equal ones by their order: lines that are added elsewhere change no name. What a library draws, or what is
drawn after the script has looked at a generator's state, to put it back, comes from one stream, in order.

Where the script seeds a library once more with the same number, the first place that draws then takes the stream
of the first one that drew then, and so on: what was equal stays equal.
"""

from __future__ import annotations

import linecache
import sys
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from nondet.script.streams import Library, Streams


@dataclass(frozen=True, eq=False)
class Site:
    """where: file and line, for people. name: what names its streams."""

    where: str
    name: tuple[object, ...]


class Sites:
    """The places of a script that draw outside all sources, and the generators of each."""

    def __init__(self, streams: Streams) -> None:
        self.streams = streams
        self.in_order: set[str] = set()  # libraries whose draws have one stream
        self.drawn: Counter[str] = Counter()
        self._known: dict[tuple[int, int], tuple[CodeType, bool, Site | None]] = {}  # keeps the code, and so its id
        self._equal: Counter[tuple[object, ...]] = Counter()
        self._orders: dict[tuple[str, int], list[tuple[object, ...]]] = {}  # of each seed that a library was given
        self._names: dict[str, dict[tuple[object, ...], tuple[object, ...]]] = {}  # since it was given the last one
        self._generators: dict[str, dict[Site, Any]] = {}

    def of(self, frame: FrameType | None) -> Site | None:
        """The place of a frame, if the nearest one that is not nondet's or a loader's is the script's own."""
        while frame is not None:
            code = frame.f_code
            known = self._known.get((id(code), frame.f_lasti))
            if known is None:
                passing = code.co_filename.startswith(_HERE) or _LOADERS in code.co_filename
                known = code, passing, None if passing else self._new(frame)
                self._known[id(code), frame.f_lasti] = known
            if not known[1]:
                return known[2]
            frame = frame.f_back
        return None

    @staticmethod
    def is_import(frame: FrameType | None) -> bool:
        """Whether the frame is a library's, at its import."""
        while frame is not None and _is_library(frame.f_code.co_filename):
            if frame.f_code.co_filename.startswith("<frozen importlib"):
                return True
            frame = frame.f_back
        return False

    def _new(self, frame: FrameType) -> Site | None:
        code = frame.f_code
        if _is_library(code.co_filename):
            return None
        text = linecache.getline(code.co_filename, frame.f_lineno, frame.f_globals).strip()
        base = str(frame.f_globals.get("__name__")), code.co_qualname, text
        self._equal[base] += 1
        return Site(f"{_cell_of(frame) or Path(code.co_filename).name}:{frame.f_lineno}", (*base, self._equal[base]))

    def begin(self, library: str) -> None:
        """The script has seeded a library: all its streams begin anew."""
        self._names.pop(library, None)
        self._generators.pop(library, None)

    def generator(self, library: str, site: Site, made: Callable[[int], Any]) -> Any:
        """The generator of a place. made: one of this seed."""
        kept = self._generators.setdefault(library, {})
        if site not in kept:
            kept[site] = made(self._seed(library, site))
        return kept[site]

    def _seed(self, library: str, site: Site) -> int:
        """What seeds the generator of a place: under another's name where its seed was given before, see above."""
        own, names = self.streams.own.get(library, 0), self._names.setdefault(library, {})
        if site.name not in names:
            order = self._orders.setdefault((library, own), [])
            if len(names) == len(order):
                order.append(site.name if site.name not in order else (*site.name, len(order)))
            names[site.name] = order[len(names)]
        return self.streams.number("other", library, own, "site", *names[site.name])

    def note(self, site: Site) -> None:
        """Something is drawn there."""
        self.drawn[site.where] += 1
        self.streams.noted = True

    @contextmanager
    def in_place(self, library: Library, site: Site) -> Generator[None]:
        """Inside the block a library's global generator is that of a place."""
        kept, before = self._generators.setdefault(library.name, {}), library.get()
        if site in kept:
            library.put(kept[site])
        else:
            library.seed(self._seed(library.name, site))
        try:
            yield
        finally:
            after = library.get()
            if len(after):  # of a device that is not in use yet it is empty
                kept[site] = after
            self.streams.go_back(library, before)


def _cell_of(frame: FrameType) -> str:
    """`cell 3` of a notebook, as it counts them; empty for what stands in a file."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    known = getattr(getattr(shell, "compile", None), "_filename_map", {})
    return f"cell {known[frame.f_code.co_filename]}" if frame.f_code.co_filename in known else ""


def _is_library(file: str) -> bool:
    return "-packages" in file or file.startswith(("<", sys.base_prefix))


def is_of_python(file: str) -> bool:
    """Whether a file is of Python's own library."""
    return "-packages" not in file and file.startswith(_PYTHON)


_PYTHON = str(Path(linecache.__file__).parent)
_HERE = str(Path(__file__).resolve().parents[1])
_LOADERS = str(Path("torch", "utils", "data"))
