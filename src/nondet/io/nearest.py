"""Did you mean: the known name, or the existing file, that is nearest to an unknown one."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from difflib import SequenceMatcher, get_close_matches
from itertools import islice
from os import scandir
from os.path import commonprefix
from pathlib import Path

from nondet.errors import BadInput

ALIKE = 0.6
"""How similar two names must be, from 0 to 1, for one to be a misspelling of the other: difflib's usual bound."""

LOOKED_AT = 10_000
"""Most names in a folder that are compared."""


def did_you_mean(name: object, known: Iterable[str], form: str = " ({})") -> str:
    """Return `did you mean X?` in the given form if one of the known names is near; else nothing."""
    near = nearest(str(name), known)
    return form.format(f"did you mean {near}?") if near else ""


def did_you_mean_file(path: str | Path, form: str = "; {}") -> str:
    """Return `did you mean X?` for a path that does not exist, if a file or folder with a near name does."""
    near = nearest_file(Path(path))
    return form.format(f"did you mean {near}?") if near else ""


def require_there(path: object) -> None:
    """Raise BadInput if a path, or that of `PATH:name`, does not exist; anything but a path on this machine passes."""
    head, _, _ = str(path).rpartition(":")
    if not isinstance(path, str | Path) or "://" in str(path) or Path(path).exists() or (head and Path(head).exists()):
        return
    raise BadInput(f"a path must exist (got {path}, which does not{did_you_mean_file(path)}); give another path")


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the nearest known name, ignoring case; empty if none is near."""
    folded: dict[str, str] = {}
    for other in known:
        folded.setdefault(other.casefold(), other)
    word = name.casefold()
    close = get_close_matches(word, folded, len(folded) or 1, ALIKE)

    def likeness(other: str) -> tuple[float, int]:  # if two are equally near, prefer the longer common beginning
        return SequenceMatcher(None, other, word).ratio(), len(commonprefix([other, word]))  # noqa: RUF071 - letters

    return folded[max((other for other in folded if other in close), key=likeness)] if close else ""


def nearest_file(path: Path) -> str:
    """Return the path with each part that does not exist replaced by the nearest one that does.

    It is empty if a part has none near it, or if all parts exist. Folders are listed, and no file is opened.
    """
    found = Path(path.anchor)
    with suppress(OSError, ValueError):  # an unreadable folder, an impossible name
        for part in path.parts[len(found.parts) :]:
            there = (found / part).exists()
            near = part if there else nearest(part, _names(found))
            if not near:
                return ""
            found /= near
        return "" if found == path else str(found)
    return ""


def _names(folder: Path) -> list[str]:
    with scandir(folder) as entries:
        return sorted(entry.name for entry in islice(entries, LOOKED_AT))
