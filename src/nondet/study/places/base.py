"""What every place can do, and what it gives."""

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
        """Leave it as a mark that the work is done, for whoever has not heard of that."""
        ...


class Leased(NamedTuple):
    """What a list tells of a lease. ended: its tag, if nobody has put it for as long as one lasts. done: a mark."""

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
