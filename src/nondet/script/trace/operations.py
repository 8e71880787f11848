"""Record each torch operation in some steps: what went in, what came out, in which module, on which line."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from nondet.script.instead import instead_of
from nondet.script.trace.modules import Paths, path_in
from nondet.script.trace.places import above, caller, is_own, short
from nondet.script.trace.training import Training, tensors_digest, tensors_in
from nondet.script.trace.values import LOOKING, digest
from nondet.script.trace.writer import Writer

KEPT = 64 * 2**20
"""How many bytes of outputs are kept, so that those of two runs can be subtracted."""

UNWRITTEN = ("empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "resize_")

ADDING = re.compile(
    r"index_(put|add|copy|reduce)|_index_put_impl|scatter|^put_?$|bincount|histc|cumsum|segment_reduce"
    r"|(embedding|pool|upsample|grid_sampler|ctc_loss|index_select|gather|conv).*backward|embedding_bag|sparse"
)
"""Operations that may add in a different order each time."""

TIMES = 12
"""How often such an operation is repeated, if that is asked for."""

PASSING = ("profiler", "detach")
"""These do nothing to numbers."""


class Operations:
    """Records the operations in a window of steps, from the beginning of the first to the end of the last.

    again: operations that may add in any order are repeated many times, with the same inputs.
    """

    def __init__(self, writer: Writer, training: Training, window: list[int], folder: Path, again: bool) -> None:
        self.again = again
        self.writer, self.training, self.window, self.folder = writer, training, window, folder
        self.left, self.modules, self.paths = KEPT, [""], Paths()
        self.unwritten: dict[int, int] = {}  # address of uninitialised memory -> number of its operation
        self.number = 0
        self.module_of: dict[str, str] = {}
        self.mode: Any = None

    def begin(self) -> None:
        self._modules()
        if self.window[0] == 0:
            self._enter()
        self.training.on_step.append(self._stepped)

    def _stepped(self, step: int) -> None:
        if step == self.window[0] and self.mode is None:
            self._enter()
        elif step > self.window[1] and self.mode is not None:
            self.mode.__exit__(None, None, None)
            self.mode = None

    def _enter(self) -> None:
        torch: Any = sys.modules["torch"]
        torch.autograd.set_detect_anomaly(True, check_nan=False)
        from torch.utils._python_dispatch import TorchDispatchMode

        done = self.done

        class Watch(TorchDispatchMode):
            def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
                return done(torch, func, args, kwargs or {})

        self.mode = Watch()
        self.mode.__enter__()

    def _modules(self) -> None:
        torch: Any = sys.modules["torch"]
        module, plain = torch.nn.Module, torch.nn.Module.__call__

        @instead_of(module, "__call__")
        def call(model: Any, *args: Any, **words: Any) -> Any:
            self.modules.append(path_in(self.paths, model))
            try:
                return plain(model, *args, **words)
            finally:
                self.modules.pop()

    def done(self, torch: Any, function: Any, args: Any, words: Any) -> Any:
        """Run one operation, and record it."""
        name = str(function.overloadpacket).removeprefix("aten.")
        if LOOKING or name.startswith(PASSING):
            return function(*args, **words)
        given = torch.utils._pytree.tree_leaves([args, words])
        before = [_value(torch, one) for one in given]
        tensors = tensors_in(torch, given)
        waiting = {self.unwritten[at]: None for at in map(_address, tensors) if at in self.unwritten}
        node = torch._C._current_autograd_node()
        site, backward = (caller(above(2), far=True), "") if node is None else self._forward_site(node)
        module = self.module_of.get(site, "") if node is not None else self.modules[-1]
        self.module_of.setdefault(site, module)
        kept_inputs = self._copied(torch, args, words) if self.again and ADDING.search(name) else None
        out = function(*args, **words)
        came = tensors_in(torch, out)
        self.number += 1
        nothing = name in UNWRITTEN
        for one in came:
            if nothing and one.numel():
                self.unwritten[_address(one)] = self.number
        if not nothing:
            reads = not _views(function)
            if reads and function._schema.is_mutable:
                for one in tensors[:1]:
                    self.unwritten.pop(_address(one), None)
                    waiting = {}
            elif not reads:
                waiting = {}
        after = ["-" if nothing else _value(torch, one) for one in came]
        shapes = [list(one.shape) for one in came]
        kept = self._keep(torch, came) if not nothing else ""
        head = [self.training.step, module, name, site, backward]
        self.writer.write(["op", *head, before, after, shapes, [*waiting], self.number, kept])
        if kept_inputs is not None:
            self._once_more(torch, function, kept_inputs, came, [*head, shapes])
        return out

    @staticmethod
    def _copied(torch: Any, args: Any, words: Any) -> Any:
        return torch.utils._pytree.tree_map(
            lambda one: one.detach().clone() if isinstance(one, torch.Tensor) else one, [args, words]
        )

    def _once_more(self, torch: Any, function: Any, inputs: Any, came: list[Any], head: list[Any]) -> None:
        """Repeat an operation with the same inputs, and record the first result that differs."""
        for _ in range(TIMES):
            args, words = self._copied(torch, *inputs)
            others = tensors_in(torch, function(*args, **words))
            if [_value(torch, one) for one in others] != [_value(torch, one) for one in came]:
                first, second = self._keep(torch, came), self._keep(torch, others, "-again")
                self.writer.write(["again", *head, first, second])
                return

    def _keep(self, torch: Any, came: list[Any], suffix: str = "") -> str:
        """Keep an operation's first output in a file, as long as there is room."""
        if not came or not came[0].is_floating_point() or not came[0].numel():
            return ""
        size = came[0].numel() * 8
        if size > self.left:
            return ""
        self.left -= size
        import numpy

        name = f"op-{self.number}{suffix}.npy"
        numpy.save(self.folder / name, came[0].detach().double().cpu().numpy())
        return name

    def _forward_site(self, node: Any) -> tuple[str, str]:
        """Return the user's line that this backward pass belongs to, and the node's name."""
        lines = "".join(node.metadata.get("traceback_", []))
        places = re.findall(r'File "([^"]+)", line (\d+)', lines)
        own = [f"{short(file)}:{line}" for file, line in places if is_own(file)]
        return (own[-1] if own else ""), str(node.name())


def _views(function: Any) -> bool:
    """Whether an operation only views memory in another shape, without reading it."""
    returns = function._schema.returns
    alias = returns[0].alias_info if returns else None
    return alias is not None and not alias.is_write


def _address(one: Any) -> int:
    return int(one.untyped_storage().data_ptr()) if one.layout is sys.modules["torch"].strided else 0


def _value(torch: Any, one: Any) -> str:
    if isinstance(one, torch.Tensor):
        try:
            return tensors_digest(torch, [one])
        except (RuntimeError, NotImplementedError, TypeError):
            return "-"
    return digest(one)
