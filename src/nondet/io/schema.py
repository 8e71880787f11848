"""Check that JSON of unknown origin has the form that a reader expects, before anything is done with it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

Number = (int, float)


def misfit(value: object, shape: Any, place: str = "") -> str:
    """Return the place in the value that does not have the shape, such as `conditions.0.runs`; empty if all of it has.

    A shape is a type (a bool is not an int); a range of whole numbers; a pattern for a whole text; a tuple of shapes,
    one of which must fit; a list with one shape for every element; or a dictionary. A dictionary has either one shape
    for every value, under the key `str`, or the shapes of named fields; a field whose name ends in ? may be missing.
    Fields that a shape does not name may contain anything.
    """
    if isinstance(shape, tuple):
        found = [misfit(value, each, place) for each in shape]
        return "" if "" in found else max(found, key=len)
    if isinstance(shape, list):
        if not isinstance(value, list):
            return place or "it"
        (each,) = shape
        return next(filter(None, (misfit(v, each, f"{place}.{i}") for i, v in enumerate(value))), "").lstrip(".")
    if isinstance(shape, Mapping):
        if not isinstance(value, Mapping):
            return place or "it"
        return next(filter(None, _misfits(value, shape, place)), "").lstrip(".")
    if isinstance(shape, range):
        return "" if type(value) is int and value in shape else place or "it"
    if isinstance(shape, re.Pattern):
        return "" if isinstance(value, str) and shape.fullmatch(value) else place or "it"
    right = value is None if shape is None else isinstance(value, shape) and (shape is bool or type(value) is not bool)
    return "" if right else place or "it"


def _misfits(value: Mapping[str, object], shape: Mapping[Any, Any], place: str) -> Any:
    if str in shape:
        yield from (misfit(v, shape[str], f"{place}.{name}") for name, v in value.items())
        return
    for field, each in shape.items():
        name = field.removesuffix("?")
        if name in value:
            yield misfit(value[name], each, f"{place}.{name}")
        elif name == field:
            yield f"{place}.{name}"
