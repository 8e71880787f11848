"""Record each call of a module in each step: a digest of what went in, and of what came out."""

from __future__ import annotations

import sys
from typing import Any
from weakref import WeakKeyDictionary, ref

from nondet.script.instead import instead_of
from nondet.script.trace.places import above, caller
from nondet.script.trace.training import Training, leaves, tensors_digest, transformed
from nondet.script.trace.writer import Writer

SAMPLE = 1 << 10
"""How many elements of a tensor go into its digest, in addition to the sum of all."""


Paths = WeakKeyDictionary[Any, str]


def path_in(paths: Paths, model: Any) -> str:
    """Return the name of a module in the model whose call was seen first. paths: the names that are known."""
    if model not in paths:
        for name, one in model.named_modules():
            paths.setdefault(one, name or type(one).__name__)
    return paths[model]


class Modules:
    """Records the calls of modules."""

    def __init__(self, writer: Writer, training: Training) -> None:
        self.writer, self.training = writer, training
        self.paths = Paths()
        self.known: dict[int, tuple[Any, int, str]] = {}  # by a tensor's id: itself, its version, its digest
        training.on_step.append(lambda step: self.known.clear())

    def take_over(self) -> None:
        torch: Any = sys.modules["torch"]
        module, plain = torch.nn.Module, torch.nn.Module.__call__
        compiling = torch.compiler.is_compiling

        @instead_of(module, "__call__")
        def call(model: Any, *args: Any, **words: Any) -> Any:
            if compiling() or self.training.worker() or transformed(torch):
                return plain(model, *args, **words)
            called = [path_in(self.paths, model), type(model).__name__, caller(above(), far=True)]
            given = self._digest(torch, leaves(torch, [args, words]))
            out = plain(model, *args, **words)
            self.writer.write(["module", self.training.step, *called, given, self._digest(torch, out)])
            return out

    def _digest(self, torch: Any, found: Any) -> str:
        return ".".join(self._one(torch, one) for one in leaves(torch, found) if isinstance(one, torch.Tensor))

    def _one(self, torch: Any, tensor: Any) -> str:
        """Return a tensor's digest, and keep it for this step: one module's output is the next one's input."""
        known = self.known.get(id(tensor))
        if known is not None and known[0]() is tensor and known[1] == tensor._version:
            return known[2]
        value = tensors_digest(torch, [tensor], SAMPLE)
        self.known[id(tensor)] = (ref(tensor), tensor._version, value)
        return value
