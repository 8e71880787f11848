# pyright: reportIncompatibleMethodOverride=false
"""What torch's functions become in a stack on a CPU: torch's own, with the channels last in memory.

Small images of all runs are one tensor, in which the channels of all runs lie next to each other: torch's convolutions,
batch norms and pools then fill whole registers however few channels one model has. Large ones would not fit in a
core's cache in this way, so they are computed run by run. Shapes: R runs, B examples, C channels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from nondet.training.kernels.meeting import Meeting, Operations, Waiting, pair, viewed

APART = 2**18
"""Elements of one run's images from which runs are computed one by one: 1 MB in float32, a core's cache."""

REGISTER = 16
"""Channels of all runs that torch's gradient of a batch norm computes alike. It rounds those left over otherwise."""


def _joined(x: Tensor) -> Tensor:
    """View (R, B, C, H, W) as (B, R x C, H, W), the channels last in memory; this copies if they are not."""
    runs, images, channels, high, wide = x.shape
    return x.permute(1, 3, 4, 0, 2).reshape(images, high, wide, runs * channels).permute(0, 3, 1, 2)


def _parts(x: Tensor, apart: bool) -> list[Tensor]:
    """Return images (R, B, C, H, W) as one tensor (B, R x C, H, W), or as R tensors (B, C, H, W)."""
    if not apart:
        return [_joined(x)]
    return [t.contiguous(memory_format=torch.channels_last) for t in x.unbind(0)]


def _whole(parts: Sequence[Tensor], runs: int, apart: bool) -> Tensor:
    """Return such parts as (R, B, C, H, W)."""
    last = [part.permute(0, 2, 3, 1) for part in parts]
    if apart:
        return torch.stack(last).permute(0, 1, 4, 2, 3)
    return last[0].contiguous().unflatten(3, (runs, -1)).permute(3, 0, 4, 1, 2)


def _empty(x: Tensor, apart: bool) -> Tensor:
    """Return a new tensor of this shape (R, B, C, H, W), of which `_parts` are views."""
    runs, images, channels, high, wide = x.shape
    if apart:
        return x.new_empty((runs, images, high, wide, channels)).permute(0, 1, 4, 2, 3).detach()
    return x.new_empty((images, high, wide, runs, channels)).permute(3, 0, 4, 1, 2).detach()


def _split(t: Tensor, apart: bool) -> Sequence[Tensor]:
    """Return parameters (R, C, ...) for such parts: one tensor (R x C, ...), or R tensors (C, ...)."""
    return t.unbind(0) if apart else [t.flatten(0, 1)]


def _typed(*tensors: Tensor | None) -> bool:
    """Whether these have one type of at least 32 bits, and autocast would not change it."""
    found = {t.dtype for t in tensors if t is not None}
    return len(found) == 1 and found <= {torch.float32, torch.float64} and not torch.is_autocast_enabled("cpu")


