"""Find habits that limit what seeds reach: seeds in constructors, kept examples, shared generators."""

from __future__ import annotations

import linecache
import random
import re
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import FrameType, FunctionType
from typing import Any

from nondet.script.instead import instead_of
from nondet.script.trace.places import above, asking, caller, is_own, short
from nondet.script.trace.values import digest

EXAMPLES = 32
"""How many examples of each data set are looked at, in each pass over it."""


class Habits:
    """Records them. write: takes a record. made: the line of each generator that the user's code has made."""

    def __init__(self, write: Callable[[list[Any]], None], made: Mapping[int, str]) -> None:
        self.write, self.made = write, made
        self.watched: set[int] = set()
        self.classes: set[type] = set()
        self.seeds: dict[str, set[str]] = {}
        self.again: dict[Any, tuple[str, str, str]] = {}  # by the code of a function that sets a fixed seed again

    def seeded(self, kind: str, site: str, seed: Any) -> None:
        """Note a seed that is set while a model is built or an example is read."""
        frame = above()
        where, value = _inside(frame), digest(seed)
        if where:
            self.write(["seed-in", kind, site, where, value])
        earlier = self.seeds.setdefault(kind, set())
        if kind != "generator" and earlier and value not in earlier:
            self._again(frame, (kind, site, value))
        earlier.add(value)

    def _again(self, frame: FrameType | None, seed: tuple[str, str, str]) -> None:
        """Remember a function that sets a different seed from the one before, with the number in its text."""
        frame = asking(frame)
        if frame is None or frame.f_code.co_name == "<module>":
            return
        if re.search(
            r"(seed|determinis|reproducib)\w*\((\w+=)?\d+\)",
            linecache.getline(frame.f_code.co_filename, frame.f_lineno),
        ):
            self.again[frame.f_code] = seed

    def _built(self, torch: Any) -> None:
        """Note a model that is built in such a function (see `_again`)."""
        plain = torch.nn.Module.__init__

        @instead_of(torch.nn.Module, "__init__")
        def init(model: Any, *args: Any, **words: Any) -> None:
            plain(model, *args, **words)
            frame: FrameType | None = above() if self.again else None
            while frame is not None:
                if frame.f_code in self.again:
                    kind, site, value = self.again.pop(frame.f_code)
                    self.write(["seed-in", kind, site, "constructor", value])
                frame = frame.f_back

    def _dropouts(self, torch: Any) -> None:
        """Note dropout that the user's code calls as a function, if it drops although no gradient is kept."""
        functional = torch.nn.functional
        for name in ("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout"):
            plain = getattr(functional, name)

            @instead_of(functional, name)
            def dropout(
                input: Any, p: float = 0.5, training: bool = True, *args: Any, plain: Any = plain, **words: Any
            ) -> Any:
                if training and p and not torch.is_grad_enabled():
                    frame = above()
                    if is_own(frame.f_code.co_filename):
                        self.write(["training-mode", 0, f"F.{plain.__name__}", caller(frame)])
                return plain(input, p, training, *args, **words)

    def torch(self) -> None:
        torch: Any = sys.modules["torch"]
        self._built(torch)
        self._dropouts(torch)
        fetch: Any = torch.utils.data._utils.fetch._MapDatasetFetcher
        plain = fetch.__init__

        @instead_of(fetch, "__init__")
        def init(fetcher: Any, dataset: Any, *args: Any, **words: Any) -> None:
            self._watch(torch, dataset)
            plain(fetcher, dataset, *args, **words)

        module, call = torch.nn.Module, torch.nn.Module.__call__

        @instead_of(module, "__call__")
        def first_call(model: Any, *args: Any, **words: Any) -> Any:
            if id(model) not in self.watched:
                self._generators(model)
            return call(model, *args, **words)

    def _watch(self, torch: Any, dataset: Any) -> None:
        """Note the first examples of a data set in each pass, and whether reading one draws random numbers."""
        while isinstance(dataset, torch.utils.data.Subset):
            dataset = dataset.dataset
        kind: Any = type(dataset)
        read = kind.__dict__.get("__getitem__")
        code = getattr(read, "__code__", None)
        if code is None or not is_own(code.co_filename) or kind in self.classes:
            return
        self.classes.add(kind)
        site = f"{short(code.co_filename)}:{code.co_firstlineno}"

        @instead_of(kind, "__getitem__")
        def reading(data: Any, index: Any) -> Any:
            if not hasattr(index, "__index__") or int(index) >= EXAMPLES:
                return read(data, index)
            own = _own_generators(data, read)
            made = {name: self.made.get(id(value), "") for name, value in own.items()}
            before = _states(torch, own)
            found = read(data, index)
            after = _states(torch, own)
            drew = [name for name, state in after.items() if before.get(name) != state]
            values = [one for one in torch.utils._pytree.tree_leaves(found) if not callable(one)]
            self.write(["example", int(index), digest(values), site, drew, made])
            return found

    def _generators(self, model: Any) -> None:
        """Note generators that several modules of a model share."""
        held: dict[int, list[str]] = {}
        lines: dict[int, str] = {}
        for name, one in model.named_modules():
            self.watched.add(id(one))
            forward = type(one).forward
            own = is_own(getattr(getattr(forward, "__code__", None), "co_filename", "<"))
            values = [*vars(one).values(), *(_named(forward).values() if own else ())]
            for value in {id(v): v for v in values if _is_generator(v)}.values():
                held.setdefault(id(value), []).append(name or type(one).__name__)
                lines[id(value)] = type(value).__name__
        for key, names in held.items():
            if len(names) > 1:
                self.write(["shared", lines[key], sorted(names), self.made.get(key, "")])


