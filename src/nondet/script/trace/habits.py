"""What makes seeds reach less than they should: seeds in constructors, kept examples, shared generators."""

from __future__ import annotations

import functools
import random
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from nondet.script.trace.places import above, is_own, short
from nondet.script.trace.values import digest

EXAMPLES = 32
"""So many examples of each data set are looked at, in each pass over it."""


class Habits:
    """Notes them. write: takes a record."""

    def __init__(self, write: Callable[[list[Any]], None]) -> None:
        self.write = write
        self.watched: set[int] = set()
        self.classes: set[type] = set()

    def seeded(self, kind: str, site: str, seed: Any) -> None:
        """A seed is set: note where it is set while a model is built, or an example read."""
        where = _inside(above())
        if where:
            self.write(["seed-in", kind, site, where, digest(seed)])

    def torch(self) -> None:
        torch: Any = sys.modules["torch"]
        fetch: Any = torch.utils.data._utils.fetch._MapDatasetFetcher
        plain = fetch.__init__

        def init(fetcher: Any, dataset: Any, *args: Any, **words: Any) -> None:
            self._watch(torch, dataset)
            plain(fetcher, dataset, *args, **words)

        fetch.__init__ = init
        module, call = torch.nn.Module, torch.nn.Module.__call__

        def first_call(model: Any, *args: Any, **words: Any) -> Any:
            if id(model) not in self.watched:
                self._generators(model)
            return call(model, *args, **words)

        module.__call__ = first_call

    def _watch(self, torch: Any, dataset: Any) -> None:
        """Note what the first examples of a data set are, and whether reading one draws, in each pass."""
        if isinstance(dataset, torch.utils.data.Subset):
            return self._watch(torch, dataset.dataset)
        kind: Any = type(dataset)
        read = kind.__dict__.get("__getitem__")
        code = getattr(read, "__code__", None)
        if code is None or not is_own(code.co_filename) or kind in self.classes:
            return None
        self.classes.add(kind)
        site = f"{short(code.co_filename)}:{code.co_firstlineno}"

        @functools.wraps(read)
        def reading(data: Any, index: Any) -> Any:
            if not hasattr(index, "__index__") or int(index) >= EXAMPLES:
                return read(data, index)
            own = _own_generators(data, read)
            before = _states(torch, own)
            found = read(data, index)
            after = _states(torch, own)
            drew = [name for name, state in after.items() if before.get(name) != state]
            self.write(["example", int(index), digest(_values(torch, found)), site, drew, sorted(own)])
            return found

        kind.__getitem__ = reading
        return None

    def _generators(self, model: Any) -> None:
        """Generators that more than one module of a model holds."""
        held: dict[int, list[str]] = {}
        lines: dict[int, str] = {}
        for name, one in model.named_modules():
            self.watched.add(id(one))
            for value in vars(one).values():
                if _is_generator(value):
                    held.setdefault(id(value), []).append(name or type(one).__name__)
                    lines[id(value)] = type(value).__name__
        for key, names in held.items():
            if len(names) > 1:
                self.write(["shared", lines[key], sorted(names)])


def _is_generator(value: Any) -> bool:
    torch, numpy = sys.modules.get("torch"), sys.modules.get("numpy.random")
    return (
        isinstance(value, random.Random)
        or (torch is not None and isinstance(value, torch.Generator))
        or (numpy is not None and isinstance(value, numpy.Generator | numpy.RandomState))
    )


def _own_generators(data: Any, read: Any) -> dict[str, Any]:
    """The generators that a data set reads its examples with: its attributes, its transform's, or global names."""
    found: dict[str, Any] = {}
    holders: list[Any] = [data, *(v for v in vars(data).values() if hasattr(v, "__dict__") and not _is_generator(v))]
    for holder in holders[:20]:
        for name, value in getattr(holder, "__dict__", {}).items():
            if _is_generator(value):
                found[name] = value
    for name in read.__code__.co_names:
        value = read.__globals__.get(name)
        if _is_generator(value):
            found[name] = value
    return found


def _states(torch: Any, own: dict[str, Any]) -> dict[str, str]:
    numpy = sys.modules.get("numpy.random")
    found = {name: digest(value) for name, value in own.items()}
    found["python "] = digest(random.getstate())
    found["torch "] = digest(torch.get_rng_state())
    if numpy is not None:
        found["numpy "] = digest(numpy.mtrand._rand)
    return found


def _values(torch: Any, found: Any) -> list[Any]:
    return [one for one in torch.utils._pytree.tree_leaves(found) if not callable(one)]


def _inside(frame: FrameType | None) -> str:
    """What is being done when a seed is set: "constructor" of a model, "example" that is read; or nothing."""
    torch = sys.modules.get("torch")
    while frame is not None:
        code = frame.f_code
        if is_own(code.co_filename):
            me = frame.f_locals.get("self")
            if code.co_name == "__getitem__":
                return "example"
            if code.co_name in ("__init__", "reset_parameters") and torch and isinstance(me, torch.nn.Module):
                return "constructor"
        frame = frame.f_back
    return ""
