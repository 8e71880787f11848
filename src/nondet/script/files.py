"""Find the files that a script writes outside its run's folder: two runs at a time would collide there."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Mapping
from os import getpid
from pathlib import Path
from typing import Any

_HOME = os.path.expanduser("~")  # noqa: PTH111 - a text, to begin others
_PASSING = ("/dev/", "/proc/", f"{_HOME}/.")
"""Devices, and the caches and settings of libraries: not files of the script's own."""

_TEMPORARY = tuple(f"{os.path.realpath(place)}{os.sep}" for place in (os.environ.get("TMPDIR", "/tmp"), "/tmp"))
_CACHES = ("__pycache__", "torchinductor_", "torchelastic_")
_MOST = 20


class Files:
    """Notes what this process writes outside the folder `own`.

    Python reports each file that it opens, renames or links. Files that C++, Rust or C code writes are noted when a
    library in `writers` is called. Temporary files count only if the script names them: `tempfile` never gives a name
    twice.
    """

    def __init__(self, own: str, here: str, ledger: dict[str, Any]) -> None:
        self.own, self.here, self.ledger = f"{os.path.realpath(own)}{os.sep}", f"{here or own}{os.sep}", ledger
        self.found: dict[str, None] = {}
        self.once: set[str] = set()  # what `tempfile` has made
        self.main = getpid()
        ledger["outside"] = []

    def watch(self) -> None:
        """Start watching."""
        sys.addaudithook(self._audit)

    def writers(self) -> Mapping[str, Callable[[], None]]:
        """Return what to call once a module that writes files by itself is imported, by the module's name."""
        return {"torch": self._torch, "safetensors": self._safetensors, "h5py": self._h5py}

    def note(self, path: object) -> None:
        """Note that a file of this name is written."""
        if getpid() != self.main or len(self.found) >= _MOST or not isinstance(path, str | os.PathLike):
            return
        real = os.path.realpath(os.fspath(path))
        if not isinstance(real, str) or real.startswith(self.own) or any(name in real for name in _CACHES):
            return
        passing = real.startswith(_PASSING) or (real.startswith(_TEMPORARY) and self._made(real))
        if real.startswith(self.here) or not passing:
            self.found[real] = None
            self.ledger["outside"] = list(self.found)

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

    def _noting(self, write: Callable[..., Any], at: int) -> Callable[..., Any]:
        """Wrap a function that writes a file. at: the position of the path in its arguments."""

        @functools.wraps(write)
        def wrapped(*args: Any, **words: Any) -> Any:
            self.note(args[at] if len(args) > at else next(filter(_is_path, words.values()), None))
            return write(*args, **words)

        return wrapped

    def _torch(self) -> None:
        torch, note = sys.modules["torch"], self.note

        class PyTorchFileWriter(torch._C.PyTorchFileWriter):
            def __init__(self, file: Any, *args: Any, **words: Any) -> None:
                note(file)
                super().__init__(file, *args, **words)

        torch._C.PyTorchFileWriter = PyTorchFileWriter
        torch.jit.save = self._noting(torch.jit.save, 1)
        module = torch.jit.RecursiveScriptModule
        module.save = self._noting(module.save, 1)

    def _safetensors(self) -> None:
        plain = sys.modules["safetensors"].serialize_file
        noting = self._noting(plain, 1)
        for name, module in list(sys.modules.items()):
            if name.partition(".")[0] == "safetensors" and getattr(module, "serialize_file", None) is plain:
                setattr(module, "serialize_file", noting)  # noqa: B010

    def _h5py(self) -> None:
        file, note = sys.modules["h5py"].File, self.note
        plain = file.__init__

        @functools.wraps(plain)
        def init(opened: Any, name: Any, mode: str = "r", *args: Any, **words: Any) -> None:
            if mode != "r":
                note(name)
            plain(opened, name, mode, *args, **words)

        file.__init__ = init


def _is_path(value: object) -> bool:
    return isinstance(value, str | os.PathLike)
