"""What the commands may overwrite: never a file of any study, nor a file that nondet did not make."""

from __future__ import annotations

from pathlib import Path

from nondet.errors import BadInput
from nondet.study.names import study_that_owns

_PAGE = b'<meta name="generator" content="nondet">'


def page_to_write(path: Path, option: str) -> Path:
    """Return the file to write a page to, with links followed; BadInput if it exists and is not a page of nondet."""
    if path.is_dir():
        raise BadInput(
            f"{option} must name a file (got {path}, a folder); name one in it, such as {path / 'report.html'}"
        )
    require_outside_studies(path, option)
    target = path.resolve()
    if target.exists() and not (target.is_file() and _is_page(target)):
        raise BadInput(
            f"{option} must name a new file or a page that nondet made (got {path}, another file); name another"
        )
    return target


def require_outside_studies(path: Path, option: str) -> None:
    """Raise BadInput for a file that is, or would be, one of a study's own files."""
    study = study_that_owns(path)
    if study is not None:
        raise BadInput(f"{option} must not name a file of a study (got {path}, one of {study}); name another")


def require_plain(path: Path, option: str) -> None:
    """Raise BadInput for a file that cannot be replaced: one of a study's, a folder, a pipe or a device."""
    require_outside_studies(path, option)
    if path.exists() and not path.is_file():
        raise BadInput(
            f"{option} must name a folder for new files (got one with {path}, which is not a plain file); name another"
        )


def _is_page(path: Path) -> bool:
    with path.open("rb") as file:
        beginning = file.read(1 << 16)
    return not beginning or _PAGE in beginning
