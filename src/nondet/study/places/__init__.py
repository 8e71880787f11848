"""Where a study can be kept: a folder, or objects in a bucket, behind the same few methods."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from nondet.study.places.address import address_of
from nondet.study.places.base import Lease, Leased, Place

__all__ = ["Lease", "Leased", "Place", "address_of", "place_of"]


@lru_cache
def _objects(address: str) -> Place:
    from nondet.study.places.objects import Objects

    return Objects(address)


def place_of(given: str | Path) -> Place:
    """The place that an address or a folder names."""
    from nondet.study.places.folder import Folder

    address = address_of(given)
    return _objects(address) if address else Folder(Path(given))
