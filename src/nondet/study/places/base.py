"""What every place of a study can do."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Lease(Protocol):
    """The right to make something, as long as it is renewed."""

    def renew(self) -> bool:
        """Keep it; False if somebody else has it by now."""
        ...

    def release(self) -> None:
        """Give it back."""
        ...

    def end(self) -> None:
        """Leave it as a mark that the work is done, for those who do not know yet."""
        ...


class Leased(NamedTuple):
    """What a list says about a lease. ended: its tag, if it has expired. done: whether it marks finished work."""

    ended: str | None = None
    done: bool = False


class Place(Protocol):
    """Named bytes, such as `runs/KEY.json`: complete or not there at all, and the first writer wins."""

    def create(self, name: str, content: bytes) -> bool:
        """Keep these bytes under a name that is free; False if it is taken, which changes nothing."""
        ...

    def read(self, name: str) -> bytes | None:
        """Return the bytes under a name; None if there are none."""
        ...

    def list(self, part: str) -> set[str]:
        """Return nondet's own names in one part of a study, such as `runs`. The newest may be missing."""
        ...

    def lease(self, key: str, ended: str | None = None) -> Lease | None:
        """Take the right to make a run; None if somebody else has it. It ends with its holder.

        ended: the tag that `leased` returned for it; it is taken over if nobody has renewed or taken it since.
        """
        ...

    def leased(self, *, exact: bool = False) -> dict[str, Leased]:
        """Return what has been leased, as far as a list shows.

        exact: ask what time it is, for the case that all others are silent.
        """
        ...

    def swap(self, name: str, before: bytes | None, content: bytes) -> bool:
        """Put these bytes in place of those read before; False if others are there by now."""
        ...

    def remove(self, *names: str) -> None:
        """Remove names that are there."""
        ...
