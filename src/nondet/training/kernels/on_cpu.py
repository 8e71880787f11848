# pyright: reportIncompatibleMethodOverride=false
"""What torch's functions become in a stack on a CPU: torch's own, with all runs' channels last in memory.

There the channels of all runs lie next to each other, so that torch's convolutions, batch norms and pools fill whole
registers however few channels one model has. Shapes: R runs, B examples, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from nondet.training.kernels.meeting import Meeting, Operations, Waiting, pair

REGISTER = 16
"""Channels of all runs that torch's gradient of a batch norm computes alike. It rounds those left over otherwise."""

_WHOLE = (torch.float32, torch.float64)


def _joined(x: Tensor) -> Tensor:
    """View (R, B, C, H, W) as (B, R x C, H, W), the channels last in memory; this copies if they are not."""
    runs, images, channels, high, wide = x.shape
    return x.permute(1, 3, 4, 0, 2).reshape(images, high, wide, runs * channels).permute(0, 3, 1, 2)


def _parted(x: Tensor, runs: int) -> Tensor:
    """View (B, R x C, H, W) as (R, B, C, H, W)."""
    images, channels, high, wide = x.shape
    last = x.permute(0, 2, 3, 1).contiguous()
    return last.view(images, high, wide, runs, channels // runs).permute(3, 0, 4, 1, 2)


def _first(x: Tensor) -> Tensor:
    """Return x as a new tensor: torch forbids in-place changes of a Function's views."""
    return x.detach()


def _typed(*tensors: Tensor | None) -> bool:
    """Whether these have one type of at least 32 bits, and autocast would not change it."""
    found = {t.dtype for t in tensors if t is not None}
    return len(found) == 1 and found <= {*_WHOLE} and not torch.is_autocast_enabled("cpu")


def _conv2d(
    mode: Meeting, input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0,
    dilation: Any = 1, groups: int = 1,
) -> Any:  # fmt: skip
    if input.dim() != 4 or not _typed(input, weight, bias):
        return "with an unsupported shape or type"
    mode.door.used.add("conv2d")

    def operation(x: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
        runs = max(len(t) for t in (x, w, b) if t is not None)
        w = w.expand(runs, *w.shape[1:]).flatten(0, 1)
        b = None if b is None else b.expand(runs, *b.shape[1:]).flatten()
        if len(x) == 1 and groups == 1:
            return _parted(F.conv2d(x[0], w, b, stride, padding, dilation), runs)
        x = x.expand(runs, *x.shape[1:])
        return _parted(F.conv2d(_joined(x), w, b, stride, padding, dilation, groups * runs), runs)

    return mode.each(operation, input, weight, bias)


class _BatchNorm(Function):
    """Batch norm in training with the addition and the ReLU that follow it, on tensors (R, B, C, H, W)."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, gamma: Tensor, beta: Tensor, residual: Tensor | None, eps: float, relu: bool,
        running: tuple[Tensor, Tensor] | None, momentum: float,
    ) -> Tensor:  # fmt: skip
        flat, gamma, beta = _joined(x), gamma.flatten(), beta.flatten()
        mean, var = (None, None) if running is None else (t.view(-1) for t in running)
        y, *moments = torch.native_batch_norm(flat, gamma, beta, mean, var, True, momentum, eps)
        z = _parted(y, len(x))
        if residual is not None:
            z += residual
        if relu:
            z.relu_()
        ctx.save_for_backward(flat, gamma, *moments, *([z] if relu else []))
        ctx.given = eps, residual is not None
        return _first(z)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        flat, gamma, mean, rstd, *results = ctx.saved_tensors
        eps, residual = ctx.given
        g = _joined(gradients[0])
        if results:
            g = torch.ops.aten.threshold_backward(g, _joined(results[0]), 0)
        if flat.shape[1] % REGISTER:
            flat, g = flat.contiguous(), g.contiguous()
        found = torch.ops.aten.native_batch_norm_backward(
            g, flat, gamma, None, None, mean, rstd, True, eps, [True, True, True]
        )
        runs = len(gradients[0])
        dx, added = _first(_parted(found[0], runs)), _first(_parted(g, runs)) if residual else None
        return dx, found[1].view(runs, -1), found[2].view(runs, -1), added, None, None, None, None


def _batch_norm(
    mode: Meeting, input: Tensor, running_mean: Tensor | None, running_var: Tensor | None, weight: Tensor | None = None,
    bias: Tensor | None = None, training: bool = False, momentum: float | None = 0.1, eps: float = 1e-5,
) -> Any:  # fmt: skip
    if input.dim() != 4 or not _typed(input, weight, bias, running_mean, running_var):
        return "with an unsupported shape or type"
    if (training and momentum is None) or (running_mean is None) != (running_var is None):
        return "with a cumulative average or only one running statistic"
    if training and input.numel() <= input.shape[1]:  # one value for each channel, which torch refuses
        return None
    mode.door.used.add("batch_norm")
    given = {"input": input, "mean": running_mean, "var": running_var, "weight": weight, "bias": bias}
    chosen = {"training": training or running_mean is None, "momentum": momentum, "eps": eps}
    return mode.wait(input, Waiting(given | chosen, []))


def _normalised(mode: Meeting, waiting: Waiting, relu: bool) -> Tensor:
    given = waiting.arguments
    training, momentum, eps = given["training"], given["momentum"], given["eps"]

    def operation(
        x: Tensor, mean: Tensor | None, var: Tensor | None, weight: Tensor | None, bias: Tensor | None,
        residual: Tensor | None,
    ) -> Tensor:  # fmt: skip
        runs = max(len(t) for t in (x, mean, weight, bias, residual) if t is not None)
        channels = x.shape[2]
        x = x.expand(runs, *x.shape[1:])
        weight = x.new_ones((runs, channels)) if weight is None else weight.expand(runs, channels)
        bias = x.new_zeros((runs, channels)) if bias is None else bias.expand(runs, channels)
        residual = None if residual is None else residual.expand(runs, *residual.shape[1:])
        running = None if mean is None or var is None else (mean, var)
        if training:
            if running is not None and len(running[0]) < runs:
                raise RuntimeError("the runs share the running statistics of a batch norm")
            once = None if waiting.moments else running
            waiting.moments.append((weight, bias))  # the running statistics move once, however often it is computed
            return _BatchNorm.apply(x, weight, bias, residual, eps, relu, once, momentum or 0.0)  # pyright: ignore
        assert running is not None
        stored = [t.expand(runs, channels).flatten() for t in (*running, weight, bias)]
        y = _parted(F.batch_norm(_joined(x), *stored, False, 0.0, eps), runs)
        y = y if residual is None else y + residual
        return F.relu(y) if relu else y

    return mode.each(operation, given["input"], given["mean"], given["var"], given["weight"], given["bias"],
                     waiting.residual)


def _max_pool2d(
    mode: Meeting, input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
    ceil_mode: bool = False, return_indices: bool = False,
) -> Any:  # fmt: skip
    if input.dim() != 4 or return_indices or not _typed(input):
        return "with an unsupported shape or type, or with indices"
    mode.door.used.add("max_pool2d")

    def operation(x: Tensor) -> Tensor:
        return _parted(F.max_pool2d(_joined(x), kernel_size, stride, padding, dilation, ceil_mode), len(x))

    return mode.each(operation, input)


def _avg_pool2d(mode: Meeting, input: Tensor, *args: Any, **given: Any) -> Any:
    if input.dim() != 4 or not _typed(input):
        return "with an unsupported shape or type"
    mode.door.used.add("avg_pool2d")
    return mode.each(lambda x: _parted(F.avg_pool2d(_joined(x), *args, **given), len(x)), input)


def _adaptive_avg_pool2d(mode: Meeting, input: Tensor, output_size: Any) -> Any:
    if pair(output_size) != (1, 1) or input.dim() != 4 or not _typed(input):
        return "to more than one pixel"
    return input.mean((2, 3), keepdim=True)


class _Strided(Function):
    """A slice of every `step` rows and columns; torch's own gradient would put the channels first in memory."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, high: int, wide: int) -> Tensor:
        ctx.given = x.shape, high, wide
        return _first(_parted(_joined(x[..., ::high, ::wide]), len(x)))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (runs, images, channels, *size), high, wide = ctx.given
        dx = gradients[0].new_zeros((images, *size, runs, channels)).permute(3, 0, 4, 1, 2)
        dx[..., ::high, ::wide] = gradients[0]
        return _first(dx), None, None


def _slices(mode: Meeting, input: Tensor, index: Any) -> Any:
    if input.dim() != 4 or not isinstance(index, tuple) or len(index) != 4 or not _typed(input):
        return None
    if not all(isinstance(i, slice) and i.start is None and i.stop is None for i in index):
        return None
    steps = [i.step or 1 for i in index]
    if steps[:2] != [1, 1] or steps[2:] == [1, 1] or not all(isinstance(step, int) and step > 0 for step in steps):
        return None
    found = mode.each(lambda x: _Strided.apply(x, steps[2], steps[3]), input)
    mode.copies |= {id(found): found, id(input): input}
    return found


class _Channels(Function):
    """Adds channels of zeros, and keeps the channels last in memory, which torch's own padding would not."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, before: int, after: int) -> Tensor:
        runs, images, channels, *size = x.shape
        ctx.given = before, channels
        y = x.new_zeros((images, *size, runs, before + channels + after)).permute(3, 0, 4, 1, 2)
        y[:, :, before : before + channels] = x
        return _first(y)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        before, channels = ctx.given
        return _first(gradients[0][:, :, before : before + channels]), None, None


def _pad(mode_: Meeting, input: Tensor, pad: Sequence[int], mode: str = "constant", value: Any = None) -> Any:
    if mode != "constant" or input.dim() != 4 or len(pad) != 6 or any(pad[:4]) or value or min(pad[4:]) < 0:
        return None
    return mode_.each(lambda x: _Channels.apply(x, pad[4], pad[5]), input)


def _view(mode: Meeting, input: Tensor, *shape: Any) -> Any:
    """Reshape where torch cannot view, since the channels are last in memory and flattening needs a copy."""
    if not shape or isinstance(shape[0], torch.dtype):
        return None
    try:
        return input.view(*shape)
    except RuntimeError:
        return input.reshape(*shape)


ON_CPU = Operations(
    {
        F.conv2d: _conv2d,
        F.batch_norm: _batch_norm,
        F.max_pool2d: _max_pool2d,
        F.avg_pool2d: _avg_pool2d,
        F.adaptive_avg_pool2d: _adaptive_avg_pool2d,
        F.pad: _pad,
        torch.Tensor.__getitem__: _slices,
        torch.Tensor.view: _view,
    },
    _normalised,
)
