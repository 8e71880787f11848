"""Readers for the official files of data sets. Files are untrusted, so sizes are checked before reading."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nondet.errors import BadInput
from nondet.io.files import NotAFile


@dataclass(frozen=True, eq=False)
class Pictures:
    """A data set of pictures: images uint8 (n, C, H, W), labels int64 (n,)."""

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray


def nothing_found(folder: Path, files: str, inside: Iterable[str]) -> BadInput:
    """Return the error for a folder without any of the official files."""
    return BadInput(
        f"the data folder must contain {files}, directly or in its folder {' or '.join(inside)} "
        f"(got {str(folder)!r}, which has none of them); give <<data=DIR>>, where DIR is the unpacked official folder"
    )


@contextmanager
def readable() -> Generator[None]:
    """Turn errors in reading the user's files, in this block or the decorated function, into BadInput."""
    try:
        yield
    except NotAFile as error:  # a pipe, for example, from which reading could wait forever
        raise BadInput(
            f"{str(error.path)!r} must be a plain file (got: {error}); put the official file there"
        ) from error
    except OSError as error:
        if error.filename is None:  # not about a file
            raise
        raise BadInput(
            f"the data must be readable (got {error.strerror or type(error).__name__!r} for {str(error.filename)!r}); "
            "make it readable, or give a copy with <<data=DIR>>"
        ) from error


def unfit(path: Path, rule: str, got: str, way_out: str = "fetch the official file again") -> BadInput:
    """Return the error for a file that is not what it must be."""
    return BadInput(f"{str(path)!r} must {rule} (got {got}); {way_out}")


def file_size(path: Path) -> int:
    """Return the size of a plain file in bytes; BadInput if it is missing or not a plain file."""
    if not path.is_file():
        raise BadInput(f"every official file must be present (got no {str(path)!r}); unpack the official archive again")
    return path.stat().st_size


def checked_labels(path: Path, labels: np.ndarray, classes: int) -> np.ndarray:
    """Return the labels (n,) as int64; BadInput names the first one that is not a class."""
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(wrong):
        raise BadInput(
            f"a label must be from 0 to {classes - 1} (got {labels[wrong[0]]} at example {wrong[0]} of {str(path)!r}); "
            "fetch the official file again"
        )
    return labels.astype(np.int64)
