"""Intercept a model's own operations, and replace them by the stacked ones.

A function mode sees every torch function in a forward pass, with or without `vmap`. An operation that has a stacked
form uses it; any other uses torch's own, and is recorded. A batch norm waits for what follows it, since together with
an addition and a ReLU it takes one pass over memory instead of three. Until then a view of its input stands in for its
result.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

from nondet.training.kernels.meeting import FOLLOWING, Operations, Waiting

if TYPE_CHECKING:
    from nondet.training.kernels.functions import Link, Precision

FREE = frozenset(
    "__getitem__ __eq__ __ne__ __len__ add sub mul div neg abs add_ mul_ sub_ div_ __rsub__ __rdiv__ relu relu_ gelu "
    "silu tanh sigmoid leaky_relu elu hardtanh relu6 hardswish hardsigmoid softplus view reshape flatten permute "
    "transpose contiguous squeeze unsqueeze chunk split dropout dropout1d dropout2d dropout3d to float double "
    "half bfloat16 detach argmax clone type type_as is_floating_point movedim unflatten narrow select stride data T mT "
    "pad new_zeros new_ones new_full zeros_like ones_like full_like".split()
)
"""torch's functions whose result and gradient for one element do not depend on how many other elements there are, as
long as all their tensors have the same shape."""


@dataclass
class Door:
    """Which operations of a stack's models use stacked kernels, and which operations have occurred so far.

    how: the precision of a GPU's kernels; None on a CPU. stock: operations that used torch's own kernels and are not
    element-wise, each with a reason if there is one. used: the stacked ones. refused: why none of these are used after
    all. same: whether a trial of a stack had the same bits as a trial of one run alone. links: those of the last
    forward pass.
    """

    how: Precision | None = None
    stock: dict[str, str] = field(default_factory=dict[str, str])
    used: set[str] = field(default_factory=set[str])
    refused: str = ""
    same: bool = False
    links: list[Link] = field(default_factory=list["Link"])

    def serves(self, width: int) -> bool:
        """Whether a stack of this width uses the stacked operations; on a CPU a single run is a plain module."""
        return not self.refused and (self.how is not None or width > 1)

    @property
    def operations(self) -> Operations:
        if self.how is None:
            from nondet.training.kernels.on_cpu import ON_CPU

            return ON_CPU
        from nondet.training.kernels.operations import ON_GPU

        return ON_GPU

    @property
    def width_free(self) -> bool:
        """Whether no operation so far makes a run's bits depend on the number of other runs."""
        return self.how is not None and self.same and bool(self.used) and not self.stock and not self.refused

    def as_dict(self) -> dict[str, Any]:
        """Return what a run's environment records about it."""
        if self.refused or not self.used:
            return {}
        if self.how is None:
            return {"stacked": sorted(self.used)}
        short = self.how.dtype != torch.float32
        return {
            "products": str(self.how.dtype).removeprefix("torch.") if short else self.how.products,
            "stacked": sorted(self.used),
            "stock": sorted(self.stock),
            "width_free": self.width_free,
        }

    @contextmanager
    def open(self, in_vmap: bool) -> Generator[Mode]:
        """Intercept operations of a forward pass in the block; pass its results through `finished` before leaving."""
        self._forget()
        with Mode(self, in_vmap) as mode:
            yield mode

    def close(self) -> None:
        """End a backward pass; RuntimeError if a gradient that was handed over was not used."""
        lost = any(link.pending is not None for link in self.links)
        self._forget()
        if lost:
            raise RuntimeError("a gradient was handed to a convolution that has no gradient itself")

    def _forget(self) -> None:
        for link in self.links:
            link.node = None  # its graph refers to the link
        self.links.clear()


class _Each(Function):
    """A stacked operation inside vmap, which passes it the tensors of all runs."""

    @staticmethod
    def forward(operation: Callable[..., Any], *given: Any) -> Any:
        return tree_map(lambda t: t[0], operation(*map(_lone, given)))  # when all tensors are shared by the runs

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass

    @staticmethod
    def vmap(info: Any, in_dims: Any, *args: Any) -> tuple[Any, Any]:
        operation, *given = args
        tensors = [_lone(t) if dim is None else t.movedim(dim, 0) for t, dim in zip(given, in_dims[1:], strict=True)]
        return operation(*tensors), 0


def _lone(t: Any) -> Any:
    return t[None] if isinstance(t, Tensor) else t