def _conv2d(
    mode: Meeting, input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0,
    dilation: Any = 1, groups: int = 1,
) -> Any:  # fmt: skip
    if input.dim() != 4 or not _typed(input, weight, bias):
        return "with an unsupported shape or type"
    mode.door.used.add("conv2d")
    (high, wide), outputs = pair(stride), weight.shape[0]

    def operation(x: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
        runs = max(len(t) for t in (x, w, b) if t is not None)
        w = w.expand(runs, *w.shape[1:])
        b = None if b is None else b.expand(runs, *b.shape[1:])
        inside = x[0].numel()
        apart = max(inside, inside * outputs // (x.shape[2] * high * wide)) >= APART
        if len(x) == 1 and groups == 1 and not apart:  # all runs see the same images
            shared, b = x[0].contiguous(memory_format=torch.channels_last), None if b is None else b.flatten()
            return _whole([F.conv2d(shared, w.flatten(0, 1), b, stride, padding, dilation)], runs, apart)
        each = groups
        if x.shape[2] == groups and not apart and not x.requires_grad:  # several filters of a channel: as many channels
            each = outputs
            x = x.unsqueeze(3).expand(-1, -1, -1, outputs // groups, -1, -1).flatten(2, 3)
        images = _parts(x.expand(runs, *x.shape[1:]), apart)
        weights = _split(w, apart)
        biases = [None] * runs if b is None else _split(b, apart)
        each = each if apart else each * runs
        found = [
            F.conv2d(x, w, b, stride, padding, dilation, each) for x, w, b in zip(images, weights, biases, strict=False)
        ]
        return _whole(found, runs, apart)

    return mode.each(operation, input, weight, bias)


class _BatchNorm(Function):
    """Batch norm in training with the addition and the ReLU that follow it, on tensors (R, B, C, H, W)."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, gamma: Tensor, beta: Tensor, residual: Tensor | None, eps: float, relu: bool,
        running: tuple[Tensor, Tensor] | None, momentum: float,
    ) -> Tensor:  # fmt: skip
        runs, apart = len(x), x[0].numel() >= APART
        images, gammas, betas = _parts(x, apart), _split(gamma, apart), _split(beta, apart)
        moving = [(None, None)] * runs
        if running is not None:  # views, since this changes them
            moving = zip(*(t.unbind(0) if apart else [t.view(-1)] for t in running), strict=True)
        added = [None] * runs if residual is None else _parts(residual, apart)
        z, moments = _empty(x, apart), []
        for image, g, b, (mean, var), more, y in zip(
            images, gammas, betas, moving, added, _parts(z, apart), strict=False
        ):
            found = [torch.empty_like(g), torch.empty_like(g)]
            torch.ops.aten.native_batch_norm.out(
                image, g, b, mean, var, True, momentum, eps, out=y, save_mean=found[0], save_invstd=found[1]
            )
            if more is not None:
                y += more
            if relu:
                y.relu_()
            moments += found
        ctx.save_for_backward(*images, *gammas, *moments, *([z] if relu else []))
        ctx.given = eps, residual is not None, apart
        return z

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        eps, residual, apart = ctx.given
        saved, runs = ctx.saved_tensors, len(gradients[0])
        parts = runs if apart else 1
        images, gammas, moments = saved[:parts], saved[parts : 2 * parts], saved[2 * parts : 4 * parts]
        results = [_parts(z, apart) for z in saved[4 * parts :]]  # one list after a ReLU
        found, added = [], []
        for number, g in enumerate(_parts(gradients[0], apart)):
            for result in results:
                g = torch.ops.aten.threshold_backward(g, result[number], 0)
            added.append(g)
            x = images[number]
            if not apart and x.shape[1] % REGISTER:
                x, g = x.contiguous(), g.contiguous()
            found.append(
                torch.ops.aten.native_batch_norm_backward(
                    g, x, gammas[number], None, None, *moments[2 * number : 2 * number + 2], True, eps, [True] * 3
                )
            )
        dx, dgamma, dbeta = zip(*found, strict=True)
        dx = _whole(dx, runs, apart).detach()
        da = _whole(added, runs, apart).detach() if residual else None
        dgamma, dbeta = (torch.stack(d) if apart else d[0].unflatten(0, (runs, -1)) for d in (dgamma, dbeta))
        return dx, dgamma, dbeta, da, None, None, None, None


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
            apply: Any = _BatchNorm.apply
            return apply(x, weight, bias, residual, eps, relu, once, momentum or 0.0)
        apart = x[0].numel() >= APART
        stored = [_split(t.expand(runs, channels), apart) for t in (*(running or ()), weight, bias)]
        parts = zip(_parts(x, apart), *stored, strict=True)
        y = _whole([F.batch_norm(image, m, v, w, b, eps=eps) for image, m, v, w, b in parts], runs, apart)
        y = y if residual is None else y + residual
        return F.relu(y) if relu else y

    return mode.each(
        operation, given["input"], given["mean"], given["var"], given["weight"], given["bias"], waiting.residual
    )


def _pooled(x: Tensor, pool: Callable[[Tensor], Tensor]) -> Tensor:
    apart = x[0].numel() >= APART
    return _whole([pool(part) for part in _parts(x, apart)], len(x), apart)


def _max_pool2d(
    mode: Meeting, input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
    ceil_mode: bool = False, return_indices: bool = False,
) -> Any:  # fmt: skip
    if input.dim() != 4 or return_indices or not _typed(input):
        return "with an unsupported shape or type, or with indices"
    mode.door.used.add("max_pool2d")

    def operation(x: Tensor) -> Tensor:
        return _pooled(x, lambda t: F.max_pool2d(t, kernel_size, stride, padding, dilation, ceil_mode))

    return mode.each(operation, input)


def _avg_pool2d(mode: Meeting, input: Tensor, *args: Any, **given: Any) -> Any:
    if input.dim() != 4 or not _typed(input):
        return "with an unsupported shape or type"
    mode.door.used.add("avg_pool2d")
    return mode.each(lambda x: _pooled(x, lambda t: F.avg_pool2d(t, *args, **given)), input)


def _adaptive_avg_pool2d(mode: Meeting, input: Tensor, output_size: Any) -> Any:
    if pair(output_size) != (1, 1) or input.dim() != 4 or not _typed(input):
        return "to more than one pixel"
    mode.door.used.add("adaptive_avg_pool2d")
    return _mean(mode, input, (2, 3), keepdim=True)


class _Mean(Function):
    """The mean of each channel's pixels; torch's own gradient would put the channels first in memory."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.size = tuple(x.shape[3:])
        return x.mean((3, 4))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        high, wide = ctx.size
        runs, images, channels = gradients[0].shape
        parts = (gradients[0] / (high * wide)).transpose(0, 1)[:, None, None]  # (B, 1, 1, R, C)
        dx = parts.expand(images, high, wide, runs, channels).contiguous()
        return dx.permute(3, 0, 4, 1, 2).detach()


def _mean(mode: Meeting, input: Tensor, dim: Any = None, keepdim: bool = False, **others: Any) -> Any:
    if input.dim() != 4 or dim not in ((2, 3), [2, 3], (-2, -1), [-2, -1], (-1, -2)) or others or not _typed(input):
        return None
    found = mode.each(_Mean.apply, input)
    return found[:, :, None, None] if keepdim else found


class _Strided(Function):
    """A slice of every `step` rows and columns; torch's own gradient would put the channels first in memory."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, high: int, wide: int) -> Tensor:
        ctx.given = x.shape, high, wide
        return _whole([_joined(x[..., ::high, ::wide])], len(x), False).detach()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (runs, images, channels, *size), high, wide = ctx.given
        dx = gradients[0].new_zeros((images, *size, runs, channels)).permute(3, 0, 4, 1, 2)
        dx[..., ::high, ::wide] = gradients[0]
        return dx.detach(), None, None


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
        return y.detach()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        before, channels = ctx.given
        return gradients[0][:, :, before : before + channels].detach(), None, None


def _pad(mode_: Meeting, input: Tensor, pad: Sequence[int], mode: str = "constant", value: Any = None) -> Any:
    if mode != "constant" or input.dim() != 4 or len(pad) != 6 or any(pad[:4]) or value or min(pad[4:]) < 0:
        return None
    return mode_.each(lambda x: _Channels.apply(x, pad[4], pad[5]), input)


ON_CPU = Operations(
    {
        F.conv2d: _conv2d,
        F.batch_norm: _batch_norm,
        F.max_pool2d: _max_pool2d,
        F.avg_pool2d: _avg_pool2d,
        F.adaptive_avg_pool2d: _adaptive_avg_pool2d,
        F.pad: _pad,
        torch.Tensor.__getitem__: _slices,
        torch.Tensor.mean: _mean,
        torch.mean: _mean,
        torch.Tensor.view: viewed,
    },
    _normalised,
)
