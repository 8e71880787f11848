"""A folder as a place: it offers the promises of the store's files as a `Place`."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

from nondet.io import locks
from nondet.io.files import write_file
from nondet.study import claims
from nondet.study.names import own_names
from nondet.study.places.base import Leased


@dataclass(frozen=True)
class Folder:
    """Files in a folder. A lease is a lock, which ends with its process."""

    path: Path

    def create(self, name: str, content: bytes) -> bool:
        return write_file(self.path / name, content)

    def read(self, name: str) -> bytes | None:
        with suppress(FileNotFoundError, NotADirectoryError):
            return (self.path / name).read_bytes()
        return None

    def list(self, part: str) -> set[str]:
        return {f"{part}/{name}" for name in own_names(self.path, part)}

    def lease(self, key: str, ended: str | None = None) -> FileLease | None:
        held = ExitStack()
        if held.enter_context(claims.claiming(self.path))(key):
            return FileLease(held)
        held.close()
        return None

    def leased(self, *, exact: bool = False) -> dict[str, Leased]:
        """Return nothing: a lock ends with its process, and only trying shows whether it is held."""
        return {}

    def swap(self, name: str, before: bytes | None, content: bytes) -> bool:
        self.path.mkdir(parents=True, exist_ok=True)
        with locks.folder_lock(self.path):
            if self.read(name) != before:
                return False
            write_file(self.path / name, content, replace=True)
        return True

    def remove(self, *names: str) -> None:
        for name in names:
            (self.path / name).unlink(missing_ok=True)


@dataclass(frozen=True)
class FileLease:
    """A lock on a byte of the study's file of claims."""

    held: ExitStack = field(repr=False)

    def renew(self) -> bool:
        return True

    def release(self) -> None:
        self.held.close()

    def end(self) -> None:
        self.held.close()
