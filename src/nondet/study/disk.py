"""Test what the disk of a study can do, and remove what killed writers have left on it."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from nondet.errors import BadInput
from nondet.io import locks
from nondet.io.files import write_file
from nondet.study.names import unfinished_files

_ORDINARY = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EIO,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.ENOENT,
    errno.ENOTDIR,
)
"""Errors that any disk can have: full, broken, read-only, not yours. The command's usual message says enough."""


def probe(folder: Path) -> None:
    """Write, replace and read a small file where runs will be kept, so that errors come before hours of training.

    Raises BadInput if the file system cannot do it at all; a full or broken disk raises the system's own error.
    """
    path = folder / "runs" / f".writing-probe{secrets.token_hex(4)}"
    contents = b"first", b"last"
    try:
        kept = write_file(path, contents[0]) and not write_file(path, contents[1]) and path.read_bytes() == contents[0]
        write_file(path, contents[1], replace=True)
        kept = kept and path.read_bytes() == contents[1]
    except OSError as error:
        if error.errno in _ORDINARY:
            raise
        raise _refusal(folder, error.strerror or str(error)) from error
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)
    if not kept:
        raise _refusal(folder, "a small file read back is not what was written")


def _refusal(folder: Path, why: str) -> BadInput:
    return BadInput(
        f"<<folder>> must be a folder that can store runs, and {folder} cannot ({why}); name one on another disk"
    )


def left_by_killed(folder: Path) -> list[Path]:
    """Return the temporary files in a study's folders that no living writer has open; none where locks cannot tell."""
    return [path for path in unfinished_files(folder) if _is_free(path, remove=False)]


def sweep(folder: Path) -> None:
    """Remove the temporary files that killed writers have left."""
    for path in unfinished_files(folder):
        _is_free(path, remove=True)


def _is_free(path: Path, *, remove: bool) -> bool:
    careful = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0)
    try:
        handle = os.open(path, (os.O_RDWR if remove else os.O_RDONLY) | careful)
    except OSError:
        return False
    try:
        free = stat.S_ISREG(os.fstat(handle).st_mode) and locks.nobody_holds(handle) and locks.is_at(handle, path)
        if free and remove:
            with suppress(OSError):
                path.unlink(missing_ok=True)
        return free
    finally:
        os.close(handle)
