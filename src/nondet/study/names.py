"""Which names in a study's folder are nondet's own. Nothing else in it is ever counted, moved, overwritten or deleted.

A user's folder may well contain `runs/` (TensorBoard's name) or `figures/` already.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

_KEY = "[0-9a-f]{64}"
_VARIED = r"(reference|[A-Za-z_][\w.-]*=[0-9]+(,[A-Za-z_][\w.-]*=[0-9]+)*)(@[0-9]+)?(~[0-9]+)?"
PARTS = {
    "runs": rf"{_KEY}\.(json|safetensors)",
    "trunks": rf"{_KEY}\.[0-9]+\.snapshot",
    "partial": rf"{_KEY}\.snapshot|claims",
    "evidence": (
        rf"{_KEY}\.([0-9a-f]{{16}}|damaged[0-9]+)\.(json|safetensors)"
        rf"|{_KEY}(\.[0-9]+)?\.damaged[0-9]+\.snapshot|study\.damaged[0-9]+\.json"
    ),
    "work": _VARIED,  # the working folders of a script's runs
    "logs": rf"{_VARIED}\.txt|slurm-[0-9]+_[0-9]+\.log",
    "leases": rf"{_KEY}|clock",  # in a bucket
}
MIRROR = "mirror.json"
"""The file that says which study in a bucket a folder mirrors."""
_WRITING = r"\.writing-[a-z0-9_]+"
_PAGES = ("report.html", "figures")
"""What `nondet report` and `nondet figures` write next to the runs by default."""


def run_names(key: str) -> tuple[str, str]:
    """Return the names of a run's blob and of its record."""
    return f"runs/{key}.safetensors", f"runs/{key}.json"


def is_own(part: str, name: str) -> bool:
    """Whether a name in one part of a study is nondet's."""
    return re.fullmatch(PARTS[part], name) is not None


def own_names(folder: Path, part: str) -> list[str]:
    """Return nondet's own names in one of a study's folders, such as runs, trunks, partial or evidence."""
    try:
        with os.scandir(folder / part) as entries:
            return [entry.name for entry in entries if is_own(part, entry.name)]
    except (FileNotFoundError, NotADirectoryError):
        return []


def own_files(folder: Path, part: str) -> list[Path]:
    """Return the paths with nondet's own names in one of a study's folders, sorted."""
    return [folder / part / name for name in sorted(own_names(folder, part))]


def links(folder: Path) -> list[Path]:
    """Return the study's own files that are symbolic links: a copy of the folder may lack what they point to."""
    own = [folder / "study.json", *(path for part in PARTS for path in own_files(folder, part))]
    return [path for path in own if path.is_symlink() and path.parent.name != "evidence"]


def linked_folders(folder: Path) -> list[Path]:
    """Return the folders of a study that are symbolic links."""
    return [folder / part for part in PARTS if (folder / part).is_symlink()]


def unfinished_files(folder: Path) -> list[Path]:
    """Return the temporary files in a study's folders; their writers are at work or were killed."""
    found: list[Path] = []
    for place in (folder, *(folder / part for part in (*PARTS, "figures"))):
        if place.is_dir():
            found += sorted(path for path in place.iterdir() if re.fullmatch(_WRITING, path.name))
    return found


def first_foreign(folder: Path) -> Path | None:
    """Return something that nondet did not write in a folder without a study, if there is anything."""
    for path in sorted(folder.iterdir()):
        if path.name in PARTS and path.is_dir():
            known = rf"{PARTS[path.name]}|{_WRITING}"
            others = [inner for inner in sorted(path.iterdir()) if not re.fullmatch(known, inner.name)]
            if others:
                return others[0]
        elif (
            path.name != MIRROR
            and not re.fullmatch(_WRITING, path.name)
            and not (path.name in _PAGES and own_files(folder, "runs"))
        ):
            return path
    return None


def study_that_owns(path: Path) -> Path | None:
    """Return the study's folder if a file of this name would be among a study's own files, links included."""
    for whole in (path.absolute(), path.resolve()):
        for folder in whole.parents:
            part = whole.relative_to(folder).parts[0].casefold()
            if (part == "study.json" or part in PARTS) and (
                (folder / "study.json").exists() or own_files(folder, "runs")
            ):
                return folder
    return None
