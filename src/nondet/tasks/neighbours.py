"""Find the local modules that a user's task file can import, by reading its text and never by importing.

A hash of what happens to be imported would change as a program runs. What a file can import is written in its text
and in that of the modules it names, so it is the same in every process and at any time.
"""

from __future__ import annotations

import ast
import os
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.machinery import BYTECODE_SUFFIXES, EXTENSION_SUFFIXES, SOURCE_SUFFIXES
from pathlib import Path

SUFFIXES = (*EXTENSION_SUFFIXES, *SOURCE_SUFFIXES, *BYTECODE_SUFFIXES)
"""The endings of a module's file name, in the order in which Python tries them."""

INSTALLED = "-packages"
"""This is in the path of every installed package."""

_INSTALLED = tuple(Path(path) for name, path in sysconfig.get_paths().items() if name != "data")
_FOREIGN = {str(place) for path in (*_INSTALLED, Path(__file__).parents[1]) for place in (path, path.resolve())}


def is_local(path: Path, roots: Iterable[Path]) -> bool:
    """Whether a file or folder is in one of these folders, and is neither nondet's own nor installed."""
    text = str(path)  # thousands of modules are checked for each task; pathlib would take a fifth of a second
    if INSTALLED in text or not any(_is_in(text, str(root)) for root in roots):
        return False
    return not any(_is_in(text, place) for place in _FOREIGN)


def _is_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def files_of(
    task: Path, roots: Sequence[Path], known: Mapping[Path, bytes], more: Iterable[Path] = ()
) -> dict[Path, bytes]:
    """Return the task's file and every local module that it can import, each with its bytes.

    roots: the folders to search for top-level modules, the task's own first. known: bytes that were read before.
    more: other files that belong to the task, however they were imported.
    """
    places = [*roots, *(Path(entry) for entry in sys.path if entry and is_local(Path(entry), roots))]
    found: dict[Path, bytes] = {}
    waiting = [task, *more]
    while waiting:
        file = waiting.pop()
        if file in found:
            continue
        try:
            found[file] = known[file] if file in known else file.read_bytes()
        except OSError:  # then it cannot be imported either
            continue
        waiting += [path for path in _imported(file, found[file], places) if is_local(path, roots)]
    return found


def _imported(file: Path, source: bytes, roots: Sequence[Path]) -> Iterator[Path]:
    """Yield the files that a module's text names, wherever its imports are."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return  # compiled, or not Python: its bytes are all there is to know
    for node in ast.walk(tree):
        for name, level in _names(node):
            for base in [file.parents[min(level, len(file.parents)) - 1]] if level else roots:
                yield from _files(base, name.split(".") if name else [])
        name = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
        if name.endswith(".py") and len(name) < 200 and name.isprintable() and not name.startswith("/"):
            yield Path(os.path.normpath(file.parent / name))  # for runpy, exec or a loader made by hand


def _names(node: ast.AST) -> Iterator[tuple[str, int]]:
    """Yield the modules that a syntax node may import, with the number of leading dots; `x.*` is all of x."""
    if isinstance(node, ast.Import):
        yield from ((alias.name, 0) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        for alias in node.names:
            yield ".".join(filter(None, (node.module, alias.name))), node.level
    elif isinstance(node, ast.Call) and node.args and _called(node.func) in ("import_module", "__import__"):
        given = node.args[0]
        made = isinstance(given, ast.JoinedStr)  # f"nets.{name}": all of nets
        given = next(iter(given.values), None) if isinstance(given, ast.JoinedStr) else given
        if isinstance(given, ast.Constant) and isinstance(given.value, str):
            text = given.value.lstrip(".")
            yield (f"{text.rpartition('.')[0]}.*".lstrip(".") if made else text), len(given.value) - len(text)


def _called(function: ast.expr) -> str:
    return getattr(function, "id", "") or getattr(function, "attr", "")


def _files(base: Path, parts: Sequence[str]) -> Iterator[Path]:
    """Yield the files of a dotted name under a folder, if they exist: each package on the way, then the module."""
    if not parts:
        yield from _module(base / "__init__")
    for number, part in enumerate(parts, start=1):
        stem = base.joinpath(*parts[:number])
        if part == "*":
            yield from (path for path in sorted(stem.parent.glob("*")) if path.name.endswith(SUFFIXES))
        elif part.isidentifier():
            yield from _module(stem / "__init__")
            yield from _module(stem)


def _module(stem: Path) -> Iterator[Path]:
    yield from (path for suffix in SUFFIXES if (path := stem.with_name(stem.name + suffix)).is_file())
