"""Where a model's own operations are met, and answered by the stacked ones.

A function mode sees every torch function of a forward pass, inside `vmap` as without it. An operation that has a
stacked form takes it; every other takes torch's own, and is noted. A batch norm waits for what follows it, since with
an addition and a ReLU it is one pass over memory and not three: until then a view of its input stands for its result.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

from nondet.training.kernels import functions as stacked
from nondet.training.kernels import geometry as shapes
from nondet.training.kernels.functions import Link, Precision, Sums
from nondet.training.kernels.tiles import across_for

FREE = frozenset(
    "__getitem__ __eq__ __ne__ __len__ add sub mul div neg abs add_ mul_ sub_ div_ __rsub__ __rdiv__ relu relu_ gelu "
    "silu tanh sigmoid leaky_relu elu hardtanh relu6 hardswish hardsigmoid softplus view reshape flatten permute "
    "transpose contiguous squeeze unsqueeze chunk split dropout dropout1d dropout2d dropout3d to float double "
    "half bfloat16 detach argmax clone type type_as is_floating_point movedim unflatten narrow select stride data T mT "
    "pad".split()
)
"""torch's functions whose result for one element, and whose gradient, are the same however many stand beside it, as
long as all their tensors are of one shape."""

LARGEST = 2**31 - 1
"""Elements of one model's tensor that a kernel can number."""


@dataclass
class Door:
    """Which operations of the models of a stack take stacked kernels, and what has come through so far.

    stock: the operations that took torch's own kernels and are no element-wise ones, with the reason where there is
    one. used: the stacked ones. refused: why none of them is taken after all. same: whether a trial of a stack left the
    bits of a trial of one run alone. links: those of the last forward pass.
    """

    how: Precision
    stock: dict[str, str] = field(default_factory=dict[str, str])
    used: set[str] = field(default_factory=set[str])
    refused: str = ""
    same: bool = False
    links: list[Link] = field(default_factory=list[Link])

    @property
    def width_free(self) -> bool:
        """Whether nothing that was seen makes a run's bits depend on the number of runs beside it."""
        return self.same and bool(self.used) and not self.stock and not self.refused

    def as_dict(self) -> dict[str, Any]:
        """What a run's environment says of it."""
        if self.refused or not self.used:
            return {}
        short = self.how.dtype != torch.float32
        return {
            "products": str(self.how.dtype).removeprefix("torch.") if short else self.how.products,
            "stacked": sorted(self.used),
            "stock": sorted(self.stock),
            "width_free": self.width_free,
        }

    @contextmanager
    def open(self, in_vmap: bool) -> Generator[_Mode]:
        """Meet the operations of a forward pass inside the block; `finished` its results before they leave it."""
        self._forget()
        with _Mode(self, in_vmap) as mode:
            yield mode

    def close(self) -> None:
        """After a backward pass; RuntimeError if a gradient did not arrive where it was handed to."""
        lost = any(link.pending is not None for link in self.links)
        self._forget()
        if lost:
            raise RuntimeError("a gradient was handed to a convolution that has none of its own")

    def _forget(self) -> None:
        for link in self.links:
            link.node = None  # whose graph holds the link
        self.links.clear()


@dataclass(frozen=True)
class _Waiting:
    """A batch norm, perhaps with an addition, that has not been computed: its arguments, by name.

    moments: mean and 1 / standard deviation of all runs, once they are known; the same list in all that follow.
    """

    arguments: Mapping[str, Any]
    moments: list[tuple[Tensor, Tensor]]
    residual: Tensor | None = None


class _Each(Function):
    """A stacked operation inside vmap, which hands it the tensors of all runs."""

    @staticmethod
    def forward(operation: Callable[..., Any], *given: Any) -> Any:
        return tree_map(lambda t: t[0], operation(*map(_lone, given)))  # where no run's own tensor is among them

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