def _is_generator(value: Any) -> bool:
    torch, numpy = sys.modules.get("torch"), sys.modules.get("numpy.random")
    return (
        isinstance(value, random.Random)
        or (torch is not None and isinstance(value, torch.Generator))
        or (numpy is not None and isinstance(value, numpy.Generator | numpy.RandomState))
    )


def _own_generators(data: Any, read: Any) -> dict[str, Any]:
    """Return the generators that a data set uses to read examples: its own, its transform's, or global ones."""
    found: dict[str, Any] = {}
    holders: list[Any] = [data, *(v for v in vars(data).values() if hasattr(v, "__dict__") and not _is_generator(v))]
    for holder in holders[:20]:
        for name, value in getattr(holder, "__dict__", {}).items():
            if _is_generator(value):
                found[name] = value
        found |= {name: value for name, value in _called(holder).items() if _is_generator(value)}
    return found | {name: value for name, value in _named(read, 2).items() if _is_generator(value)}


def _called(holder: Any) -> dict[str, Any]:
    """Return what a transform of the user's own refers to."""
    call = holder if isinstance(holder, FunctionType) else type(holder).__dict__.get("__call__")
    own = isinstance(call, FunctionType) and is_own(call.__code__.co_filename)
    return _named(call, 1) if own else {}


def _named(function: Any, deep: int = 0) -> dict[str, Any]:
    """Return the globals that a function refers to, and what it closes over. deep: also for functions that it calls."""
    code = getattr(function, "__code__", None)
    if code is None:
        return {}
    found = {name: function.__globals__[name] for name in code.co_names if name in function.__globals__}
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=False):
        with suppress(ValueError):  # a cell that is still empty
            found[name] = cell.cell_contents
    if deep:
        for value in [*found.values()]:
            if isinstance(value, FunctionType) and is_own(value.__code__.co_filename):
                found |= _named(value, deep - 1)
    return found


def _states(torch: Any, own: dict[str, Any]) -> dict[str, str]:
    numpy = sys.modules.get("numpy.random")
    states = {**own, "python ": random.getstate(), "torch ": torch.get_rng_state()}
    if numpy is not None:
        states["numpy "] = numpy.mtrand._rand
    return {name: digest(state) for name, state in states.items()}


def _inside(frame: FrameType | None) -> str:
    """Return what is going on when a seed is set: "constructor" of a model, "example" being read, or nothing."""
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
