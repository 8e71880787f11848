"""Locks on open files, which end with their process: a killed writer leaves nothing locked, and no lock file.

Where the file system or the platform has no locks, everything counts as free: work may be done twice, and the first
writer still wins in the store. A lock file next to the locked one, as the library filelock makes, would be one more
thing that a killed process leaves in a study's folder.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # not a POSIX system
    fcntl = None


@contextmanager
def folder_lock(folder: Path) -> Generator[None]:
    """Let only one process at a time into this block, for one folder."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        lock(handle)
        yield
    finally:
        os.close(handle)


def lock(handle: int) -> None:
    """Lock an open file for as long as it is open here, if there are locks."""
    if fcntl is not None:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)


def nobody_holds(handle: int) -> bool:
    """Whether an open file is certainly locked by nobody else; if so, this process locks it from now on."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def is_at(handle: int, path: Path) -> bool:
    """Whether an open file is still at its path."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False
