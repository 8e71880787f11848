"""Arrays of others, read from files as data: mapped, never unpickled."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from nondet.errors import BadInput


def load_npy(path: Path) -> np.ndarray[Any, Any]:
    """Map a .npy file read-only.

    Raises:
        BadInput: the file cannot be read, is no whole .npy file, or holds Python objects.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old headers, which numpy reads all the same
            return np.lib.format.open_memmap(path, mode="r")
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror or error}; give the path of a .npy file") from error
    except Exception as error:  # whatever numpy's parser meets in a header that is not one
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise BadInput(
            f"{path} must be a whole .npy file of numbers ({reason.rstrip('.')}); write it with numpy.save"
        ) from error


def read_outputs(path: Path) -> np.ndarray[Any, Any]:
    """Outputs of runs from a file or a folder: logits `(N, n, c)`, or predicted classes `(N, n)` as integers.

    Raises:
        BadInput: the path cannot be read, or what it holds is no such array.
    """
    return load_npy(path)


def read_labels(path: Path) -> np.ndarray[Any, Any]:
    """Labels `(n,)` from a file: integers.

    Raises:
        BadInput: the path cannot be read, or what it holds is no such array.
    """
    return load_npy(path)
