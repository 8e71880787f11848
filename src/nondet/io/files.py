"""Files that are complete or not there at all, and JSON: of unknown origin, or proof that it was not changed."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import secrets
import stat
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from io import BufferedReader
from pathlib import Path
from typing import Any

from nondet.errors import Damaged
from nondet.io import locks

_NO_LINKS = frozenset(
    getattr(errno, name)
    for name in ("EPERM", "EACCES", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EINVAL", "EXDEV", "EMLINK", "ENOTTY")
    if hasattr(errno, name)
)
"""Errors of file systems that have no hard links, or cannot make this one."""

_NO_SYNC = _NO_LINKS | {errno.EBADF, errno.EISDIR}
"""Errors of file systems that cannot flush a file or a folder on request; a full or broken disk gives others."""


def write_file(path: Path, content: bytes, *, replace: bool = False, flush_folder: bool = True) -> bool:
    """Write a file completely or not at all: temporary file, flush to the disk, final name, flush of the folder.

    Without `replace` the first writer wins: an existing file stays, and the result is False. The file's mode follows
    the umask, so that a group can work in one folder. Without `flush_folder` the caller flushes, after several files.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = _begin(path.parent)
    try:
        try:
            left = memoryview(content)
            while left:
                left = left[os.write(handle, left) :]
            _sync(handle)
            if replace:
                temporary.replace(path)
            elif not _take_name(temporary, path):
                return False
        finally:
            os.close(handle)
    finally:
        temporary.unlink(missing_ok=True)
    if flush_folder:
        sync_folder(path.parent)
    return True


def _begin(folder: Path) -> tuple[int, Path]:
    """Make a temporary file, locked while its handle is open; one that is not locked was left by a killed writer."""
    while True:
        path = folder / f".writing-{secrets.token_hex(4)}"
        with suppress(FileExistsError):
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o666)
            locks.lock(handle)
            if locks.is_at(handle, path):
                return handle, path
            os.close(handle)  # another process removed it before the lock


def _take_name(temporary: Path, path: Path) -> bool:
    """Give a file its final name unless that is taken; return whether it has the name now.

    A hard link does it, which only one writer can make. Without hard links, one writer at a time checks that the name
    is free and renames the file. Without locks either, two writers at the same moment may both think they were first.
    """
    try:
        path.hardlink_to(temporary)
    except FileExistsError:
        with suppress(OSError):
            return path.samefile(temporary)  # on a network the link may exist although the first answer was lost
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        with locks.folder_lock(path.parent):
            if os.path.lexists(path):
                return False
            temporary.replace(path)
    return True


def sync_folder(folder: Path) -> None:
    """Make a folder's own entries durable, if the file system can."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        _sync(handle)
    finally:
        os.close(handle)


def _sync(handle: int) -> None:
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise


class NotAFile(Exception):
    """Something other than a file is in its place, or a file that is far too large; the message says what."""

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(what)
        self.path = path


def open_file(path: Path) -> BufferedReader:
    """Open a regular file for reading; NotAFile for a folder, a pipe, which might block, a socket or a device."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise NotAFile(path, "it is not a file but a socket or a device without a driver") from error
        raise
    mode = os.fstat(handle).st_mode
    if not stat.S_ISREG(mode):
        os.close(handle)
        kinds = ((stat.S_ISDIR, "folder"), (stat.S_ISFIFO, "pipe"))
        raise NotAFile(path, f"it is not a file but a {next((word for test, word in kinds if test(mode)), 'device')}")
    return os.fdopen(handle, "rb")


def read_file(path: Path, at_most: int) -> bytes:
    """Return the content of a regular file of at most `at_most` bytes; NotAFile for a larger one, or no file."""
    with open_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > at_most:
            raise NotAFile(path, f"it has {size:,} bytes, and at most {at_most:,} are allowed")
        return file.read()


def read_plain(path: Path) -> bytes:
    """Return a file's bytes; Damaged if a folder, a pipe or a device is in its place, which might never be read."""
    try:
        with open_file(path) as file:
            return file.read()
    except NotAFile as error:
        raise Damaged(f"{path} is damaged: {error}") from error
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENODEV):
            raise
        raise Damaged(f"{path} is damaged: it is not a file that can be opened") from error


DEEPEST = 100
"""Most levels of nested lists and objects in JSON; what is written again must not be too deep for Python."""


