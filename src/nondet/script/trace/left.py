"""Record what a training without steps leaves: the values of a script's names at its end, and what `fit` learned."""

from __future__ import annotations

import atexit
import functools
import sys
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

from nondet.script.inside import PACKAGES, THREADED
from nondet.script.instead import below
from nondet.script.machine import seen
from nondet.script.trace.lines import Lines
from nondet.script.trace.places import above, caller
from nondet.script.trace.values import OPAQUE, digest, is_model, is_users
from nondet.script.trace.writer import Writer


def at_the_end(writer: Writer, lines: Lines, settle: Sequence[Callable[[], None]], step: Callable[[], int]) -> None:
    """Record the script's arrays when it ends. settle: functions to call before that."""

    def end() -> None:
        sys.settrace(None)
        for one in settle:
            one()
        main = sys.modules.get("__main__")
        for name, value in list(vars(main).items()) if main else []:
            held = [] if name.startswith("__") else data(value)
            found = digest(held[0] if len(held) == 1 else held)
            if held and found != OPAQUE:
                writer.write(["end", step(), found, "", name])
        writer.write(["machine", seen()])
        writer.write(["done", step(), lines.left > 0])
        writer.write(["imports", [name for name in sys.modules if name in _SLOW or name in PACKAGES]])
        writer.write(["threaded", any(name in sys.modules for name in THREADED)])
        writer.flush()

    atexit.register(end)


_SLOW = ("torch._dynamo", "torch.utils.data", "sklearn.datasets", "sklearn.model_selection", "numpy.random")
"""Parts of packages that take long to import and are imported late."""


DEEPEST, MOST = 4, 10_000
"""How deep containers are looked into, and how many of their items are looked at."""


def data(value: Any, depth: int = 0, known: set[int] | None = None) -> list[Any]:
    """Return what a training has made, in whatever containers: arrays, tensors and fitted models.

    Other items do not count: they may be times, or names. known: the containers that were looked into already.
    """
    if _is_data(value):
        return [value]
    known = set() if known is None else known
    inside: Any = ()
    if isinstance(value, dict):
        inside = value.values()
    elif isinstance(value, list | tuple | deque):
        inside = value
    elif is_users(value):
        inside = vars(value).values()
    if depth >= DEEPEST or id(value) in known:
        return []
    known.add(id(value))
    return [one for part in islice(inside, MOST) for one in data(part, depth + 1, known)]


def _is_data(value: Any) -> bool:
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    return (
        (numpy is not None and isinstance(value, numpy.ndarray))
        or (torch is not None and isinstance(value, torch.Tensor | torch.nn.Module))
        or is_model(value)
    )


def take_sklearn(write: Callable[[list[Any]], None], step: Callable[[], int]) -> None:
    """Take over `fit` and `partial_fit` of each model that is defined already, and of those defined later.

    A model may be local to a function, where nothing of it is left at the end.
    """
    base: Any = sys.modules["sklearn.base"]

    def watched(method: Any) -> Any:
        @functools.wraps(method)
        def fit(model: Any, *args: Any, **words: Any) -> Any:
            found = method(model, *args, **words)
            if caller(above()) and (value := digest(model)) != OPAQUE:
                write(["end", step(), value, "", f"{type(model).__name__}.{method.__name__}"])
            return found

        return fit

    for kind in {*below(base.BaseEstimator)}:
        for name in ("fit", "partial_fit"):
            if hasattr(kind.__dict__.get(name), "__wrapped__"):
                setattr(kind, name, watched(kind.__dict__[name]))
    plain = getattr(base, "_fit_context", None)
    if plain is not None:
        base._fit_context = lambda *args, **words: lambda method: watched(plain(*args, **words)(method))
