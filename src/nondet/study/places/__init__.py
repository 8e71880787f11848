"""Where a study can be kept: a folder, or objects in a bucket, which can do the same for it."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from nondet.errors import BadInput
from nondet.io import locks
from nondet.io.files import write_file
from nondet.study.names import own_names
from nondet.study.places.objects import Objects

SCHEMES = ("s3", "gs", "az")

_ADDRESS = re.compile(rf"({'|'.join(SCHEMES)}):(?:/{{1,2}}(.*))?", re.IGNORECASE | re.DOTALL)  # a `Path` loses slashes
_OTHER = re.compile(r"(https?|s3a|gcs|abfss?|wasbs?|azure):/.*", re.IGNORECASE | re.DOTALL)
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,221}")
_KEPT = set("?#%\\")
"""Characters that have another meaning in an address."""


def place_of(given: str | Path) -> Folder | Objects:
    """The place that an address or a folder names."""
    address = address_of(given)
    return Objects(address) if address else Folder(Path(given))


def address_of(given: object) -> str | None:
    """Return the address of a place in a bucket, such as `s3://bucket/path`, if that is what was given; else None.

    Raises:
        BadInput: it begins like an address and is not one. The message does not repeat it: it may contain a secret.
    """
    found = _ADDRESS.fullmatch(str(given))
    if found is None and not _OTHER.fullmatch(str(given)):
        return None
    bucket, _, path = (found[2] or "").rstrip("/").partition("/") if found else ("", "", "")
    if found is None or not _BUCKET.fullmatch(bucket) or not _is_path(path):
        raise BadInput(
            "the address of a study must be s3://bucket/path, gs://bucket/path or az://container/path, with a name of "
            "letters, digits, dots and dashes, and a path without empty parts, `..` or any of ?#%\\ (got another, "
            "which is not shown, since it may contain a secret); give credentials in environment variables, such as "
            "AWS_ACCESS_KEY_ID"
        )
    return f"{found[1].lower()}://{bucket}{f'/{path}' if path else ''}"


def _is_path(path: str) -> bool:
    parts = PurePosixPath(path).parts
    return not path or (
        path.isprintable() and not _KEPT & set(path) and "/".join(parts) == path and not {".", ".."} & set(parts)
    )


@dataclass(frozen=True)
class Folder:
    """Files in a folder; see `Objects` for what its methods promise."""

    path: Path

    def create(self, name: str, content: bytes) -> bool:
        return write_file(self.path / name, content)

    def read(self, name: str) -> bytes | None:
        with suppress(FileNotFoundError, NotADirectoryError):
            return (self.path / name).read_bytes()
        return None

    def list(self, part: str) -> set[str]:
        return {f"{part}/{name}" for name in own_names(self.path, part)}

    def swap(self, name: str, before: bytes | None, content: bytes) -> bool:
        self.path.mkdir(parents=True, exist_ok=True)
        with locks.folder_lock(self.path):
            if self.read(name) != before:
                return False
            write_file(self.path / name, content, replace=True)
        return True