class _Mode(TorchFunctionMode):
    def __init__(self, door: Door, in_vmap: bool) -> None:
        super().__init__()
        self.door, self.in_vmap = door, in_vmap
        self.waiting: dict[int, tuple[Any, _Waiting]] = {}
        self.done: dict[int, Tensor] = {}
        self.dropped: list[_Waiting] = []
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
            following = _FOLLOWING.get(func)
            taken = following(self, *args, **given) if following else None
            if taken is not None:
                return taken
            if changes:  # perhaps the input of a batch norm that waits
                tree_map(self.settled, [stand_in() for stand_in, _ in list(self.waiting.values())])
            args, given = tree_map(self.settled, (args, given))
        if changes:
            if any(id(t) in self.copies for t in (*args, given.get("out"))):
                raise RuntimeError("a slice of every so many rows, or what it was taken from, is changed in place")
            self.sums.clear()
            self.links.clear()
        operation = _OPERATIONS.get(func)
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
        """The results with nothing in them that still waits, and every running statistic moved."""
        found = tree_map(self.settled, results)
        for waiting in [*self.dropped, *(waiting for _, waiting in list(self.waiting.values()))]:
            if not waiting.moments:
                _normalised(self, waiting, relu=False)
        return found

    def each(self, operation: Callable[..., Any], *given: Any) -> Any:
        """A stacked operation on what one run sees of its tensors."""
        if self.in_vmap:
            return _Each.apply(operation, *given)  # pyright: ignore[reportGeneralTypeIssues]
        return operation(*map(_lone, given))[0]

    def wait(self, x: Tensor, waiting: _Waiting) -> Tensor:
        """A stand-in for what waits: of its shape, and an object of its own."""
        stand_in = x.view_as(x)
        self.keep(stand_in, waiting)
        return stand_in

    def keep(self, stand_in: Tensor, waiting: _Waiting) -> None:
        """Note what a stand-in stands for, as long as anybody holds it."""
        key = id(stand_in)

        def forget(_: Any) -> None:
            _, left = self.waiting.pop(key)
            if self.done.pop(key, None) is None and not left.moments and left.arguments["training"]:
                self.dropped.append(left)

        self.waiting[key] = (weakref.ref(stand_in, forget), waiting)

    def waits(self, t: Any) -> _Waiting | None:
        found = self.waiting.get(id(t))
        return found[1] if found and id(t) not in self.done else None

    def settle(self, stand_in: Tensor, result: Tensor) -> Tensor:
        """From now on the stand-in means this result."""
        self.done[id(stand_in)] = result
        return result

    def settled(self, t: Any) -> Any:
        if not isinstance(t, Tensor):
            return t
        if id(t) in self.done:
            return self.done[id(t)]
        waiting = self.waits(t)
        return t if waiting is None else self.settle(t, _normalised(self, waiting, relu=False))


_KNOWN = frozenset("shape dtype device ndim requires_grad is_cuda layout is_leaf dim size numel".split())
"""What a tensor is: a stand-in says the same as what it stands for."""


def _name(func: Any) -> str:
    """A function's name in torch; of the reading of an attribute, the attribute's."""
    name = str(getattr(func, "__name__", func))
    if name == "__get__":
        return str(getattr(func.__self__, "__name__", name))
    return "max_pool2d" if func is F.max_pool2d else name


def _changes(name: str, args: Sequence[Any], given: Mapping[str, Any]) -> bool:
    """Whether a function may change a tensor of real numbers in place; batch norms count their batches so."""
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
    if name == "sum":  # of whole numbers, which any order adds up to the same
        return not tensors[0].is_floating_point()
    if name in ("cat", "stack"):
        return True
    alike = len({tuple(t.shape) for t in tensors}) <= 1 or name in ("__getitem__", "__set__")
    return name in FREE and alike


