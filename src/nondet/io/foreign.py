"""What all readers of other people's files share: one sentence for any error, no traps, and space for large arrays."""

import math
import os
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from nondet.errors import BadInput
from nondet.io.nearest import did_you_mean_file

Array = NDArray[Any]

LABELS = ("labels", "label")
TRUTHS = (*LABELS, "label_ids", "targets", "target", "y_true", "y")
"""Names of arrays of labels."""

IN_MEMORY = 2**28
"""Most bytes of an array that is kept in memory if it cannot be mapped; a larger one goes to a temporary file."""

GROWTH, GROWN = 200, 2**30
"""A file that expands to over GROWTH times its own size and over GROWN bytes counts as a trap and is refused."""


def refuse_no_file(path: Path) -> None:
    """Raise BadInput for a socket, a device, or a pipe, which can be read only once and may block."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise BadInput(f"{path} must be a file or a folder (got a device or a pipe); save its content to a file")


@contextmanager
def reading(path: Path, rule: str, way_out: str) -> Generator[None]:
    """Turn whatever error a parser meets in a bad file into one sentence."""
    refuse_no_file(path)
    try:
        yield
    except BadInput:
        raise
    except Exception as error:
        reason = "".join(filter(str.isprintable, next(iter(str(error).splitlines()), "")))[:200].rstrip(".")
        if isinstance(error, OSError):
            near = did_you_mean_file(path, " ({})")
            raise BadInput(
                f"cannot read {path}: {error.strerror or reason}{near}; give the path of a .npy, .npz, .safetensors, "
                ".parquet or .csv file, or of a folder of them"
            ) from error
        raise BadInput(f"{path} must be {rule} ({reason or type(error).__name__}); {way_out}") from error


def refuse_traps(path: Path, held: int) -> None:
    """Refuse a compressed file that claims to contain far more bytes than it has."""
    size = path.stat().st_size
    if held > max(GROWN, GROWTH * size):
        raise BadInput(
            f"{path} must not contain over {GROWTH} times its size (got {held} bytes in a file of {size}); "
            "write the array as .npy, which is read as it is"
        )


def scratch(shape: Sequence[int], dtype: DTypeLike) -> Array:
    """Return an array to be filled: in memory or, if it is large, in a nameless temporary file that goes with it."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size <= IN_MEMORY:
        return np.empty(shape, dtype)
    with TemporaryFile() as file:
        try:
            if hasattr(os, "posix_fallocate"):  # a full disk must be an error here, not a crash at a later write
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                file.truncate(size)
        except OSError as error:
            raise BadInput(
                f"the temporary folder must have space for {size} bytes (got: {error.strerror}); "
                "name another one in the variable TMPDIR"
            ) from error
        return np.memmap(file, dtype, "r+", shape=tuple(shape))
