"""Describe values as texts that differ whenever what is trained differs, for the names of runs."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import partial
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
from torch import Tensor

from nondet.io.files import sha256_of_json

_PLAIN = (bool, int, float, complex, str, bytes, type(None))


def described(value: object) -> str:
    """Return a value's text without memory addresses, plus a hash of its state if the text does not show all of it."""
    state, silent = _state(value), type(value).__repr__ is object.__repr__
    text = without_addresses(value) + (without_addresses(sorted(state.items())) if silent else "")
    whole = f"{type(value).__qualname__}({', '.join(f'{name}={part!r}' for name, part in state.items())})"
    if all(map(_is_plain, state.values())) and (silent or text == whole):
        return text
    return f"{text} {own_code(value)}"


def own_code(function: Any) -> str:
    """Return a hash for the code of a function or object and all that it refers to."""
    return sha256_of_json(_tree(function, ()))


def without_addresses(value: object) -> str:
    """Return a value's text without memory addresses, which differ from process to process."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))


def _is_plain(value: object) -> bool:
    if type(value) in (tuple, list):
        return all(_is_plain(part) for part in value)  # pyright: ignore[reportGeneralTypeIssues, reportUnknownVariableType]
    return type(value) in _PLAIN


def _state(value: object) -> dict[str, Any]:
    """Return what an object contains: its fields, attributes and slots."""
    names = [name for kind in type(value).__mro__ for name in _slots(kind)]
    found = {name: getattr(value, name) for name in names if hasattr(value, name)}
    if is_dataclass(value):
        found |= {f.name: getattr(value, f.name) for f in fields(value) if hasattr(value, f.name)}
    return found | dict(getattr(value, "__dict__", {}))


def _slots(kind: type) -> list[str]:
    slots: Any = kind.__dict__.get("__slots__", ())
    return [name for name in ([slots] if isinstance(slots, str) else slots) if name not in ("__dict__", "__weakref__")]


def _tree(value: Any, above: tuple[int, ...]) -> Any:
    """Describe a value as JSON: numbers and texts by type and value, arrays by their bytes, functions by their code."""
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    if id(value) in above or len(above) > 20:
        return kind
    deeper = (*above, id(value))
    if isinstance(value, Tensor):
        array: Any = value.detach().cpu()
        array = (array.float() if array.dtype.is_floating_point else array).numpy()
        return [kind, str(value.dtype), _tree(array, deeper)]
    if isinstance(value, np.ndarray) and value.dtype.kind != "O":
        return [kind, value.dtype.str, list(value.shape), hashlib.sha256(np.ascontiguousarray(value).data).hexdigest()]
    if type(value) in _PLAIN or isinstance(value, np.generic):
        return [kind, repr(value)]
    if isinstance(value, Mapping):
        pairs: Any = value.items()
        return [kind, sorted(([_tree(k, deeper), _tree(v, deeper)] for k, v in pairs), key=repr)]
    if isinstance(value, tuple | list):
        parts: Any = value
        return [kind, [_tree(part, deeper) for part in parts]]
    if isinstance(value, set | frozenset):
        members: Any = value
        return [kind, sorted((_tree(part, deeper) for part in members), key=repr)]
    if isinstance(value, partial):
        bound: Any = value
        return [kind, _tree(bound.func, deeper), _tree(bound.args, deeper), _tree(bound.keywords, deeper)]
    if isinstance(value, MethodType):
        return [kind, _tree(value.__func__, deeper), _tree(value.__self__, deeper)]
    if isinstance(value, FunctionType):
        cells = [cell.cell_contents for cell in value.__closure__ or () if _is_set(cell)]
        inside = (value.__defaults__, value.__kwdefaults__, cells)
        return [kind, value.__module__, value.__qualname__, _code(value.__code__), _tree(inside, deeper)]
    if isinstance(value, type | ModuleType):
        return [kind, getattr(value, "__module__", ""), value.__name__]
    state = _state(value)
    return [kind, without_addresses(value), [[name, _tree(part, deeper)] for name, part in sorted(state.items())]]


def _is_set(cell: Any) -> bool:
    try:
        _ = cell.cell_contents
    except ValueError:  # the enclosing function has not assigned this name yet
        return False
    return True


def _code(code: CodeType) -> list[Any]:
    constants = [_code(c) if isinstance(c, CodeType) else repr(c) for c in code.co_consts]
    return [code.co_code.hex(), constants, list(code.co_names)]
