"""Where a study can be kept: a folder, or objects in a bucket, behind the same few verbs."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

from nondet.study.places.base import Lease, Leased, Place

__all__ = ["Lease", "Leased", "Place", "address_of", "place_of"]

SCHEMES = ("s3", "gs", "az")

_ADDRESS = re.compile(rf"({'|'.join(SCHEMES)}):/{{1,2}}([^/].*)")  # a path on the command line has lost one slash


def address_of(given: object) -> str | None:
    """The address of a bucket's part, such as `s3://bucket/path`, if that is what was given."""
    found = _ADDRESS.fullmatch(str(given))
    return f"{found[1]}://{found[2].strip('/')}" if found else None


@lru_cache
def _objects(address: str) -> Place:
    from nondet.study.places.objects import Objects

    return Objects(address)


def place_of(given: str | Path) -> Place:
    """The place that an address or a folder names."""
    from nondet.study.places.folder import Folder

    address = address_of(given)
    return _objects(address) if address else Folder(Path(given))
