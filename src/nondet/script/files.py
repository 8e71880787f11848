"""Find the files that a script writes outside its run's folder: two runs at a time would collide there."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from os import getpid
from pathlib import Path
from typing import Any, TypeGuard

from nondet.script.instead import instead_of

_HOME = os.path.expanduser("~")  # noqa: PTH111 - a text, to begin others
_PASSING = ("/dev/", "/proc/", f"{_HOME}/.")
"""Devices, and the caches and settings of libraries: not files of the script's own."""

_TEMPORARY = tuple(f"{os.path.realpath(place)}{os.sep}" for place in (os.environ.get("TMPDIR", "/tmp"), "/tmp"))
_CACHES = ("__pycache__", "torchinductor_", "torchelastic_")
_MOST = 20


class Files:
    """Notes what this process writes outside the folder `own`.

    Python reports each file that it opens, renames or links. Files that C++, Rust or C code writes are noted when a
    library in `watch` is called. Temporary files count only if the script names them: `tempfile` never gives a name
    twice.
    """

    def __init__(self, own: str, here: str, ledger: dict[str, Any]) -> None:
        self.own, self.here = f"{os.path.realpath(own)}{os.sep}", f"{here or own}{os.sep}"
        self.found: list[str] = ledger.setdefault("outside", [])
        self.once: set[str] = set()  # what `tempfile` has made
        self.main = getpid()

    def watch(self, after_import: Callable[[dict[str, Callable[[], None]]], None]) -> None:
        """Start watching. after_import: calls functions once the modules of their names are imported."""
        sys.addaudithook(self._audit)
        after_import({"torch": self._torch, "safetensors": self._safetensors, "h5py": self._h5py})

    def note(self, path: object) -> None:
        """Note that a file of this name is written."""
        if getpid() != self.main or len(self.found) >= _MOST or not _is_path(path):
            return
        real = os.path.realpath(path)
        if not isinstance(real, str) or real.startswith(self.own) or any(name in real for name in _CACHES):
            return
        passing = real.startswith(_PASSING) or (real.startswith(_TEMPORARY) and self._made(real))
        if real not in self.found and (real.startswith(self.here) or not passing):
            self.found.append(real)

    def _made(self, real: str) -> bool:
        """Whether it is a temporary file whose name no other process has, or is in such a folder."""
        return any(one in self.once for one in (real, *map(str, Path(real).parents)))

    def _audit(self, event: str, given: tuple[Any, ...]) -> None:
        if event == "open":
            path, mode, flags = given
            if {*mode} & {*"wax+"} if isinstance(mode, str) else flags & (os.O_WRONLY | os.O_RDWR):
                if flags & os.O_EXCL and isinstance(path, str):  # a new file; no other gets its name by chance
                    self.once.add(os.path.realpath(path))
                self.note(path)
        elif event in ("os.rename", "os.link", "os.symlink"):
            self.note(given[1])
        elif event in ("tempfile.mkstemp", "tempfile.mkdtemp"):
            self.once.add(os.path.realpath(given[0]))
        elif event == "sqlite3.connect":
            self.note(given[0] if given[0] != ":memory:" else None)

    def _notes(self, name: str, *homes: Any) -> None:
        """Take over a function that writes a file; its path is the second argument, or one that is named."""
        write = getattr(homes[0], name)

        @instead_of(homes[0], name, *homes[1:])
        def noting(*args: Any, **words: Any) -> Any:
            self.note(args[1] if len(args) > 1 else next(filter(_is_path, words.values()), None))
            return write(*args, **words)

    def _torch(self) -> None:
        torch, note = sys.modules["torch"], self.note

        class PyTorchFileWriter(torch._C.PyTorchFileWriter):
            def __init__(self, file: Any, *args: Any, **words: Any) -> None:
                note(file)
                super().__init__(file, *args, **words)

        torch._C.PyTorchFileWriter = PyTorchFileWriter
        self._notes("save", torch.jit)
        self._notes("save", torch.jit.RecursiveScriptModule)

    def _safetensors(self) -> None:
        plain = sys.modules["safetensors"].serialize_file
        modules = [module for name, module in [*sys.modules.items()] if name.partition(".")[0] == "safetensors"]
        self._notes("serialize_file", *(one for one in modules if getattr(one, "serialize_file", None) is plain))

    def _h5py(self) -> None:
        file = sys.modules["h5py"].File
        plain = file.__init__

        @instead_of(file, "__init__")
        def init(opened: Any, name: Any, mode: str = "r", *args: Any, **words: Any) -> None:
            if mode != "r":
                self.note(name)
            plain(opened, name, mode, *args, **words)


def _is_path(value: object) -> TypeGuard[str | os.PathLike[Any]]:
    return isinstance(value, str | os.PathLike)
