"""Locks that end with their process, so that several can work on one study; a killed one leaves nothing locked.

Where the file system or the platform has no locks, everything is free: the work may be done twice, and the store's
first writer still wins.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from nondet.study.names import own_files

try:
    import fcntl
except ImportError:  # not a POSIX system
    fcntl = None


@contextmanager
def folder_lock(folder: Path) -> Generator[None]:
    """Only one process at a time inside this block, for one folder."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        lock(handle)
        yield
    finally:
        os.close(handle)


def lock(handle: int) -> None:
    """Lock an open file for as long as it is open here, where there are locks."""
    if fcntl is not None:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)


def nobody_holds(handle: int) -> bool:
    """Whether an open file is certainly locked by nobody: it is locked by this process from now on."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def is_at(handle: int, path: Path) -> bool:
    """Whether an open file still stands at its path."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


@contextmanager
def claim(folder: Path, keys: Sequence[str], choose: Callable[[Sequence[str]], list[str]]) -> Generator[list[str]]:
    """Claim runs for this process: `choose` picks from those that no other process claims; the rest stay free.

    A claim is a lock on one byte of the file `partial/claims`, whose place is the key's number.
    """
    path = folder / "partial" / "claims"
    handle = _open(path)
    try:
        free = [key for key in keys if _lock(handle, key)]
        if not is_at(handle, path):  # cleared by a process that finished, between opening and locking
            free = []
        chosen = choose(free)
        for key in set(free) - set(chosen):
            _unlock(handle, key)
        yield chosen
    finally:
        os.close(handle)  # the end of all its locks


def clear(folder: Path) -> None:
    """Remove the folder `partial` with the snapshots left in it, unless a process has claims there.

    A file of somebody else stays, and the folder with it. The claims go last, and are made anew where a killed process
    left snapshots without them.
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
    for _ in range(100):  # a process that finishes clears the folder: perhaps between these two lines
        path.parent.mkdir(parents=True, exist_ok=True)
        for flags in (0, os.O_CREAT):  # a shared folder may let nobody create over a file of another user
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


def _unlock(handle: int, key: str) -> None:
    if fcntl is not None:
        with suppress(OSError):
            fcntl.lockf(handle, fcntl.LOCK_UN, 1, int(key[:15], 16))
