"""Read a text file with one number in each line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nondet.errors import BadInput
from nondet.io.files import NotAFile, read_file
from nondet.io.foreign import reading

LARGEST = 2**26  # bytes


def read_lines(path: Path) -> NDArray[np.float64] | None:
    """Return the numbers of a file that has one in each line, `(N,)`; None for any other file.

    Raises:
        BadInput: the file cannot be read.
    """
    with reading(path, "numbers as text", "write one number per line"):
        try:
            lines = read_file(path, LARGEST).decode("utf-8-sig").split("\n")
        except NotAFile as error:
            raise BadInput(f"{path} must be a file of numbers as text ({error}); name such a file") from error
    try:
        return np.array([float(line) for line in lines if line.strip()])
    except ValueError:
        return None
