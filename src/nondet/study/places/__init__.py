"""Where a study can be kept: a folder, or objects in a bucket, behind the same few verbs."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, Protocol

SCHEMES = ("s3", "gs", "az")

_ADDRESS = re.compile(rf"({'|'.join(SCHEMES)}):/{{1,2}}([^/].*)")  # a path on the command line has lost one slash


class Lease(Protocol):
    """The right to make something, as long as it is renewed."""

    def renew(self) -> bool:
        """Keep it; False if somebody else has it by now."""
        ...

    def release(self) -> None:
        """Give it back."""
        ...

    def end(self) -> None:
        """Leave it as a mark that the work is done, for whoever has not heard of that."""
        ...


class Leased(NamedTuple):
    """What a list tells of a lease. ended: its tag, if nobody has put it for as long as one lasts. done: it is a mark."""

    ended: str | None = None
    done: bool = False


class Place(Protocol):
    """Named bytes, as `runs/KEY.json`: whole or not there at all, and the first writer wins."""

    def create(self, name: str, content: bytes) -> bool:
        """Keep these bytes under a name that is free; False if it is taken, which changes nothing."""
        ...

    def read(self, name: str) -> bytes | None:
        """The bytes under a name; None if there are none."""
        ...

    def list(self, part: str) -> set[str]:
        """The names of nondet's own in one part of a study, such as `runs`. The newest may be lacking."""
        ...

    def lease(self, key: str, ended: str | None = None) -> Lease | None:
        """The right to make a run; None if somebody else has it. It ends with its holder.

        ended: what `leased` gave for it: it is taken over if nobody has renewed or taken it since.
        """
        ...

    def leased(self, *, exact: bool = False) -> dict[str, Leased]:
        """What has been leased, as far as a list tells.

        exact: find out what time it is, where others may be silent.
        """
        ...

    def swap(self, name: str, before: bytes | None, content: bytes) -> bool:
        """Put these bytes in place of others; False if others are there by now than were read before."""
        ...

    def remove(self, *names: str) -> None:
        """Take names away that are there."""
        ...


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
