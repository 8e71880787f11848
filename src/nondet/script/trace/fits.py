"""Record what models of scikit-learn have learned after each call of `fit` in the user's own code."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from typing import Any

from nondet.script.trace.places import above, caller
from nondet.script.trace.values import OPAQUE, digest


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

    for kind in {*_below(base.BaseEstimator)}:
        for name in ("fit", "partial_fit"):
            if hasattr(kind.__dict__.get(name), "__wrapped__"):
                setattr(kind, name, watched(kind.__dict__[name]))
    plain = getattr(base, "_fit_context", None)
    if plain is not None:
        base._fit_context = lambda *args, **words: lambda method: watched(plain(*args, **words)(method))


def _below(kind: type) -> Iterator[type]:
    for one in kind.__subclasses__():
        yield one
        yield from _below(one)
