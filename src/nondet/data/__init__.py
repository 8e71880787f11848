"""Readers of data sets' official files. Whatever stands in a file is untrusted: sizes are checked before it is read."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

import numpy as np

from nondet.errors import BadInput
from nondet.io.files import NotAFile, open_file, read_file


@dataclass(frozen=True, eq=False)
class Pictures:
    """A data set of pictures: images uint8 (n, C, H, W), labels int64 (n,)."""

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray


def nothing_found(folder: Path, files: str, inside: Iterable[str]) -> BadInput:
    """The refusal of a folder that has none of the official files."""
    return BadInput(
        f"the data folder must hold {files}, itself or in its folder {' or '.join(inside)} "
        f"(got {str(folder)!r}, which has none of them); give <<data=DIR>>, where DIR is the unpacked official folder"
    )


@contextmanager
def readable() -> Generator[None]:
    """Read the user's files inside the block, or the function it decorates: what the system refuses is BadInput."""
    try:
        yield
    except OSError as error:
        if error.filename is None:  # not about a file
            raise
        raise BadInput(
            f"the data must be readable (got {error.strerror or type(error).__name__!r} for {str(error.filename)!r}); "
            "change that, or give a copy with <<data=DIR>>"
        ) from error


def open_plain(path: Path) -> BufferedReader:
    """Open a file of a data set; BadInput if it is no plain file, such as a pipe, which would be waited for."""
    try:
        return open_file(path)
    except NotAFile as error:
        raise BadInput(f"{str(path)!r} must be a plain file (got: {error}); put the official file there") from error


def read_plain(path: Path, at_most: int) -> bytes:
    """The content of a file of a data set of at most so many bytes; BadInput if it is larger, or no plain file."""
    try:
        return read_file(path, at_most)
    except NotAFile as error:
        raise BadInput(f"{str(path)!r} must be a plain file (got: {error}); put the official file there") from error


def file_size(path: Path) -> int:
    """Bytes in a plain file; BadInput if it is missing, or no plain file."""
    if not path.is_file():
        raise BadInput(f"every official file must be there (got no {str(path)!r}); unpack the official archive again")
    return path.stat().st_size


def checked_labels(path: Path, labels: np.ndarray, classes: int) -> np.ndarray:
    """The labels (n,) as int64; BadInput names the first that is no class."""
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(wrong):
        raise BadInput(
            f"a label must be from 0 to {classes - 1} (got {labels[wrong[0]]} at example {wrong[0]} of {str(path)!r}); "
            "fetch the official file again"
        )
    return labels.astype(np.int64)
