"""Put functions and classes of nondet's in the place of a library's."""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any

_NO_DRAW = ("seed", "getstate", "setstate", "get_state", "set_state")


def instead_of(home: Any, name: str, *others: Any) -> Callable[[Callable[..., Any]], Any]:
    """Return a decorator that puts a function in the place of an attribute. others: where it is known, too."""

    def put(function: Callable[..., Any]) -> Callable[..., Any]:
        function = functools.wraps(getattr(home, name))(function)
        for one in (home, *others):
            setattr(one, name, function)
        return function

    return put


def posing_as(plain: type) -> Any:
    """Return a metaclass for a class that takes the instances of another one for its own."""

    def is_one(cls: type, instance: object) -> bool:
        return isinstance(instance, plain)

    return type("Posing", (type(plain),), {"__instancecheck__": is_one})


@contextmanager
def without_generator(owner: Any) -> Generator[Any]:
    """Take away an object's generator inside the block, so that it draws from the global ones; its value is that."""
    given = getattr(owner, "generator", None)
    if given is not None:
        owner.generator = None
    try:
        yield given
    finally:
        if given is not None:
            owner.generator = given


def draws_of(module: Any, kind: type) -> list[str]:
    """Return the names of a module's functions that draw from its global generator, which is of this class."""
    bound = [name for name in module.__all__ if isinstance(getattr(getattr(module, name), "__self__", None), kind)]
    return [name for name in bound if name not in _NO_DRAW]


def below(kind: type) -> Iterator[type]:
    """Yield all classes that are derived from one."""
    for one in type.__subclasses__(kind):
        yield one
        yield from below(one)
