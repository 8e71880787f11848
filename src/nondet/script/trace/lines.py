"""Record each line of the user's own code that runs, with the values of its names after it."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from nondet.script.trace.places import caller, is_own, short
from nondet.script.trace.values import OPAQUE, digest

MOST = 300_000
"""How many records a process makes."""

Names = dict[int, tuple[int, tuple[str, ...]]]


class Lines:
    """Traces the thread that it begins in, and forked processes.

    A record is FILE, line, function, and NAME=DIGEST for each name in the line's statement. A call's record has its
    arguments, and comes before any line of it. left: how many more records a process makes before it stops looking.
    """

    def __init__(self, write: Callable[[list[Any]], None], step: Callable[[], int]) -> None:
        self.write, self.left, self.step = write, MOST, step
        self.files: dict[str, Names | None] = {}
        self.own: dict[CodeType, Names | None] = {}
        self.looking = False

    def begin(self) -> None:
        sys.settrace(self.enter)

    def enter(self, frame: FrameType, event: str, arg: Any) -> Any:
        code = frame.f_code
        if code not in self.own:
            file = code.co_filename
            self.own[code] = self._names(file) if is_own(file) and not code.co_name.startswith("<gen") else None
        names = self.own[code]
        if names is None or self.looking or self.left <= 0:
            return None
        given = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        self.record("c", frame, frame.f_lineno, given, caller(frame.f_back, far=True))
        before = [frame.f_lineno if code.co_name == "<module>" else 0]

        def inside(frame: FrameType, event: str, arg: Any) -> Any:
            if self.left <= 0:
                return None
            if event in ("line", "return"):
                if before[0] in names:
                    came = {"its result": arg} if event == "return" and code.co_name != "<module>" else {}
                    self.record("l", frame, names[before[0]][0], names[before[0]][1], came=came)
                before[0] = frame.f_lineno
            return inside

        return inside

    def record(
        self, kind: str, frame: FrameType, line: int, names: tuple[str, ...], by: str = "", came: Any = None
    ) -> None:
        self.looking = True
        try:
            values = {name: digest(_look_up(frame, name)) for name in names}
            values |= {name: digest(value) for name, value in (came or {}).items()}
            found = {name: value for name, value in values.items() if value != OPAQUE}
            self.left -= 1
            self.write([kind, short(frame.f_code.co_filename), line, frame.f_code.co_name, found, self.step(), by])
        finally:
            self.looking = False

    def _names(self, file: str) -> Names | None:
        if file not in self.files:
            try:
                self.files[file] = _names_of(ast.parse(Path(file).read_bytes()))
            except (OSError, SyntaxError, ValueError):
                self.files[file] = None
        return self.files[file]


_MISSING = object()


def _look_up(frame: FrameType, name: str) -> Any:
    first, *rest = name.split(".")
    value = frame.f_locals.get(first, _MISSING)
    if value is _MISSING:
        value = frame.f_globals.get(first, len)  # a function is opaque
    for part in rest:
        if isinstance(value, type(sys)):
            return len
        value = getattr(value, "__dict__", {}).get(part, len)
    return value


def _names_of(tree: ast.AST) -> Names:
    """Return, for each line, the first line of its statement and the names in it; of a compound one, only its head."""
    found: Names = {}
    for node in ast.walk(tree):
        if not isinstance(node, ast.stmt) or isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            continue
        parts: list[ast.AST] = [node]
        last = node.end_lineno or node.lineno
        if isinstance(node, ast.For | ast.While | ast.If | ast.With | ast.Try):
            heads: list[Any] = [getattr(node, part, None) for part in ("target", "iter", "test")]
            heads += getattr(node, "items", [])
            parts = [head for head in heads if head is not None]
            last = max([getattr(head, "end_lineno", node.lineno) or node.lineno for head in parts] or [node.lineno])
        names: dict[str, None] = {}
        for part in parts:
            for one in ast.walk(part):
                if isinstance(one, ast.Name):
                    names[one.id] = None
                elif isinstance(one, ast.Attribute) and isinstance(one.value, ast.Name):
                    names[f"{one.value.id}.{one.attr}"] = None
        for line in range(node.lineno, last + 1):
            found[line] = (node.lineno, tuple(names))
    return found
