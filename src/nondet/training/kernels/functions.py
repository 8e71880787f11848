# pyright: reportIncompatibleMethodOverride=false
"""The stacked operations with their gradients, on tensors of R models (R, B, C, ...) with the channels last in memory.

Each takes and returns what torch's function of the same name does, with a first axis for the models. Weights may have a
wider type than the computation: they are rounded as they are read, and their gradients have the weights' type.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from nondet.training.kernels import convolution, depthwise, loss, norm, pictures, pooling, product
from nondet.training.kernels.geometry import Geometry, gradient
from nondet.training.kernels.tiles import tile_for


@dataclass(frozen=True)
class Precision:
    """dtype: the type that the operations return.

    products: how float32 factors are multiplied: as three TF32 products, which keep float32's precision ("tf32x3");
    rounded once to TF32 ("tf32"); or without the matrix unit ("ieee").
    """

    dtype: torch.dtype = torch.float32
    products: str = "tf32x3"


@dataclass(frozen=True)
class Sums:
    """A convolution's sums over its output, for the batch norm that follows, in the form that `norm.merged` reads."""

    part: Tensor
    rows: int
    places: int
    geometry: Geometry


@dataclass
class Link:
    """Hands a gradient from a residual addition to a convolution of the summand, which adds it to its own.

    This saves the two more passes over memory that autograd would need. node: the convolution's node in autograd's
    graph. pending: the gradient that waits, (R, B, ..., C), for every `step` rows and columns of the summand. closed:
    whether the convolution's backward pass is over.
    """

    node: Any = None
    pending: Tensor | None = None
    step: tuple[int, int] = (1, 1)
    closed: bool = False

    def take(self, gradient: Tensor, step: tuple[int, int] = (1, 1)) -> bool:
        """Whether the convolution will add this gradient (R, B, C, ...) to its own."""
        if self.node is None or self.closed or self.pending is not None:
            return False
        self.pending, self.step = last(gradient), step
        return True

    def leads_to(self, x: Tensor) -> bool:
        """Whether x was computed from the convolution, so that its backward pass comes later than x's."""
        nodes, seen = [x.grad_fn], set[Any]()
        while nodes and len(seen) < 64:
            node = nodes.pop()
            if node is self.node:
                return True
            if node is not None and node not in seen:
                seen.add(node)
                nodes += [following for following, _ in node.next_functions]
        return False


def last(x: Tensor) -> Tensor:
    """Turn (R, B, C, ...) into contiguous (R, B, ..., C), without a copy if the channels are already last in memory."""
    return x.movedim(2, -1).contiguous()


def first(x: Tensor) -> Tensor:
    """View (R, B, ..., C) as (R, B, C, ...), as a new tensor: torch forbids in-place changes of a Function's views."""
    seen = x.movedim(-1, 2)
    return x.new_empty(0).set_(x.untyped_storage(), x.storage_offset(), seen.shape, seen.stride())


def _for_all(t: Tensor, runs: int) -> Tensor:
    """Expand t (R or 1, ...) to contiguous (R, ...)."""
    return t.expand(runs, *t.shape[1:]).contiguous()


def _rows(x: Tensor) -> Tensor:
    """Turn (R, B, C, ...) into contiguous (R, M, C)."""
    return last(x).flatten(1, -2)


