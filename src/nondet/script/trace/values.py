"""A short digest of any value: equal in two processes if the value is equal to the last bit; addresses do not count."""

from __future__ import annotations

import hashlib
import random
import re
import struct
import sys
from collections import deque
from collections.abc import Mapping
from pathlib import PurePath
from types import SimpleNamespace
from typing import Any

from nondet.script.sites import is_library

DEEPEST = 5
MOST = 20_000
"""How many items of a container are looked at; beyond that, only its length counts."""

LOOKING: list[int] = []
"""Not empty while values are looked at, because that itself uses torch operations."""

OPAQUE = "-"
"""The digest of what has no value: functions, modules, handles."""

MODELS = ("sklearn.", "xgboost.", "lightgbm.", "catboost.", "statsmodels.")
"""Packages whose objects count by what they have fitted."""


def digest(value: Any) -> str:
    """Return 12 hexadecimal digits, or `OPAQUE`.

    The order of a set's items does not count, because whatever uses that order will show it. A generator counts by its
    state, and an object of the user's own by its attributes.
    """
    found = hashlib.blake2b(digest_size=6)
    try:
        if not _add(found, value, 0):
            return OPAQUE
    except Exception:  # a stranger's object may raise anything when it is looked at
        return OPAQUE
    return found.hexdigest()


def _add(found: Any, value: Any, depth: int) -> bool:
    """Add a value, and return whether there was anything to add."""
    kind: Any = type(value)
    if value is None or kind in (bool, int, str, bytes, complex):
        found.update(f"{kind.__name__}:{value!r}".encode())
    elif kind is float:
        found.update(b"float:" + struct.pack("<d", value))
    elif depth > DEEPEST:
        return False
    elif kind in (list, tuple, deque) or (isinstance(value, tuple) and hasattr(value, "_fields")):
        found.update(f"{kind.__name__}{len(value)}".encode())
        return _all(found, list(value)[:MOST], depth)
    elif kind in (set, frozenset):
        found.update("".join(sorted(digest(one) for one in value)).encode())
    elif isinstance(value, Mapping):
        found.update(f"map{len(value)}".encode())
        return _all(found, list(value.items())[:MOST], depth)
    elif isinstance(value, PurePath):
        found.update(str(value).encode())
    elif isinstance(value, range | slice | bytearray | memoryview):
        found.update(repr(bytes(value) if isinstance(value, bytearray | memoryview) else value).encode())
    elif kind.__module__ == "datetime":
        found.update(repr(value).encode())
    elif isinstance(value, random.Random):
        found.update(repr(value.getstate()).encode())
    else:
        return _library(found, value) or _own(found, value, depth)
    return True


def _all(found: Any, items: list[Any], depth: int) -> bool:
    """Add each item, and return whether any of them had something to add; also true if there are no items."""
    added = [_add(found, one, depth + 1) for one in items]
    return any(added) or not added


def _library(found: Any, value: Any) -> bool:
    """Add an array, tensor or generator of NumPy or torch, or the arrays of a pandas object."""
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        found.update(tensor_bytes(torch, value))
    elif torch is not None and isinstance(value, torch.nn.Module):
        for name, one in value.state_dict().items():
            found.update(name.encode())
            if isinstance(one, torch.Tensor):
                found.update(tensor_bytes(torch, one))
    elif torch is not None and isinstance(value, torch.Generator):
        found.update(value.get_state().numpy().tobytes())
    elif numpy is not None and isinstance(value, numpy.ndarray | numpy.generic):
        whole: Any = numpy.asarray(value)
        if whole.dtype.hasobject:
            return _add(found, whole.tolist(), 1)
        if whole.dtype.names:  # what lies between two fields has no meaning
            return _all(found, [whole[name] for name in whole.dtype.names], 0)
        found.update(f"{whole.dtype}{whole.shape}".encode() + numpy.ascontiguousarray(whole).tobytes())
    elif numpy is not None and isinstance(value, numpy.random.Generator):
        found.update(repr(value.bit_generator.state).encode())
    elif numpy is not None and isinstance(value, numpy.random.RandomState):
        _, keys, *rest = value.get_state()
        found.update(keys.tobytes() + repr(rest).encode())
    elif type(value).__module__.startswith("pandas.") and hasattr(value, "to_numpy"):
        return _add(found, value.to_numpy().tolist(), 1)
    elif is_model(value):
        return _fitted(found, value)
    else:
        return False
    return True


def is_model(value: Any) -> bool:
    """Whether a value is an object of a package for models without torch, or of a class derived from one."""
    kind: Any = type(value)
    return not isinstance(value, type) and any(one.__module__.startswith(MODELS) for one in kind.__mro__)


def _fitted(found: Any, model: Any) -> bool:
    """Add what a model would save of itself, and return whether there was anything to add."""
    try:
        state = model.__getstate__()
    except Exception:  # objects in C may refuse
        return False
    parts = state if isinstance(state, tuple) else (state,)
    added = [_add(found, _learned(part, 2), 0) for part in parts if part is not None]
    return any(added)


def _learned(part: Any, deep: int) -> Any:
    """Return a model's attributes without durations and without what its random numbers were drawn from.

    A model may hold a seed that it never uses.
    """
    if not deep or not isinstance(part, dict):
        return part
    named: list[Any] = sorted(part.items(), key=lambda item: str(item[0]))
    return {name: _learned(one, deep - 1) for name, one in named if not _NOT_LEARNED.search(str(name))}


_NOT_LEARNED = re.compile(r"(^|_)(times?|seeds?|rngs?|random_state)(_|$)")


def tensor_bytes(torch: Any, value: Any) -> bytes:
    """Return a tensor's type, shape and bytes, whatever its device."""
    LOOKING.append(1)
    try:
        whole = value.detach()
        if whole.layout is not torch.strided:
            whole = whole.to_dense()
        flat = whole.cpu().contiguous().reshape(-1)
        head = f"{value.dtype}{tuple(value.shape)}".encode()
        return head + (flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b"")
    finally:
        LOOKING.pop()


def is_users(value: Any) -> bool:
    """Whether a value is an object with attributes whose class the user wrote."""
    module = type(value).__module__
    file = getattr(sys.modules.get(module), "__file__", None) or ""
    if isinstance(value, type) or not hasattr(value, "__dict__"):
        return False
    if module == "__main__":  # whose __file__ Python removes at the end
        return True
    return bool(file) and not is_library(file)


def _own(found: Any, value: Any, depth: int) -> bool:
    """Add the attributes of an object whose class the user wrote, or of a namespace of options."""
    options = isinstance(value, SimpleNamespace) or type(value).__name__ == "Namespace"
    return (options or is_users(value)) and _add(found, dict(vars(value)), depth + 1)
