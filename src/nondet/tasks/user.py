"""The loader of a user's own task file. The file is code, and it runs as such."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib.machinery import (
    BYTECODE_SUFFIXES,
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    SourceFileLoader,
    SourcelessFileLoader,
)
from pathlib import Path
from types import CodeType
from typing import Any

from nondet.errors import BadInput
from nondet.io.files import NotAFile, read_file
from nondet.io.nearest import did_you_mean_file
from nondet.tasks.neighbours import INSTALLED, files_of, is_local
from nondet.tasks.task import Task

MODULE_NAME = "nondet_user_task"

LARGEST = 2**24
"""Bytes of a task's file, which is code that somebody wrote."""


@dataclass
class _Place:
    """Where the task that this process trains stands: what loading it changed, to be taken back for the next one.

    path: the entries that it has in `sys.path`, its own folder first. files: its modules, as they were hashed.
    modules: those that were imported without it. entries: while it is being run, the path without what it adds.
    """

    path: list[str] = field(default_factory=list[str])
    files: dict[Path, bytes] = field(default_factory=dict[Path, bytes])
    modules: frozenset[str] = frozenset()
    entries: frozenset[str] | None = None

    @property
    def roots(self) -> list[Path]:
        """The folders in which its modules stand; it may look for them elsewhere than beside itself."""
        added = [] if self.entries is None else [entry for entry in sys.path if entry not in self.entries]
        return [_absolute(entry) for entry in [*self.path, *added] if entry]


_place = _Place()


def load_file(path: Path) -> Task:
    """The `task` that a Python file defines, named by the bytes of all it can import and by what they define.

    Its folder stays on `sys.path`, as for any script, until another file is loaded: a model may import its neighbours
    when it is made. Loaded again, a file runs with its neighbours as they are by then.
    """
    try:
        source = read_file(path, LARGEST)
    except (OSError, NotAFile) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        raise BadInput(
            f"cannot read {path}: {reason}{did_you_mean_file(path, ' ({})')}; give the path of a Python file"
        ) from error
    spec = importlib.util.spec_from_file_location(MODULE_NAME, path)
    if spec is None or spec.loader is None:
        raise BadInput(f"{path} is not a Python file; its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    file = path.resolve()
    _leave()
    _enter(file)
    sys.modules[MODULE_NAME] = module  # dataclasses and pickling look a class's module up here
    try:
        exec(compile(source, str(path), "exec"), module.__dict__)  # the bytes that were hashed, not a cached .pyc
    except (Exception, SystemExit) as error:
        _leave()
        raise BadInput(f"{path} does not import: {_in_one_line(error, path)}; mend the file and try again") from error
    task = getattr(module, "task", None)
    if not isinstance(task, Task):
        found = "no `task`" if task is None else f"`task` of type {type(task).__name__}"
        raise BadInput(f"{path} must define `task = nondet.Task(...)` (found {found}); see examples/my_task.py")
    files = files_of(file, _place.roots, {**_place.files, file: source}, _loaded(file))
    _settle(files)
    return replace(task, name=task.name or path.stem, code=_code_hash(source, file.parent, files))


def _enter(file: Path) -> None:
    """Put a file's folder first on the path, and let its neighbours be imported anew, from their text as it is now."""
    _place.path = [str(file.parent)]
    _place.files = files_of(file, _place.roots, {})
    _place.modules = frozenset(sys.modules)
    for name, module in list(sys.modules.items()):
        if name != "__main__" and _file_of(module) in _place.files:
            del sys.modules[name]
    if _finder not in sys.path_hooks:
        sys.path_hooks.insert(0, _finder)
    _forget_finders()
    sys.path.insert(0, _place.path[0])
    _place.entries = frozenset(sys.path)


def _settle(files: dict[Path, bytes]) -> None:
    """Note what running the file has brought; what comes to the path later is others'."""
    _place.path += [entry for entry in sys.path if _place.entries is not None and entry not in _place.entries]
    _place.files, _place.entries = files, None


def _leave() -> None:
    """Take back what the last task's file brought: its folder on the path, and its modules."""
    _settle(_place.files)
    for name in _new_modules():
        del sys.modules[name]
    _forget_finders()
    for entry in _place.path:
        with suppress(ValueError):  # the file may have changed the path itself
            sys.path.remove(entry)
    _place.path, _place.files, _place.modules, _place.entries = [], {}, frozenset(), None


def _new_modules() -> dict[str, Path]:
    """The modules that came with the task in hand, from folders of its own, by name, each with its file."""
    roots = _place.roots
    if not roots:
        return {}
    files = {name: _file_of(module) for name, module in list(sys.modules.items()) if name not in _place.modules}
    files.pop("__main__", None)
    return {name: file for name, file in files.items() if file is not None and is_local(file, roots)}


def _file_of(module: object) -> Path | None:
    """A module's file, if it is not an installed one's."""
    file = getattr(module, "__file__", None)
    return _absolute(file) if isinstance(file, str) and INSTALLED not in file else None


def _absolute(path: str) -> Path:
    """A path from the root on, its links as they are: a neighbour that is a link stands where the link does."""
    return _path(os.path.abspath(path))  # noqa: PTH100 - resolve() would follow the links


_path = lru_cache(1 << 14)(Path)  # thousands of modules are looked at, several times for each file


def _loaded(file: Path) -> list[Path]:
    """The local modules that running the file has imported: also those whose names are not in its text."""
    return [path for path in _new_modules().values() if path != file]


def _forget_finders() -> None:
    roots = _place.roots
    for entry in list(sys.path_importer_cache):
        if is_local(_absolute(entry), roots):
            del sys.path_importer_cache[entry]


class _AsHashed(SourceFileLoader):
    """Runs the text that was hashed. A cached .pyc may be of an older text of the same second and length."""

    def get_data(self, path: str) -> bytes:  # pyright: ignore[reportIncompatibleMethodOverride]
        file = _absolute(path)
        if file not in _place.files:
            _place.files[file] = super().get_data(path)
        return _place.files[file]

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


def _finder(entry: str) -> FileFinder:
    """The finder of modules in a folder of the task in hand (a hook of `sys.path_hooks`)."""
    if not is_local(_absolute(entry), _place.roots):
        raise ImportError("not a folder of the task")
    loaders: list[tuple[Any, list[str]]] = [
        (ExtensionFileLoader, EXTENSION_SUFFIXES),
        (_AsHashed, SOURCE_SUFFIXES),
        (SourcelessFileLoader, BYTECODE_SUFFIXES),
    ]
    return FileFinder(entry, *loaders)


def _code_hash(source: bytes, folder: Path, files: Mapping[Path, bytes]) -> str:
    """The SHA-256 of the file, then of each of its modules with its place beside it."""
    digest = hashlib.sha256(source)
    for file in sorted(files, key=str):
        digest.update(os.path.relpath(file, folder).encode())
        digest.update(hashlib.sha256(files[file]).digest())
    return digest.hexdigest()


def _in_one_line(error: BaseException, path: Path) -> str:
    """The error's type, message and, where the file itself is at fault, its line."""
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
    line = error.lineno if isinstance(error, SyntaxError) else lines[-1] if lines else None
    message = " ".join(str(error.msg if isinstance(error, SyntaxError) else error).split())
    return f"{type(error).__name__}: {message}" + (f" (line {line})" if line else "")
