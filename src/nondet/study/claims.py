"""Locks that end with their process, so that several processes can work on one study.

A killed process leaves nothing locked. Where the file system or the platform has no locks, everything counts as free:
work may be done twice, and the first writer still wins in the store.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from nondet.io.locks import is_at
from nondet.study.names import own_files

try:
    import fcntl
except ImportError:  # not a POSIX system
    fcntl = None


@contextmanager
def claiming(folder: Path) -> Generator[Callable[[str], bool]]:
    """Claim runs for this process inside the block, with a function that takes a key unless another process has it.

    A claim is a lock on one byte of the file `partial/claims`; the key decides which byte.
    """
    path = folder / "partial" / "claims"
    handle = _open(path)
    try:
        yield lambda key: _lock(handle, key) and is_at(handle, path)  # a process that finished may have cleared it
    finally:
        os.close(handle)  # releases all its locks


def clear(folder: Path) -> None:
    """Remove the folder `partial` with the snapshots left in it, unless a process has claims there.

    A file that is not nondet's stays, and the folder with it. The file of claims goes last, and is created again if a
    killed process left snapshots without it.
    """
    partial = folder / "partial"
    with suppress(OSError):
        handle = os.open(partial / "claims", os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if fcntl is not None:
                fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for path in sorted(own_files(folder, "partial"), key=lambda path: path.name == "claims"):
                path.unlink(missing_ok=True)
            partial.rmdir()
        finally:
            os.close(handle)


def _open(path: Path) -> int:
    for _ in range(100):  # a process that finishes may clear the folder between these two lines
        path.parent.mkdir(parents=True, exist_ok=True)
        for flags in (0, os.O_CREAT):  # a shared folder may refuse O_CREAT on a file of another user
            with suppress(FileNotFoundError):
                return os.open(path, os.O_RDWR | flags, 0o666)
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))


def _lock(handle: int, key: str) -> bool:
    if fcntl is None:
        return True
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, int(key[:15], 16))
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        return True
    return True


def held(folder: Path, keys: Sequence[str]) -> list[str]:
    """Return the runs that another process is making; empty where there are no locks."""
    if fcntl is None or not (folder / "partial" / "claims").is_file():
        return []
    with claiming(folder) as take:
        return [key for key in keys if not take(key)]
