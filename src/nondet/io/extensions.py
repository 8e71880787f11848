"""What other packages add to nondet by entry points, and programs by `nondet.register`."""

from __future__ import annotations

import sys
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from nondet.errors import BadInput

_REGISTERED: dict[str, dict[str, Any]] = {}


def register(group: str, name: str, thing: Any) -> None:
    """Add a thing to a group for this process; one of the same name is replaced."""
    _REGISTERED.setdefault(group, {})[name] = thing


@lru_cache
def _points(group: str, path: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    """Return the entry points of a group in all packages on this path, which is read once."""
    return tuple(entry_points(group=group))


def names(group: str) -> list[str]:
    """Return the names in a group such as `nondet.tasks`, sorted: those that were registered, and those of packages."""
    return sorted({*_REGISTERED.get(group, {}), *(point.name for point in _points(group, tuple(sys.path)))})


def load(group: str, name: str) -> Any:
    """Return the thing of this name.

    Raises:
        BadInput: there is none, or its package fails to load it.
    """
    if name in _REGISTERED.get(group, {}):
        return _REGISTERED[group][name]
    points = [point for point in _points(group, tuple(sys.path)) if point.name == name]
    if not points:
        raise BadInput(f"{group} has no entry point {name!r}; install the package that provides it")
    return _loaded(points[0])


def load_all(group: str) -> dict[str, Any]:
    """Return everything in a group by name."""
    return {name: load(group, name) for name in names(group)}


def _loaded(point: EntryPoint) -> Any:
    try:
        return point.load()
    except Exception as error:
        first = next(iter(str(error).splitlines()), "no message")
        raise BadInput(
            f"the entry point {point.name} of {point.group} must be {point.value}, which cannot be loaded "
            f"({type(error).__name__}: {first}); fix its package, or uninstall it"
        ) from error