def _typed(mode: _Mode, *tensors: Tensor | None) -> bool:
    """Whether these have types that the kernels know: the computed one, or one that is rounded to it."""
    known = {mode.door.how.dtype, torch.float32}
    return all(t is None or (t.dtype in known and t.numel() <= LARGEST) for t in tensors)


def _outside_autocast(mode: _Mode, input: Tensor) -> bool:
    """Whether a model of mixed precision has turned it off here."""
    return input.dtype != mode.door.how.dtype and not torch.is_autocast_enabled(input.device.type)


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value * 2 if len(value) == 1 else tuple(value))


def _conv2d(
    mode: _Mode, input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0,
    dilation: Any = 1, groups: int = 1,
) -> Any:  # fmt: skip
    if input.dim() != 4 or isinstance(padding, str) or not _typed(mode, input, weight, bias):
        return "of another shape or type"
    (high, wide), (up, across) = _pair(stride), _pair(dilation)
    outputs, channels = weight.shape[0], input.shape[1]
    if high != wide or (up, across) != (1, 1):
        return "of unequal strides or dilated"
    if groups > 1 and channels == groups != outputs:
        return "of several filters for each channel alone"
    if _outside_autocast(mode, input):
        return "outside autocast"
    geometry = shapes.forward(
        (input.shape[2], input.shape[3]), channels, outputs, (weight.shape[2], weight.shape[3]), high, _pair(padding),
        groups, across_for(outputs // groups, mode.door.how.dtype, mode.door.how.products),
    )  # fmt: skip
    if len(input) * geometry.out_height * geometry.out_width * outputs > LARGEST:
        return "of too large an output"
    how, wanted = mode.door.how, torch.is_grad_enabled() and geometry.whole
    mode.door.used.add("conv2d")
    kept: list[Sums | None] = []
    link = Link()
    if torch.is_grad_enabled():
        mode.links[id(input)] = (input, link)
        mode.door.links.append(link)

    def operation(x: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
        y, sums = stacked.conv2d(x, w, b, geometry, how, wanted, link)
        kept.append(sums)
        return y

    y = mode.each(operation, input, weight, bias)
    if kept[-1] is not None:
        mode.sums[id(y)] = (y, kept[-1])
    return y


def _batch_norm(
    mode: _Mode, input: Tensor, running_mean: Tensor | None, running_var: Tensor | None, weight: Tensor | None = None,
    bias: Tensor | None = None, training: bool = False, momentum: float | None = 0.1, eps: float = 1e-5,
) -> Any:  # fmt: skip
    if not _typed(mode, input, weight, bias, running_mean) or input.dim() < 2:
        return "of another type"
    if training and input.numel() <= input.shape[1]:  # one value of each channel, which torch refuses
        return None
    if training and momentum is None:
        return "with a cumulative average"
    if (running_mean is None) != (running_var is None):
        return "with one running statistic"
    mode.door.used.add("batch_norm")
    return mode.wait(
        input,
        _Waiting(
            {
                "input": input, "mean": running_mean, "var": running_var, "weight": weight, "bias": bias,
                "training": training or running_mean is None, "momentum": momentum, "eps": eps,
            },
            [],
        ),
    )  # fmt: skip


def _normalised(mode: _Mode, waiting: _Waiting, relu: bool) -> Tensor:
    given = waiting.arguments
    x: Tensor = given["input"]
    _, sums = mode.sums.get(id(x), (None, None))
    _, link = mode.links.get(id(waiting.residual), (None, None))

    def operation(
        x: Tensor, mean: Tensor | None, var: Tensor | None, weight: Tensor | None, bias: Tensor | None,
        residual: Tensor | None,
    ) -> Tensor:  # fmt: skip
        running = None if mean is None or var is None else (mean, var)
        runs = max(len(t) for t in (x, mean, weight) if t is not None)
        ones = x.new_ones((runs, x.shape[2]), dtype=torch.float32)
        if not waiting.moments:
            found = stacked.moments(x, running, given["training"], given["momentum"], given["eps"], sums)
            waiting.moments.append(found)
        return stacked.batch_norm(
            x, *waiting.moments[0], ones if weight is None else weight,
            torch.zeros_like(ones) if bias is None else bias, residual, relu, given["training"], link,
        )  # fmt: skip

    return mode.each(operation, x, given["mean"], given["var"], given["weight"], given["bias"], waiting.residual)


def _relu(mode: _Mode, input: Tensor, inplace: bool = False) -> Tensor | None:
    waiting = mode.waits(input)
    if waiting is None:
        return None
    found = _normalised(mode, waiting, relu=True)
    return mode.settle(input, found) if inplace else found


def _relu_in_place(mode: _Mode, input: Tensor) -> Tensor | None:
    return _relu(mode, input, inplace=True)


def _add(mode: _Mode, input: Any, other: Any, *, alpha: float = 1, out: Any = None) -> Tensor | None:
    if alpha != 1 or out is not None or not isinstance(input, Tensor) or not isinstance(other, Tensor):
        return None
    for waits, added in ((other, input), (input, other)):
        waiting = mode.waits(waits)
        if waiting is not None and waiting.residual is None and added is not waits and added.shape == waits.shape:
            residual = mode.settled(added)
            if residual.dtype == waits.dtype:
                return mode.wait(waits, replace(waiting, residual=residual))
    return None


def _add_in_place(mode: _Mode, input: Any, other: Any, *, alpha: float = 1) -> Tensor | None:
    waiting = mode.waits(input)
    if waiting is None or waiting.residual is not None or alpha != 1 or not isinstance(other, Tensor):
        return None
    residual = mode.settled(other) if other is not input and other.shape == input.shape else None
    if residual is None or residual.dtype != input.dtype:
        return None
    mode.keep(input, replace(waiting, residual=residual))
    return input


def _linear(mode: _Mode, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Any:
    if input.dim() < 2 or not _typed(mode, input, weight, bias):
        return "of another shape or type"
    if _outside_autocast(mode, input):
        return "outside autocast"
    how = mode.door.how
    mode.door.used.add("linear")
    return mode.each(lambda x, w, b: stacked.linear(x, w, b, how), input, weight, bias)


def _pooled(mode: _Mode, input: Tensor, kernel: Any, stride: Any, padding: Any, maximum: bool) -> Any:
    size, step, edge = _pair(kernel), _pair(stride or kernel), _pair(padding)
    if input.dim() != 4 or not _typed(mode, input) or size[0] * size[1] >= 255:
        return "of another shape or type"
    mode.door.used.add("max_pool2d" if maximum else "avg_pool2d")
    return mode.each(lambda x: stacked.pool(x, (size, step, edge), maximum), input)


def _max_pool2d(
    mode: _Mode, input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
    ceil_mode: bool = False, return_indices: bool = False,
) -> Any:  # fmt: skip
    if _pair(dilation) != (1, 1) or ceil_mode or return_indices:
        return "dilated, rounded up or with its places"
    return _pooled(mode, input, kernel_size, stride, padding, True)


def _avg_pool2d(
    mode: _Mode, input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
    count_include_pad: bool = True, divisor_override: int | None = None,
) -> Any:  # fmt: skip
    if ceil_mode or divisor_override or (not count_include_pad and _pair(padding) != (0, 0)):
        return "rounded up or with a divisor of its own"
    return _pooled(mode, input, kernel_size, stride, padding, False)


def _means_of_images(mode: _Mode, input: Tensor) -> Tensor:
    mode.door.used.add("mean")
    return mode.each(stacked.means, input)


def _adaptive_avg_pool2d(mode: _Mode, input: Tensor, output_size: Any) -> Any:
    if _pair(output_size) != (1, 1) or input.dim() != 4 or not _typed(mode, input):
        return "to more than one pixel"
    return _means_of_images(mode, input)[:, :, None, None]


def _mean(mode: _Mode, input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    axes = () if dim is None else tuple(sorted(d % input.dim() for d in ((dim,) if isinstance(dim, int) else dim)))
    if axes != (2, 3) or input.dim() != 4 or dtype is not None or not _typed(mode, input):
        return "over other axes than an image's"
    found = _means_of_images(mode, input)
    return found[:, :, None, None] if keepdim else found


def _cross_entropy(
    mode: _Mode, input: Tensor, target: Tensor, weight: Any = None, size_average: Any = None, ignore_index: int = -100,
    reduce: Any = None, reduction: str = "mean", label_smoothing: float = 0.0,
) -> Any:  # fmt: skip
    if weight is not None or reduction != "mean" or label_smoothing or size_average is not None or reduce is not None:
        return "with weights, smoothing or another mean"
    if input.dim() != 2 or target.dtype != torch.int64 or not _typed(mode, input) or input.shape[1] > 8192:
        return "of another shape or type"
    mode.door.used.add("cross_entropy")
    return mode.each(lambda x, y: stacked.cross_entropy(x, y, ignore_index), input, target)


def _pad(mode_: _Mode, input: Tensor, pad: Sequence[int], mode: str = "constant", value: Any = None) -> Any:
    if mode != "constant":
        return "with other values than one"
    if input.dim() != 4 or len(pad) != 6 or any(pad[:4]) or value or min(pad[4:]) < 0:
        return None
    return mode_.each(lambda x: stacked.pad_channels(x, pad[4], pad[5]), input)


def _slices(mode: _Mode, input: Tensor, index: Any) -> Any:
    if input.dim() != 4 or not isinstance(index, tuple) or len(index) != 4:
        return None
    if not all(isinstance(i, slice) and i.start is None and i.stop is None for i in index):
        return None
    steps = [i.step or 1 for i in index]
    if steps[:2] != [1, 1] or not all(isinstance(step, int) and step > 0 for step in steps):
        return None
    if steps == [1, 1, 1, 1]:
        return None
    _, link = mode.links.get(id(input), (None, None))
    found = mode.each(lambda x: stacked.strided(x, (steps[2], steps[3]), link), input)
    mode.copies |= {id(found): found, id(input): input}
    return found


def _view(mode: _Mode, input: Tensor, *shape: Any) -> Any:
    """Rows of pixels as one row: the channels lie last in memory, so that torch can only copy them."""
    if not shape or isinstance(shape[0], torch.dtype):
        return None
    try:
        return input.view(*shape)
    except RuntimeError:
        return input.reshape(*shape)


_OPERATIONS: Mapping[Any, Callable[..., Any]] = {
    F.conv2d: _conv2d,
    F.batch_norm: _batch_norm,
    F.linear: _linear,
    F.max_pool2d: _max_pool2d,
    F.avg_pool2d: _avg_pool2d,
    F.adaptive_avg_pool2d: _adaptive_avg_pool2d,
    torch.mean: _mean,
    torch.Tensor.mean: _mean,
    F.cross_entropy: _cross_entropy,
    F.pad: _pad,
    torch.Tensor.__getitem__: _slices,
    torch.Tensor.view: _view,
}
"""What a function of torch becomes. A text says why it does not; None, that torch's own is as good."""

_FOLLOWING: Mapping[Any, Callable[..., Tensor | None]] = {
    F.relu: _relu,
    torch.relu: _relu,
    torch.Tensor.relu: _relu,
    torch.relu_: _relu_in_place,
    torch.Tensor.relu_: _relu_in_place,
    torch.add: _add,
    torch.Tensor.add: _add,
    torch.Tensor.__add__: _add,
    torch.Tensor.__radd__: _add,
    torch.Tensor.add_: _add_in_place,
    torch.Tensor.__iadd__: _add_in_place,
}
"""What may join a batch norm that waits; None if it does not."""
