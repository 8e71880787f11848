"""Record a training: the first weights, batches, losses, weights after each step, and evaluations."""

from __future__ import annotations

import hashlib
import linecache
import os
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from itertools import islice
from types import FrameType
from typing import Any
from weakref import ref

from nondet.script.instead import instead_of
from nondet.script.sites import HERE
from nondet.script.trace.places import above, caller, is_own
from nondet.script.trace.values import LOOKING, digest, tensor_bytes

SAMPLE = 1 << 14
"""The most elements of a tensor that a digest covers bit by bit; a larger tensor is sampled, and its sum is added."""


def tensors_digest(torch: Any, tensors: Any, sample: int = SAMPLE) -> str:
    """Return 12 digits for some tensors: of small ones from every bit, of larger ones from a sample and the sum of all.

    The sum adds their bits as whole numbers, so it is the same in any order, with any threads and instructions.
    """
    found = hashlib.blake2b(digest_size=6)
    LOOKING.append(1)
    try:
        for one in tensors:
            if one is None:
                continue
            if one.numel() > sample and one.layout is torch.strided:
                flat = one.detach().reshape(-1)
                found.update(f"{one.dtype}{tuple(one.shape)}".encode())
                found.update(tensor_bytes(torch, flat[:: flat.numel() // sample]))
                found.update(_total(torch, flat))
            else:
                found.update(tensor_bytes(torch, one))
    finally:
        LOOKING.pop()
    return found.hexdigest()


def batch_digest(torch: Any, batch: Any) -> str:
    """The digest of what goes into a model or comes out of it, in whatever containers: of tensors as `tensors_digest`,
    which is much faster than hashing every byte.
    """
    others = [one for one in torch.utils._pytree.tree_leaves(batch) if not isinstance(one, torch.Tensor)]
    return tensors_digest(torch, tensors_in(torch, batch)) + (digest(others) if others else "")


def tensors_in(torch: Any, found: Any) -> list[Any]:
    """Return the tensors in whatever containers."""
    return [one for one in torch.utils._pytree.tree_leaves(found) if isinstance(one, torch.Tensor)]


def _total(torch: Any, flat: Any) -> bytes:
    """Return the sum of a tensor's bits, eight bytes at a time, and the bytes that are left over."""
    whole = flat.view(torch.uint8) if not flat.is_complex() else torch.view_as_real(flat).reshape(-1).view(torch.uint8)
    if whole.storage_offset() % 8:
        whole = whole.clone()
    rest = whole.numel() % 8
    total = int(whole[: whole.numel() - rest].view(torch.int64).sum())
    return f"{total}".encode() + (tensor_bytes(torch, whole[-rest:]) if rest else b"")


def transformed(torch: Any) -> bool:
    """Whether torch.func is at work, inside which tensors have no values."""
    return torch._C._functorch.peek_interpreter_stack() is not None


_UNSEEN: list[int] = []


@contextmanager
def unseen() -> Generator[None]:
    """Do not record steps in this block: they do not belong to the training."""
    _UNSEEN.append(1)
    try:
        yield
    finally:
        _UNSEEN.pop()


class Training:
    """Hooks into torch, once it is imported.

    write: takes a record. until: the step after which the process ends; None for its own end. on_step: called after
    each step. end: called before the process ends. models: by id, weak references to models and to those of their
    modules that behave differently in evaluation. nudged: lines whose passes without a gradient return slightly more.
    """

    def __init__(
        self, write: Callable[[list[Any]], None], until: int | None, end: Callable[[], None], worker: Callable[[], bool]
    ) -> None:
        self.write, self.until, self.end = write, until, end
        self.worker = lambda: bool(_UNSEEN) or worker()
        self.step, self.stepping, self.depth, self.loaders = 0, 0, 0, 0
        self.nudged: Sequence[str] = ()
        self.on_step: list[Callable[[int], None]] = []
        self.models: dict[int, tuple[Any, list[Any]]] = {}
        self.waiting: list[list[Any]] = []  # forward passes in training mode since the last backward pass

    def take_over(self) -> None:
        torch: Any = sys.modules["torch"]
        self._forwards(torch)
        self._backward(torch)
        self._steps(torch)
        self._loaders(torch)

    def seen(self, kind: str, value: str, site: str, more: str = "") -> None:
        self.write([kind, self.step, value, site, more])

    def _forwards(self, torch: Any) -> None:
        module, plain = torch.nn.Module, torch.nn.Module.__call__
        compiling = torch.compiler.is_compiling

        @instead_of(module, "__call__")
        def call(model: Any, *args: Any, **words: Any) -> Any:
            if compiling() or self.depth or self.worker() or torch._C._current_graph_task_id() != -1:
                return plain(model, *args, **words)
            if next(model.parameters(), None) is None or transformed(torch):
                return plain(model, *args, **words)
            site = caller(above(), far=True)
            if self._is_new(model):
                weights = [*model.parameters(), *model.buffers()]
                self.seen("start", tensors_digest(torch, weights), site, type(model).__name__)
            grad = torch.is_grad_enabled()
            self.seen("batch" if grad else "asked", batch_digest(torch, [args, words]), site, type(model).__name__)
            found = self._evaluation(model, site) if is_kept(above()) else []
            if grad:
                self.waiting += found
            else:
                for one in found:
                    self.write(one)
            self.depth += 1
            try:
                out = plain(model, *args, **words)
            finally:
                self.depth -= 1
            if site in self.nudged and not grad:
                out = torch.utils._pytree.tree_map(nudge, out)
            self.seen("output" if grad else "answer", batch_digest(torch, leaves(torch, out)), site)
            return out

    def _is_new(self, model: Any) -> bool:
        """Whether a model has not been called before; its id may have belonged to a model that is gone."""
        known = self.models.get(id(model))
        if known is not None and known[0]() is model:
            return False
        drawing = [ref(one) for one in model.modules() if _drops(one) or getattr(one, "track_running_stats", False)]
        self.models[id(model)] = ref(model), drawing
        return True

    def _evaluation(self, model: Any, site: str) -> list[list[Any]]:
        """Return a record for each kind of module that still behaves as in training."""
        held = [one() for one in self.models[id(model)][1]]
        names = {type(one).__name__ for one in held if one is not None and one.training}
        return [["training-mode", self.step, name, site] for name in sorted(names)]

    def settle(self) -> None:
        """At the end, record the passes without a backward pass: they were evaluations, though gradients were kept."""
        for one in self.waiting:
            self.write(one)

    def _backward(self, torch: Any) -> None:
        plain = torch.autograd.backward

        @instead_of(torch.autograd, "backward")
        def backward(tensors: Any, *args: Any, **words: Any) -> Any:
            if not self.worker():
                self.waiting = []
                several = tensors if isinstance(tensors, list | tuple) else [tensors]
                self.seen("loss", tensors_digest(torch, several), caller(above(), far=True), _value(several))
            return plain(tensors, *args, **words)

    def _steps(self, torch: Any) -> None:
        optimizer = sys.modules.get("torch.optim.optimizer") or torch.optim.optimizer

        def before(one: Any, args: Any, words: Any) -> None:
            self.stepping += 1

        def after(one: Any, args: Any, words: Any) -> None:
            self.stepping -= 1
            if self.stepping or self.worker():
                return
            weights = [p for group in one.param_groups for p in group["params"]]
            self.seen("weights", tensors_digest(torch, weights), caller(above(), far=True))
            self.seen("generator", digest(torch.default_generator), "", "torch")
            self.step += 1
            for told in self.on_step:
                told(self.step)
            if self.until is not None and self.step > self.until:
                self.write(["cut", self.step])
                self.end()
                os._exit(0)

        optimizer.register_optimizer_step_pre_hook(before)
        optimizer.register_optimizer_step_post_hook(after)

    def _loaders(self, torch: Any) -> None:
        """Record the order of examples that samplers draw, and the epoch that a distributed sampler is given."""
        iterator: Any = torch.utils.data.dataloader._BaseDataLoaderIter
        init, reset, index, batch = iterator.__init__, iterator._reset, iterator._next_index, iterator.__next__

        def counted(it: Any, loader: Any) -> None:
            number = loader.__dict__.get("_nondet_pass", 0)
            object.__setattr__(loader, "_nondet_pass", number + 1)
            if number == 0:
                object.__setattr__(loader, "_nondet_loader", self.loaders)
                self.loaders += 1
            it._nondet_place = f"{loader._nondet_loader}.{number}"
            it._nondet_order, it._nondet_data = hashlib.blake2b(digest_size=6), hashlib.blake2b(digest_size=6)
            it._nondet_count = 0
            batches = loader.batch_sampler
            sampler = loader.sampler if batches is None else getattr(batches, "sampler", batches)
            it._nondet_sampler = type(sampler).__name__
            it._nondet_epoch = getattr(sampler, "epoch", None)
            it._nondet_site = caller(above(2), far=True)

        def __init__(it: Any, loader: Any) -> None:
            counted(it, loader)
            init(it, loader)

        def _reset(it: Any, loader: Any, first_iter: bool = False) -> None:
            if not first_iter:
                counted(it, loader)
            reset(it, loader, first_iter)

        def _next_index(it: Any) -> Any:
            found = index(it)
            it._nondet_order.update(repr(found).encode())
            return found

        def __next__(it: Any) -> Any:
            try:
                found = batch(it)
            except StopIteration:
                self._pass_done(it)
                raise
            value = batch_digest(torch, leaves(torch, found))
            it._nondet_data.update(value.encode())
            it._nondet_count += 1
            self.write(["loaded", self.step, value, it._nondet_site, it._nondet_place])
            return found

        iterator.__init__, iterator._reset = __init__, _reset
        iterator._next_index, iterator.__next__ = _next_index, __next__

    def _pass_done(self, it: Any) -> None:
        more = [it._nondet_sampler, it._nondet_epoch, it._nondet_count, it._nondet_data.hexdigest()]
        self.write(["order", self.step, it._nondet_order.hexdigest(), it._nondet_site, it._nondet_place, more])


def is_kept(frame: FrameType | None) -> bool:
    """Whether the user's own code makes a call and uses what it returns.

    `net(x)` as a statement by itself is there to update running statistics.
    """
    while frame is not None and frame.f_code.co_filename.startswith(HERE):
        frame = frame.f_back
    if frame is None or not is_own(frame.f_code.co_filename):
        return False
    first, last, begin, end = next(islice(frame.f_code.co_positions(), frame.f_lasti // 2, None), (None,) * 4)
    if first is None or last is None or begin is None or end is None:
        return True
    head = linecache.getline(frame.f_code.co_filename, first).encode()[:begin]
    rest = linecache.getline(frame.f_code.co_filename, last).encode()[end:].partition(b"#")[0]
    return bool(head.strip() or rest.strip())


def nudge(value: Any) -> Any:
    """Return slightly more: a training that uses the value must show it, but no answer becomes another class."""
    torch: Any = sys.modules["torch"]
    return value * (1 + 2**-8) if isinstance(value, torch.Tensor) and value.is_floating_point() else value


def _drops(one: Any) -> bool:
    return type(one).__name__.endswith(("Dropout", "Dropout1d", "Dropout2d", "Dropout3d")) and getattr(one, "p", 0) > 0


def leaves(torch: Any, found: Any) -> list[Any]:
    """Return the tensors in whatever a model returns."""
    leaves = torch.utils._pytree.tree_leaves(dict(found) if hasattr(found, "keys") else found)
    return [one for one in leaves if isinstance(one, torch.Tensor | int | float | str)]


def _value(tensors: Any) -> str:
    one = tensors[0] if len(tensors) else None
    return f"{float(one.detach()):.9g}" if one is not None and one.numel() == 1 else ""
