"""Did you mean: the known name, or the file that is there, that is nearest to one that is not."""

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
"""How alike two names are, from 0 to 1, for one to be meant by the other: difflib's usual bound."""

LOOKED_AT = 10_000
"""Names in a folder that are compared at most."""


def did_you_mean(name: object, known: Iterable[str], form: str = " ({})") -> str:
    """`did you mean X?` in a sentence's form, where one of the known names is near; else nothing."""
    near = nearest(str(name), known)
    return form.format(f"did you mean {near}?") if near else ""


def did_you_mean_file(path: str | Path, form: str = "; {}") -> str:
    """`did you mean X?` of a path at which nothing is, where a file or folder of a near name is; else nothing."""
    near = nearest_file(Path(path))
    return form.format(f"did you mean {near}?") if near else ""


def require_there(path: object) -> None:
    """BadInput for a path at which nothing is, nor at that of `PATH:name`; what is no path of this machine passes."""
    head, _, _ = str(path).rpartition(":")
    if not isinstance(path, str | Path) or "://" in str(path) or Path(path).exists() or (head and Path(head).exists()):
        return
    raise BadInput(f"a file or folder must be there (got {path}, and none is{did_you_mean_file(path)}); give its path")


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name that is nearest, capitals aside; empty if none is near."""
    folded: dict[str, str] = {}
    for other in known:
        folded.setdefault(other.casefold(), other)
    word = name.casefold()
    close = get_close_matches(word, folded, len(folded) or 1, ALIKE)

    def likeness(other: str) -> tuple[float, int]:  # of equally near ones, the first that begins in the same way
        return SequenceMatcher(None, other, word).ratio(), len(commonprefix([other, word]))  # noqa: RUF071 - letters

    return folded[max((other for other in folded if other in close), key=likeness)] if close else ""


def nearest_file(path: Path) -> str:
    """The path with each part that is not there replaced by the nearest one that is; empty if one has none, or all are.

    Folders are looked into, and no file is opened.
    """
    found = Path(path.anchor)
    with suppress(OSError, ValueError):  # a folder that cannot be read, a name that no system takes
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
