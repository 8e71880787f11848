"""The loader for a user's own task file. The file is code, and loading runs it."""

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
"""The most bytes that a task's file can have; code that somebody wrote is far smaller."""


@dataclass
class _Place:
    """What loading the current task changed in this process, to be undone before the next one.

    path: its entries in `sys.path`, its own folder first. files: its modules, with the bytes that were hashed.
    modules: the modules imported before it. entries: while its file runs, `sys.path` without what the file adds.
    """

    path: list[str] = field(default_factory=list[str])
    files: dict[Path, bytes] = field(default_factory=dict[Path, bytes])
    modules: frozenset[str] = frozenset()
    entries: frozenset[str] | None = None

    @property
    def roots(self) -> list[Path]:
        """The folders that its modules are in; some may be outside its own folder."""
        added = [] if self.entries is None else [entry for entry in sys.path if entry not in self.entries]
        return [_absolute(entry) for entry in [*self.path, *added] if entry]


_place = _Place()


def load_file(path: Path) -> Task:
    """Return the `task` that a Python file defines, identified by the bytes of everything that the file can import.

    Its folder stays on `sys.path`, as for any script, until another file is loaded, since a model may import its
    neighbours when it is made. A file that is loaded again runs with its neighbours as they are then.
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
        raise BadInput(f"{path} does not import: {_in_one_line(error, path)}; fix the file and try again") from error
    task = getattr(module, "task", None)
    if not isinstance(task, Task):
        found = "no `task`" if task is None else f"`task` of type {type(task).__name__}"
        raise BadInput(f"{path} must define `task = nondet.Task(...)` (found {found}); see examples/my_task.py")
    loaded = _new_modules().values()  # also those whose names are not in its text
    files = files_of(file, _place.roots, {**_place.files, file: source}, loaded)
    _settle(files)
    return replace(task, name=task.name or path.stem, code=_code_hash(source, file.parent, files))


def _enter(file: Path) -> None:
    """Put a file's folder first on the path, and have its neighbours imported again, from their current text."""
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
    """Record what running the file has added. Later additions to the path are not its own."""
    _place.path += [entry for entry in sys.path if _place.entries is not None and entry not in _place.entries]
    _place.files, _place.entries = files, None


def _leave() -> None:
    """Undo what the last task's file added: its folder on the path, and its modules."""
    _settle(_place.files)
    for name in _new_modules():
        del sys.modules[name]
    _forget_finders()
    for entry in _place.path:
        with suppress(ValueError):  # the file may have changed the path itself
            sys.path.remove(entry)
    _place.path, _place.files, _place.modules, _place.entries = [], {}, frozenset(), None


def _new_modules() -> dict[str, Path]:
    """Return the modules that the current task imported from its own folders, by name, each with its file."""
    roots = _place.roots
    if not roots:
        return {}
    files = {name: _file_of(module) for name, module in list(sys.modules.items()) if name not in _place.modules}
    files.pop("__main__", None)
    return {name: file for name, file in files.items() if file is not None and is_local(file, roots)}


def _file_of(module: object) -> Path | None:
    """Return a module's file, or None if the module is installed or has no file."""
    file = getattr(module, "__file__", None)
    return _absolute(file) if isinstance(file, str) and INSTALLED not in file else None


def _absolute(path: str) -> Path:
    """Make a path absolute without following links: a neighbour that is a link counts as being where the link is."""
    return _path(os.path.abspath(path))  # noqa: PTH100 - resolve() would follow the links


_path = lru_cache(1 << 14)(Path)  # thousands of modules are checked, several times for each file


def _forget_finders() -> None:
    roots = _place.roots
    for entry in list(sys.path_importer_cache):
        if is_local(_absolute(entry), roots):
            del sys.path_importer_cache[entry]


class _AsHashed(SourceFileLoader):
    """Run the text that was hashed. A cached .pyc may be from an older text with the same time stamp and length."""

    def get_data(self, path: str) -> bytes:  # pyright: ignore[reportIncompatibleMethodOverride]
        file = _absolute(path)
        if file not in _place.files:
            _place.files[file] = super().get_data(path)
        return _place.files[file]

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


def _finder(entry: str) -> FileFinder:
    """Return the finder of modules in a folder of the current task (a hook of `sys.path_hooks`)."""
    if not is_local(_absolute(entry), _place.roots):
        raise ImportError("not a folder of the task")
    loaders: list[tuple[Any, list[str]]] = [
        (ExtensionFileLoader, EXTENSION_SUFFIXES),
        (_AsHashed, SOURCE_SUFFIXES),
        (SourcelessFileLoader, BYTECODE_SUFFIXES),
    ]
    return FileFinder(entry, *loaders)


def _code_hash(source: bytes, folder: Path, files: Mapping[Path, bytes]) -> str:
    """Return the SHA-256 of the file, then of each of its modules with its path relative to the file."""
    digest = hashlib.sha256(source)
    for file in sorted(files, key=str):
        digest.update(os.path.relpath(file, folder).encode())
        digest.update(hashlib.sha256(files[file]).digest())
    return digest.hexdigest()


def _in_one_line(error: BaseException, path: Path) -> str:
    """Return the error's type and message and, if the error is in the file itself, its line."""
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
    line = error.lineno if isinstance(error, SyntaxError) else lines[-1] if lines else None
    message = " ".join(str(error.msg if isinstance(error, SyntaxError) else error).split())
    return f"{type(error).__name__}: {message}" + (f" (line {line})" if line else "")
