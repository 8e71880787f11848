"""Files that are there whole or not at all, and JSON that proves it was not changed."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nondet.errors import Damaged

_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP)
"""What file systems without hard links answer: there, two writers at the same moment may both think they were first."""


def write_file(path: Path, content: bytes, *, replace: bool = False) -> bool:
    """Write a file whole or not at all: temporary file, flush, fsync, final name, fsync of the folder.

    Without `replace` the first writer wins: an existing file stays, and the answer is False.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".writing-", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), 0o644)
            os.fsync(file.fileno())
        if replace:
            temporary.replace(path)
        else:
            try:
                path.hardlink_to(temporary)
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                if path.exists():
                    return False
                temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)
    return True


def sync_folder(folder: Path) -> None:
    """Make a folder's own entries durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def with_digest(payload: bytes) -> bytes:
    """Bytes behind a line with their SHA-256."""
    return hashlib.sha256(payload).hexdigest().encode() + b"\n" + payload


def checked_payload(content: bytes) -> bytes | None:
    """The bytes that `with_digest` took, or None if they are not what was written."""
    digest, _, payload = content.partition(b"\n")
    return payload if digest == hashlib.sha256(payload).hexdigest().encode() else None


def sealed(record: Mapping[str, Any]) -> bytes:
    """A record as JSON text that ends with the SHA-256 of the rest."""
    body = dict(record)
    body["sha256"] = hashlib.sha256(_text(record).encode()).hexdigest()
    return _text(body).encode()


def unsealed(content: bytes, path: Path) -> dict[str, Any]:
    """The record in sealed JSON text; Damaged if one byte of it is not what was written."""
    try:
        record = json.loads(content)
        del record["sha256"]
        sound = sealed(record) == content
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise Damaged(f"{path} is damaged: it is not a whole sealed record") from error
    if not sound:
        raise Damaged(f"{path} is damaged: its content does not match its SHA-256")
    return record


def _text(record: Mapping[str, Any]) -> str:
    return json.dumps(record, indent=1, ensure_ascii=True, allow_nan=False) + "\n"