class _Convolution(Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, w: Tensor, bias: Tensor | None, geometry: Geometry, how: Precision, sums: bool, link: Link
    ) -> tuple[Tensor, Tensor | None]:
        inputs = last(x)
        if geometry.groups == geometry.channels == geometry.outputs:
            y, part = depthwise.filtered(inputs, w, bias, geometry, how.dtype), None
        else:
            tile = tile_for("forward", geometry, how.dtype, how.products)
            prepared = convolution.matrix(w, geometry, tile, how.products, how.dtype)
            y, part = convolution.products(
                inputs, prepared, bias, geometry, tile, how.products, how.dtype, sums and geometry.whole
            )
        ctx.save_for_backward(inputs, w)
        ctx.given = geometry, how, bias is not None, link
        if part is not None:
            ctx.mark_non_differentiable(part)
        return first(y), part

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        inputs, w = ctx.saved_tensors
        geometry, how, biased, link = ctx.given
        added, link.pending, link.closed = link.pending, None, True
        dy = last(gradients[0])
        dx = dw = db = None
        alone = geometry.groups == geometry.channels == geometry.outputs
        if ctx.needs_input_grad[0]:
            if alone:
                dx = depthwise.filtered_back(dy, w, geometry)
            else:
                back = gradient(geometry)
                tile = tile_for("back", back, how.dtype, how.products)
                prepared = convolution.matrix(w, back, tile, how.products, how.dtype)
                dx, _ = convolution.products(
                    dy, prepared, None, back, tile, how.products, inputs.dtype, added=added, step=link.step
                )
            dx = first(dx)
        if ctx.needs_input_grad[1]:
            if alone:
                dw = depthwise.filter_gradient(inputs, dy, geometry)
            else:
                tile = tile_for("weights", geometry, how.dtype, how.products)
                dw = convolution.weight_gradient(inputs, dy, geometry, tile, how.products)
            dw = dw.to(w.dtype)
        if biased and ctx.needs_input_grad[2]:
            db = _column_sums(dy.flatten(1, -2)).to(w.dtype)
        return dx, dw, db, None, None, None, None


def _column_sums(x: Tensor) -> Tensor:
    """Sum x (R, M, k) over the rows in a fixed order: (R, k) in float32."""
    part, _ = norm.statistics(x)
    return norm.summed(part.flatten(2))[:, : x.shape[2]]


def conv2d(
    x: Tensor, w: Tensor, bias: Tensor | None, geometry: Geometry, how: Precision, sums: bool, link: Link
) -> tuple[Tensor, Sums | None]:
    """x (R or 1, B, C, H, W), w (R, O, C / groups, height, width), bias (R, O): (R, B, O, H', W').

    Three channels are padded to four, so that several can be read at a time.
    """
    if geometry.channels == 3 and geometry.groups == 1:
        x, w = pad_channels(x, 0, 1, how.dtype), F.pad(w, (0, 0, 0, 0, 0, 1))
        geometry, link = replace(geometry, channels=4), Link()  # the padded channels do not match a summand's gradient
    runs = max(len(x), len(w), 0 if bias is None else len(bias))
    w, bias = _for_all(w, runs), None if bias is None else _for_all(bias, runs)
    if len(x) < runs and x.requires_grad:
        x = x.expand(runs, *x.shape[1:])
    y, part = _Convolution.apply(x, w, bias, geometry, how, sums, link)  # pyright: ignore[reportGeneralTypeIssues]
    if x.requires_grad and not geometry.groups == geometry.channels == geometry.outputs:
        link.node = y.grad_fn
    if part is None:
        return y, None
    tile = tile_for("forward", geometry, how.dtype, how.products)
    return y, Sums(part, tile.rows, y.shape[1] * geometry.rows * geometry.columns, geometry)


class _BatchNorm(Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, gamma: Tensor, beta: Tensor, residual: Tensor | None, mean: Tensor, rstd: Tensor,
        relu: bool, training: bool, link: Link | None,
    ) -> Tensor:  # fmt: skip
        y = _rows(x)
        added = None if residual is None else _rows(residual).to(y.dtype)
        z = norm.applied(y, mean, rstd, gamma.float().contiguous(), beta.float().contiguous(), added, relu)
        ctx.save_for_backward(y, gamma, beta, mean, rstd, z if relu and residual is not None else y)
        ctx.given = residual is not None, relu, training, None if residual is None else residual.dtype, link
        shape = x.movedim(2, -1).shape
        return first(z.view(len(z), *shape[1:]))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        y, gamma, beta, mean, rstd, z = ctx.saved_tensors
        residual, relu, training, dtype, link = ctx.given
        dz, shape = last(gradients[0]), gradients[0].movedim(2, -1).shape
        dy, dres, dgamma, dbeta = norm.gradients(
            dz.flatten(1, -2),
            z,
            y,
            mean,
            rstd,
            gamma.float().contiguous(),
            beta.float().contiguous(),
            residual,
            relu,
            training,
        )
        back = first(dres.view(shape)).to(dtype) if residual else None
        if link is not None and back is not None and link.take(back):
            back = None
        grads = (first(dy.view(shape)), dgamma.to(gamma.dtype), dbeta.to(beta.dtype), back)
        return *grads, None, None, None, None, None