def read_json(content: bytes, check_names: Callable[[Sequence[str]], None] = lambda names: None) -> Any:
    """Return the value in JSON text of unknown origin; `check_names` gets the names of each object's fields.

    Raises:
        ValueError: it is not UTF-8, not JSON, begins with a byte order mark, names a field twice, contains NaN,
            Infinity or a number of thousands of digits, or is nested too deeply.
    """

    def refuse(word: str) -> Any:
        raise ValueError(f"{word} is not a number in JSON")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        check_names([name for name, _ in pairs])
        named = dict(pairs)
        if len(named) < len(pairs):
            raise ValueError("a field appears twice")
        return named

    try:
        value = json.loads(content.decode("utf-8"), object_pairs_hook=unique, parse_constant=refuse)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    level: list[Any] = [value] if isinstance(value, dict | list) else []
    for _ in range(DEEPEST + 1):
        if not level:
            return value
        inside = (each.values() if isinstance(each, dict) else each for each in level)
        level = [each for some in inside for each in some if isinstance(each, dict | list)]
    raise ValueError("it is nested too deeply")


Number = (int, float)


def misfit(value: object, shape: Any, place: str = "") -> str:
    """Return the place in the value that does not have the shape, such as `conditions.0.runs`; empty if all of it has.

    A shape is a type (a bool is not an int); a range of whole numbers; a pattern for a whole text; a tuple of shapes,
    one of which must fit; a list with one shape for every element; or a dictionary. A dictionary has either one shape
    for every value, under the key `str`, or the shapes of named fields; a field whose name ends in ? may be missing.
    Fields that a shape does not name may contain anything.
    """
    if isinstance(shape, tuple):
        found = [misfit(value, each, place) for each in shape]
        return "" if "" in found else max(found, key=len)
    if isinstance(shape, list):
        if not isinstance(value, list):
            return place or "it"
        (each,) = shape
        return next(filter(None, (misfit(v, each, f"{place}.{i}") for i, v in enumerate(value))), "").lstrip(".")
    if isinstance(shape, Mapping):
        if not isinstance(value, Mapping):
            return place or "it"
        return next(filter(None, _misfits(value, shape, place)), "").lstrip(".")
    if isinstance(shape, range):
        return "" if type(value) is int and value in shape else place or "it"
    if isinstance(shape, re.Pattern):
        return "" if isinstance(value, str) and shape.fullmatch(value) else place or "it"
    right = value is None if shape is None else isinstance(value, shape) and (shape is bool or type(value) is not bool)
    return "" if right else place or "it"


def _misfits(value: Mapping[str, object], shape: Mapping[Any, Any], place: str) -> Any:
    if str in shape:
        yield from (misfit(v, shape[str], f"{place}.{name}") for name, v in value.items())
        return
    for field, each in shape.items():
        name = field.removesuffix("?")
        if name in value:
            yield misfit(value[name], each, f"{place}.{name}")
        elif name == field:
            yield f"{place}.{name}"


def with_digest(payload: bytes) -> bytes:
    """Return bytes preceded by a line with their SHA-256."""
    return hashlib.sha256(payload).hexdigest().encode() + b"\n" + payload


def checked_payload(content: bytes) -> bytes | None:
    """Return the bytes that `with_digest` was given; None if they are not what was written."""
    digest, _, payload = content.partition(b"\n")
    return payload if digest == hashlib.sha256(payload).hexdigest().encode() else None


def sealed(record: Mapping[str, Any]) -> bytes:
    """Return a record as JSON text that ends with the SHA-256 of the rest."""
    body = dict(record)
    body["sha256"] = hashlib.sha256(_text(record).encode()).hexdigest()
    return _text(body).encode()


def unsealed(content: bytes, path: Path) -> dict[str, Any]:
    """Return the record in sealed JSON text; Damaged if a single byte is not what was written."""
    try:
        record = read_json(content)
        seal = record.pop("sha256")
        rest = content.removesuffix(f'\n "sha256": "{seal}"\n}}\n'.encode())
        body = b"{}\n" if rest == b"{" else rest.removesuffix(b",") + b"\n}\n"  # what `sealed` hashed
        sound = rest != content and seal == hashlib.sha256(body).hexdigest()
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise Damaged(f"{path} is damaged: it is not a complete sealed record") from error
    if not sound:
        raise Damaged(f"{path} is damaged: its content does not match its SHA-256")
    return record


def _text(record: Mapping[str, Any]) -> str:
    return json.dumps(record, indent=1, ensure_ascii=True, allow_nan=False) + "\n"


def sha256_of_json(value: object) -> str:
    """Return the SHA-256 of a value's canonical JSON form."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, allow_nan=False).encode()).hexdigest()
