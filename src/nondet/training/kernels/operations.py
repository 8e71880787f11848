"""What torch's functions become in a stack on a GPU; each takes the mode that intercepted it and torch's arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from nondet.training.kernels import functions as stacked
from nondet.training.kernels import geometry as shapes
from nondet.training.kernels.functions import Link, Sums
from nondet.training.kernels.meeting import Meeting, Operations, Waiting, pair, viewed
from nondet.training.kernels.tiles import across_for

LARGEST = 2**31 - 1
"""The most elements of one model's tensor that a kernel can index."""


def _typed(mode: Meeting, *tensors: Tensor | None) -> bool:
    """Whether these have types that the kernels know: the computed one, or float32, which is rounded to it."""
    known = {mode.door.how.dtype, torch.float32}
    return all(t is None or (t.dtype in known and t.numel() <= LARGEST) for t in tensors)


def _outside_autocast(mode: Meeting, input: Tensor) -> bool:
    """Whether a model in mixed precision has turned autocast off here."""
    return input.dtype != mode.door.how.dtype and not torch.is_autocast_enabled(input.device.type)


def _conv2d(
    mode: Meeting, input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0,
    dilation: Any = 1, groups: int = 1,
) -> Any:  # fmt: skip
    if input.dim() != 4 or isinstance(padding, str) or not _typed(mode, input, weight, bias):
        return "with an unsupported shape or type"
    (high, wide), (up, across) = pair(stride), pair(dilation)
    outputs, channels = weight.shape[0], input.shape[1]
    if high != wide or (up, across) != (1, 1):
        return "with unequal strides or dilation"
    if groups > 1 and channels == groups != outputs:
        return "with several filters for each single channel"
    if _outside_autocast(mode, input):
        return "outside autocast"
    geometry = shapes.forward(
        (input.shape[2], input.shape[3]), channels, outputs, (weight.shape[2], weight.shape[3]), high, pair(padding),
        groups, across_for(outputs // groups, mode.door.how.dtype, mode.door.how.products),
    )  # fmt: skip
    if len(input) * geometry.out_height * geometry.out_width * outputs > LARGEST:
        return "with too large an output"
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
    mode: Meeting, input: Tensor, running_mean: Tensor | None, running_var: Tensor | None, weight: Tensor | None = None,
    bias: Tensor | None = None, training: bool = False, momentum: float | None = 0.1, eps: float = 1e-5,
) -> Any:  # fmt: skip
    if not _typed(mode, input, weight, bias, running_mean) or input.dim() < 2:
        return "with an unsupported type"
    if training and input.numel() <= input.shape[1]:  # one value for each channel, which torch refuses
        return None
    if training and momentum is None:
        return "with a cumulative average"
    if (running_mean is None) != (running_var is None):
        return "with only one running statistic"
    mode.door.used.add("batch_norm")
    return mode.wait(
        input,
        Waiting(
            {
                "input": input, "mean": running_mean, "var": running_var, "weight": weight, "bias": bias,
                "training": training or running_mean is None, "momentum": momentum, "eps": eps,
            },
            [],
        ),
    )  # fmt: skip


def normalised(mode: Meeting, waiting: Waiting, relu: bool) -> Tensor:
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


def _linear(mode: Meeting, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Any:
    if input.dim() < 2 or not _typed(mode, input, weight, bias):
        return "with an unsupported shape or type"
    if _outside_autocast(mode, input):
        return "outside autocast"
    how = mode.door.how
    mode.door.used.add("linear")
    return mode.each(lambda x, w, b: stacked.linear(x, w, b, how), input, weight, bias)


def _pooled(mode: Meeting, input: Tensor, kernel: Any, stride: Any, padding: Any, maximum: bool) -> Any:
    size, step, edge = pair(kernel), pair(stride or kernel), pair(padding)
    if input.dim() != 4 or not _typed(mode, input) or size[0] * size[1] >= 255:
        return "with an unsupported shape or type"
    mode.door.used.add("max_pool2d" if maximum else "avg_pool2d")
    return mode.each(lambda x: stacked.pool(x, (size, step, edge), maximum), input)


def _max_pool2d(
    mode: Meeting, input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
    ceil_mode: bool = False, return_indices: bool = False,
) -> Any:  # fmt: skip
    if pair(dilation) != (1, 1) or ceil_mode or return_indices:
        return "dilated, rounded up or with indices"
    return _pooled(mode, input, kernel_size, stride, padding, True)


def _avg_pool2d(
    mode: Meeting, input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
    count_include_pad: bool = True, divisor_override: int | None = None,
) -> Any:  # fmt: skip
    if ceil_mode or divisor_override or (not count_include_pad and pair(padding) != (0, 0)):
        return "rounded up or with its own divisor"
    return _pooled(mode, input, kernel_size, stride, padding, False)


def _means_of_images(mode: Meeting, input: Tensor) -> Tensor:
    mode.door.used.add("mean")
    return mode.each(stacked.means, input)


def _adaptive_avg_pool2d(mode: Meeting, input: Tensor, output_size: Any) -> Any:
    if pair(output_size) != (1, 1) or input.dim() != 4 or not _typed(mode, input):
        return "to more than one pixel"
    return _means_of_images(mode, input)[:, :, None, None]


def _mean(mode: Meeting, input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    axes = () if dim is None else tuple(sorted(d % input.dim() for d in ((dim,) if isinstance(dim, int) else dim)))
    if axes != (2, 3) or input.dim() != 4 or dtype is not None or not _typed(mode, input):
        return "over axes other than an image's"
    found = _means_of_images(mode, input)
    return found[:, :, None, None] if keepdim else found


def _cross_entropy(
    mode: Meeting, input: Tensor, target: Tensor, weight: Any = None, size_average: Any = None,
    ignore_index: int = -100, reduce: Any = None, reduction: str = "mean", label_smoothing: float = 0.0,
) -> Any:  # fmt: skip
    if weight is not None or reduction != "mean" or label_smoothing or size_average is not None or reduce is not None:
        return "with weights, smoothing or another mean"
    if input.dim() != 2 or target.dtype != torch.int64 or not _typed(mode, input) or input.shape[1] > 8192:
        return "with an unsupported shape or type"
    mode.door.used.add("cross_entropy")
    return mode.each(lambda x, y: stacked.cross_entropy(x, y, ignore_index), input, target)


def _pad(mode_: Meeting, input: Tensor, pad: Sequence[int], mode: str = "constant", value: Any = None) -> Any:
    if mode != "constant":
        return "with values that are not constant"
    if input.dim() != 4 or len(pad) != 6 or any(pad[:4]) or value or min(pad[4:]) < 0:
        return None
    return mode_.each(lambda x: stacked.pad_channels(x, pad[4], pad[5]), input)


def _slices(mode: Meeting, input: Tensor, index: Any) -> Any:
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


_TABLE: Mapping[Any, Callable[..., Any]] = {
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
    torch.Tensor.view: viewed,
}

ON_GPU = Operations(_TABLE, normalised)
