"""The house: one way through it. A package imports only what stands below it, and no file takes part in a circle."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import nondet

ROOT = Path(nondet.__file__).parent
FLOORS = (
    ("errors", "io", "records", "script", "version"),
    ("integrations", "sources", "stats"),
    ("measures",),
    ("kinds",),
    ("study",),
    ("models", "data"),
    ("tasks",),
    ("training",),
    ("runners",),
    ("running",),
    ("analysis",),
    ("reporting",),
    ("api",),
    ("cli",),
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}


def modules() -> dict[str, Path]:
    """Every module but the package itself and its entry, which name what is public."""
    found = {
        path.relative_to(ROOT.parent).with_suffix("").as_posix().replace("/", "."): path for path in ROOT.rglob("*.py")
    }
    found = {name.removesuffix(".__init__"): path for name, path in found.items()}
    return {name: path for name, path in found.items() if name not in ("nondet", "nondet.__main__")}


def imports(path: Path, known: dict[str, Path]) -> Iterator[str]:
    """The modules that a file imports, wherever in it the import stands."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("nondet"):
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in known else node.module


def test_no_import_points_up() -> None:
    """A package imports its own floor and those below, at the top of a file, inside a function and for types alike."""
    known = modules()
    up = [
        f"{name} -> {target}"
        for name, path in known.items()
        for target in imports(path, known)
        if target in known and FLOOR[target.split(".")[1]] > FLOOR[name.split(".")[1]]
    ]
    assert up == []


def test_there_is_no_circle() -> None:
    """The files can be put in an order in which each imports only earlier ones."""
    known = modules()
    graph = {name: {t for t in imports(path, known) if t in known and t != name} for name, path in known.items()}
    assert list(TopologicalSorter(graph).static_order())