class Mode(TorchFunctionMode):
    def __init__(self, door: Door, in_vmap: bool) -> None:
        super().__init__()
        self.door, self.in_vmap, self.operations = door, in_vmap, door.operations
        self.waiting: dict[int, tuple[Any, Waiting]] = {}
        self.done: dict[int, Tensor] = {}
        self.dropped: list[Waiting] = []
        self.copies: dict[int, Tensor] = {}
        self.sums: dict[int, tuple[Tensor, Any]] = {}
        self.links: dict[int, tuple[Tensor, Link]] = {}

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        name = _name(func)
        if name in _KNOWN:
            return func(*args, **given)
        changes = _changes(name, args, given)
        if self.waiting:
            following = FOLLOWING.get(func)
            taken = following(self, *args, **given) if following else None
            if taken is not None:
                return taken
            if changes:  # this may be the input of a waiting batch norm
                tree_map(self.settled, [stand_in() for stand_in, _ in list(self.waiting.values())])
            args, given = tree_map(self.settled, (args, given))
        if changes:
            if any(id(t) in self.copies for t in (*args, given.get("out"))):
                raise RuntimeError("a slice with a step, or the tensor that it was taken from, is changed in place")
            self.sums.clear()
            self.links.clear()
        operation = self.operations.table.get(func)
        if operation is not None:
            result = operation(self, *args, **given)
            if result is not None and not isinstance(result, str):
                return result
            if result is not None:
                self.door.stock.setdefault(name, result)
        elif not _is_free(name, (*args, *given.values())):
            self.door.stock.setdefault(name, "")
        return func(*args, **given)

    def finished(self, results: Any) -> Any:
        """Return the results with all waiting batch norms computed and all running statistics updated."""
        found = tree_map(self.settled, results)
        for waiting in [*self.dropped, *(waiting for _, waiting in list(self.waiting.values()))]:
            if not waiting.moments:
                self.normalised(waiting, relu=False)
        return found

    def each(self, operation: Callable[..., Any], *given: Any) -> Any:
        """Apply a stacked operation, given the tensors as one run sees them."""
        if self.in_vmap:
            return _Each.apply(operation, *given)  # pyright: ignore[reportGeneralTypeIssues]
        return operation(*map(_lone, given))[0]

    def normalised(self, waiting: Waiting, relu: bool) -> Tensor:
        """Compute a waiting batch norm."""
        return self.operations.normalised(self, waiting, relu)

    def wait(self, x: Tensor, waiting: Waiting) -> Tensor:
        """Return a stand-in for a waiting batch norm: a new object of the same shape."""
        stand_in = x.view_as(x)
        self.keep(stand_in, waiting)
        return stand_in

    def keep(self, stand_in: Tensor, waiting: Waiting) -> None:
        """Remember what a stand-in stands for, as long as the stand-in is in use."""
        key = id(stand_in)

        def forget(_: Any) -> None:
            _, left = self.waiting.pop(key)
            if self.done.pop(key, None) is None and not left.moments and left.arguments["training"]:
                self.dropped.append(left)

        self.waiting[key] = (weakref.ref(stand_in, forget), waiting)

    def waits(self, t: Any) -> Waiting | None:
        found = self.waiting.get(id(t))
        return found[1] if found and id(t) not in self.done else None

    def settle(self, stand_in: Tensor, result: Tensor) -> Tensor:
        """Let the stand-in mean this result from now on."""
        self.done[id(stand_in)] = result
        return result

    def settled(self, t: Any) -> Any:
        if not isinstance(t, Tensor):
            return t
        if id(t) in self.done:
            return self.done[id(t)]
        waiting = self.waits(t)
        return t if waiting is None else self.settle(t, self.normalised(waiting, relu=False))


_KNOWN = frozenset("shape dtype device ndim requires_grad is_cuda layout is_leaf dim size numel".split())
"""Properties of a tensor that are the same for a stand-in and what it stands for."""


def _name(func: Any) -> str:
    """Return a function's name in torch; if it reads an attribute, the attribute's name."""
    name = str(getattr(func, "__name__", func))
    if name == "__get__":
        return str(getattr(func.__self__, "__name__", name))
    return "max_pool2d" if func is F.max_pool2d else name


def _changes(name: str, args: Sequence[Any], given: Mapping[str, Any]) -> bool:
    """Whether a function may change a real tensor in place; integers do not count, such as batch norm's counter."""
    if args and isinstance(args[0], Tensor) and not args[0].dtype.is_floating_point:
        return False
    return (
        bool(given.get("inplace"))
        or "out" in given
        or name.startswith("__i")
        or name in ("__setitem__", "__set__")
        or (name.endswith("_") and not name.endswith("__"))
    )


def _is_free(name: str, given: Sequence[Any]) -> bool:
    tensors: list[Tensor] = []
    tree_map(lambda t: tensors.append(t) if isinstance(t, Tensor) else None, list(given))
    if name == "sum":  # integers have the same sum in any order
        return not tensors[0].is_floating_point()
    if name in ("cat", "stack"):
        return True
    alike = len({tuple(t.shape) for t in tensors}) <= 1 or name in ("__getitem__", "__set__")
    return name in FREE and alike
