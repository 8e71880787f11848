"""Arrays of others, read from files as data: mapped, never unpickled."""

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
        return np.lib.format.open_memmap(path, mode="r")
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror or error}; give the path of a .npy file") from error
    except (ValueError, TypeError, EOFError, SyntaxError, MemoryError) as error:
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise BadInput(
            f"{path} must be a whole .npy file of numbers ({reason.rstrip('.')}); write it with numpy.save"
        ) from error
