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
    """Return the thing of this name; BadInput if there is none, or its package fails to load it."""
    if name in _REGISTERED.get(group, {}):
        return _REGISTERED[group][name]
    points = [point for point in _points(group, tuple(sys.path)) if point.name == name]
    if not points:
        raise BadInput(f"{group} has no entry point {name!r}; install the package that provides it")
    try:
        return points[0].load()
    except Exception as error:
        first = next(iter(str(error).splitlines()), "no message")
        raise BadInput(
            f"the entry point {name} of {group} must be {points[0].value}, which cannot be loaded "
            f"({type(error).__name__}: {first}); fix its package, or uninstall it"
        ) from error
