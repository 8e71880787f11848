"""What the commands may write over: never a file of a study, whichever, nor a file that nondet did not make."""

from __future__ import annotations

from pathlib import Path

from nondet.errors import BadInput
from nondet.study.names import study_that_owns

_PAGE = b'<meta name="generator" content="nondet">'


def page_to_write(path: Path, option: str) -> Path:
    """The file to write a page to, links followed; BadInput where something else than a page of nondet stands."""
    if path.is_dir():
        raise BadInput(
            f"{option} must name a file, and {path} is a folder; name one in it, such as {path / 'report.html'}"
        )
    require_outside_studies(path, option)
    target = path.resolve()
    if target.exists() and not (target.is_file() and _is_page(target)):
        raise BadInput(
            f"{option} must name a new file or a page that nondet made, and {path} is another file; name another"
        )
    return target


def require_outside_studies(path: Path, option: str) -> None:
    """BadInput for a file that stands, or would stand, among the files that a study is made of."""
    study = study_that_owns(path)
    if study is not None:
        raise BadInput(f"{option} must not name a file of a study, and {path} is one of {study}; name another")


def require_plain(path: Path, option: str) -> None:
    """BadInput for a file that cannot be replaced: one of a study, a folder, a pipe or a device."""
    require_outside_studies(path, option)
    if path.exists() and not path.is_file():
        raise BadInput(f"{option} must be a folder for new files, and {path} in it is no plain file; name another")


def _is_page(path: Path) -> bool:
    with path.open("rb") as file:
        beginning = file.read(1 << 16)
    return not beginning or _PAGE in beginning