@torch.no_grad()
def moments(
    x: Tensor, running: tuple[Tensor, Tensor] | None, training: bool, momentum: float, eps: float, sums: Sums | None
) -> tuple[Tensor, Tensor]:
    """Return what normalises x (R or 1, B, C, ...): a mean and 1 / a standard deviation, (R or 1, C) each.

    In training they are x's own, and the running mean and variance (R, C) move towards them; in evaluation the running
    ones are used.
    """
    if not training and running:
        return running[0].float(), (running[1].float() + eps).rsqrt()
    if running and len(x) < len(running[0]):
        x = x.expand(len(running[0]), *x.shape[1:])
    if running and len(running[0]) < len(x):
        raise RuntimeError("the runs share the running statistics of a batch norm")
    if sums is not None and len(sums.part) == len(x):
        return norm.merged(sums.part, x.shape[2], sums.rows, sums.places, running, momentum, eps, sums.geometry)
    y = _rows(x)
    part, rows = norm.statistics(y)
    return norm.merged(part, x.shape[2], rows, y.shape[1], running, momentum, eps)


def batch_norm(
    x: Tensor, mean: Tensor, rstd: Tensor, gamma: Tensor, beta: Tensor, residual: Tensor | None, relu: bool,
    training: bool, link: Link | None = None,
) -> Tensor:  # fmt: skip
    """relu((x - mean) * rstd * gamma + beta + residual), x (R or 1, B, C, ...), the others (R or 1, C).

    training: whether mean and rstd are x's own, so that its gradient also goes through them. link: to a convolution of
    the residual.
    """
    runs = max(len(x), len(gamma), len(mean), 0 if residual is None else len(residual))
    x, mean, rstd, gamma, beta = (t.expand(runs, *t.shape[1:]) for t in (x, mean, rstd, gamma, beta))
    residual = None if residual is None else residual.expand(runs, *residual.shape[1:])
    if link is not None and (residual is None or link.node is None or not link.leads_to(x)):
        link = None
    return _BatchNorm.apply(  # pyright: ignore[reportGeneralTypeIssues]
        x, gamma, beta, residual, mean.contiguous(), rstd.contiguous(), relu, training, link
    )


