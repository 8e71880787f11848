"""The streams of `other`: one for each place in the script that draws, so that one more draw changes no other place.

A place is named by its module (`__main__` is the script, however it is started), its function and the text of its line;
equal ones are numbered in order. So lines that are added elsewhere change no name. What a library draws comes from one
stream, in order. So does everything that the script draws after it has read a generator's state, to restore it later.

If the script seeds a library again with the same number, the first place that draws then gets the stream of the place
that drew first after the earlier seeding, and so on. What was equal stays equal.
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
        self._orders: dict[tuple[str, int], list[tuple[object, ...]]] = {}  # for each seed that a library was given
        self._names: dict[str, dict[tuple[object, ...], tuple[object, ...]]] = {}  # since its last seed
        self._generators: dict[str, dict[Site, Any]] = {}

    def of(self, frame: FrameType | None) -> Site | None:
        """Return the place of a frame, if the nearest frame outside nondet and torch's loaders is the script's own."""
        while frame is not None:
            code = frame.f_code
            known = self._known.get((id(code), frame.f_lasti))
            if known is None:
                passing = code.co_filename.startswith(HERE) or _LOADERS in code.co_filename
                known = code, passing, None if passing else self._new(frame)
                self._known[id(code), frame.f_lasti] = known
            if not known[1]:
                return known[2]
            frame = frame.f_back
        return None

    @staticmethod
    def is_import(frame: FrameType | None) -> bool:
        """Whether the frame belongs to a library that is being imported."""
        while frame is not None and is_library(frame.f_code.co_filename):
            if frame.f_code.co_filename.startswith("<frozen importlib"):
                return True
            frame = frame.f_back
        return False

    def _new(self, frame: FrameType) -> Site | None:
        code = frame.f_code
        if is_library(code.co_filename):
            return None
        text = linecache.getline(code.co_filename, frame.f_lineno, frame.f_globals).strip()
        base = str(frame.f_globals.get("__name__")), code.co_qualname, text
        self._equal[base] += 1
        return Site(f"{_cell_of(frame) or Path(code.co_filename).name}:{frame.f_lineno}", (*base, self._equal[base]))

    def begin(self, library: str) -> None:
        """Restart all streams of a library, because the script has seeded it."""
        self._names.pop(library, None)
        self._generators.pop(library, None)

    def generator(self, library: str, site: Site, made: Callable[[int], Any]) -> Any:
        """Return the generator of a place. made: returns a generator with a given seed."""
        kept = self._generators.setdefault(library, {})
        if site not in kept:
            kept[site] = made(self._seed(library, site))
        return kept[site]

    def _seed(self, library: str, site: Site) -> int:
        """Return the seed of a place's generator; under an earlier place's name if the script repeats a seed."""
        own, names = self.streams.own.get(library, 0), self._names.setdefault(library, {})
        if site.name not in names:
            order = self._orders.setdefault((library, own), [])
            if len(names) == len(order):
                order.append(site.name if site.name not in order else (*site.name, len(order)))
            names[site.name] = order[len(names)]
        return self.streams.number("other", library, own, "site", *names[site.name])

    def note(self, site: Site) -> None:
        """Note that something is drawn there."""
        self.drawn[site.where] += 1
        self.streams.noted = True

    @contextmanager
    def in_place(self, library: Library, site: Site) -> Generator[None]:
        """Make a library's global generator that of a place, inside the block."""
        kept, before = self._generators.setdefault(library.name, {}), library.get()
        if site in kept:
            library.put(kept[site])
        else:
            library.seed(self._seed(library.name, site))
        try:
            yield
        finally:
            after = library.get()
            if len(after):  # empty for a device that is not in use yet
                kept[site] = after
            self.streams.go_back(library, before)


def _cell_of(frame: FrameType) -> str:
    """Return `cell 3` of a notebook, as it counts them; empty for code in a file."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    known = getattr(getattr(shell, "compile", None), "_filename_map", {})
    return f"cell {known[frame.f_code.co_filename]}" if frame.f_code.co_filename in known else ""


def is_library(file: str) -> bool:
    """Whether a file belongs to Python or to an installed package."""
    return "-packages" in file or file.startswith(("<", sys.base_prefix))


def is_of_python(file: str) -> bool:
    """Whether a file belongs to Python's own library."""
    return "-packages" not in file and file.startswith(_PYTHON)


_PYTHON = str(Path(linecache.__file__).parent)
HERE = str(Path(__file__).resolve().parents[1])
_LOADERS = str(Path("torch", "utils", "data"))
