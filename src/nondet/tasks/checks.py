"""Checks of what users pass to a task or a recipe, since their files are not type-checked."""

from __future__ import annotations

from dataclasses import fields
from functools import wraps
from typing import Any, TypeVar

from nondet.errors import BadInput
from nondet.io.nearest import did_you_mean

Made = TypeVar("Made", bound=type)


def fields_listed(made: Made) -> Made:
    """Make a class's constructor list the existing fields when it is passed an unknown one."""
    own = made.__init__

    @wraps(own)
    def init(self: Any, *values: Any, **named: Any) -> None:
        there = [f.name for f in fields(made) if f.name != "code"]
        for name in named:
            if name not in there and name != "code":
                raise BadInput(
                    f"a nondet.{made.__name__} has no field {name!r} "
                    f"(got {name}={named[name]!r}{did_you_mean(name, there, '; {}')}); it has {', '.join(there)}"
                )
        own(self, *values, **named)

    made.__init__ = init
    return made


def is_a(value: object, kind: type) -> bool:
    return isinstance(value, kind)  # users' files are not type-checked


def at_least(name: str, value: object, low: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < low:
        raise BadInput(f"{name} must be a whole number of at least {low} (got {value!r}); try <<recipe={name}={low}>>")