class _Linear(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, bias: Tensor | None, how: Precision) -> Tensor:
        rows, narrow = x.flatten(1, -2).to(how.dtype), w.to(how.dtype)
        ctx.save_for_backward(rows, narrow)
        ctx.given = how, bias is not None, x.dtype, w.dtype
        y = product.product(rows, narrow.transpose(1, 2), bias, how.products, how.dtype)
        return y.view(len(w), *x.shape[1:-1], w.shape[1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        rows, w = ctx.saved_tensors
        how, biased, x_dtype, w_dtype = ctx.given
        dy = gradients[0].flatten(1, -2).contiguous()
        dx = dw = db = None
        if ctx.needs_input_grad[0]:
            dx = product.product(dy, w, None, how.products, x_dtype)
            dx = dx.view(*gradients[0].shape[:-1], w.shape[2])
        if ctx.needs_input_grad[1]:
            dw = product.product(dy.transpose(1, 2), rows, None, how.products, torch.float32).to(w_dtype)
        if biased and ctx.needs_input_grad[2]:
            db = _column_sums(dy).to(w_dtype)
        return dx, dw, db, None


def linear(x: Tensor, w: Tensor, bias: Tensor | None, how: Precision) -> Tensor:
    """x (R or 1, ..., K), w (R, N, K), bias (R, N): (R, ..., N)."""
    runs = max(len(x), len(w), 0 if bias is None else len(bias))
    w, bias = _for_all(w, runs), None if bias is None else _for_all(bias, runs)
    if len(x) < runs and x.requires_grad:
        x = x.expand(runs, *x.shape[1:])
    return _Linear.apply(x, w, bias, how)  # pyright: ignore[reportGeneralTypeIssues]


class _Pool(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, window: pooling.Window, maximum: bool) -> Tensor:
        y, index = pooling.pooled(last(x), window, maximum)
        ctx.save_for_backward(index)
        ctx.given = (x.shape[3], x.shape[4]), window, maximum
        return first(y)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (index,) = ctx.saved_tensors
        size, window, maximum = ctx.given
        return first(pooling.pool_gradient(last(gradients[0]), index, size, window, maximum)), None, None


def pool(x: Tensor, window: pooling.Window, maximum: bool) -> Tensor:
    """Return the maxima or means of the windows of x (R, B, C, H, W)."""
    return _Pool.apply(x, window, maximum)  # pyright: ignore[reportGeneralTypeIssues]


class _Means(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.given = x.shape
        return pooling.means(last(x).flatten(2, -2))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        runs, images, channels, *size = ctx.given
        share = gradients[0] / torch.Size(size).numel()
        spread = share.view(runs, images, *(1 for _ in size), channels).expand(runs, images, *size, channels)
        return spread.movedim(-1, 2)


def means(x: Tensor) -> Tensor:
    """Return the mean over every image of x (R, B, C, ...) by channel: (R, B, C)."""
    return _Means.apply(x)  # pyright: ignore[reportGeneralTypeIssues]


class _CrossEntropy(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, labels: Tensor, ignored: int) -> Tensor:
        x, labels = x.contiguous(), labels.contiguous()
        means, counts = loss.cross_entropy(x, labels, ignored)
        ctx.save_for_backward(x, labels, counts)
        ctx.given = ignored
        return means

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        x, labels, counts = ctx.saved_tensors
        return loss.cross_entropy_gradient(x, labels, gradients[0] / counts, ctx.given), None, None


def cross_entropy(x: Tensor, labels: Tensor, ignored: int = -100) -> Tensor:
    """Return each model's mean over labels that are not ignored, (R,), from x (R or 1, B, c), labels (R or 1, B)."""
    runs = max(len(x), len(labels))
    return _CrossEntropy.apply(  # pyright: ignore[reportGeneralTypeIssues]
        x.expand(runs, *x.shape[1:]), labels.expand(runs, *labels.shape[1:]), ignored
    )


class _Strided(Function):
    """A slice of every `step` rows and columns; torch's own gradient would put the channels first in memory."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, step: tuple[int, int], link: Link | None) -> Tensor:
        ctx.given = x.shape, step, link
        return first(last(x[..., :: step[0], :: step[1]]))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (runs, images, channels, *size), step, link = ctx.given
        if link is not None and link.take(gradients[0], step):
            return None, None, None
        dx = first(gradients[0].new_zeros((runs, images, *size, channels)))
        dx[..., :: step[0], :: step[1]] = gradients[0]
        return dx, None, None


def strided(x: Tensor, step: tuple[int, int], link: Link | None = None) -> Tensor:
    """x[..., ::step[0], ::step[1]]. link: to a convolution of x."""
    return _Strided.apply(x, step, link)  # pyright: ignore[reportGeneralTypeIssues]


class _Channels(Function):
    """Adds channels of zeros, and keeps the channels last in memory, which torch's own padding would not."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, before: int, after: int, dtype: torch.dtype) -> Tensor:
        ctx.given = before, x.shape[2], x.dtype
        return first(pictures.padded(x.movedim(2, -1), before, after, dtype))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        before, channels, dtype = ctx.given
        return gradients[0][:, :, before : before + channels].to(dtype), None, None, None


def pad_channels(x: Tensor, before: int, after: int, dtype: torch.dtype | None = None) -> Tensor:
    """Add channels of zeros to x (R, B, C, ...), before and after its own, and convert it to `dtype` if given."""
    return _Channels.apply(x, before, after, dtype or x.dtype)  # pyright: ignore[reportGeneralTypeIssues]
