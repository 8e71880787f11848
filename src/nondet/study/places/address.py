"""Addresses of studies in buckets, such as `s3://bucket/path`: plain names, and never a secret in them."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from nondet.errors import BadInput

SCHEMES = ("s3", "gs", "az")

_ADDRESS = re.compile(
    rf"({'|'.join(SCHEMES)}):(?:/{{1,2}}(.*))?", re.IGNORECASE | re.DOTALL
)  # a `Path` has lost slashes
_OTHER = re.compile(r"(https?|s3a|gcs|abfss?|wasbs?|azure):/.*", re.IGNORECASE | re.DOTALL)
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,221}")
_KEPT = set("?#%\\")
"""Characters that mean something else in an address."""


def address_of(given: object) -> str | None:
    """The address of a bucket's part, such as `s3://bucket/path`, if that is what was given.

    Raises:
        BadInput: it begins like one, and is none. It is not repeated, since it may hold a secret.
    """
    found = _ADDRESS.fullmatch(str(given))
    if found is None and not _OTHER.fullmatch(str(given)):
        return None
    bucket, _, path = (found[2] or "").rstrip("/").partition("/") if found else ("", "", "")
    if found is None or not _BUCKET.fullmatch(bucket) or not _is_path(path):
        raise BadInput(
            "the address of a study must be s3://bucket/path, gs://bucket/path or az://container/path, with a name of "
            "letters, digits, dots and dashes, and a path without empty parts, `..` and ?#%\\ (got another, which is "
            "not shown, since there may be a secret in it); give credentials by the environment, such as "
            "AWS_ACCESS_KEY_ID"
        )
    return f"{found[1].lower()}://{bucket}{f'/{path}' if path else ''}"


def _is_path(path: str) -> bool:
    parts = PurePosixPath(path).parts
    return not path or (
        path.isprintable() and not _KEPT & set(path) and "/".join(parts) == path and not {".", ".."} & set(parts)
    )
