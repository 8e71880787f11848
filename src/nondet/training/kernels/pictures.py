# pyright: basic, reportArgumentType=false, reportCallIssue=false, reportGeneralTypeIssues=false, reportOperatorIssue=false
"""Pictures in one pass over memory: crops and flips while reading from the training set, and padding of channels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from nondet.tasks.augment import Crop, Flip
from nondet.training.kernels.tiles import power_of_two


@triton.jit
def _taken(
    inputs, index, offsets, flips, fill, out, pixels,
    H: tl.constexpr, W: tl.constexpr, C: tl.constexpr, BC: tl.constexpr, BM: tl.constexpr, PADDING: tl.constexpr,
    CROP: tl.constexpr, FLIP: tl.constexpr,
):  # fmt: skip
    m = tl.program_id(0).to(tl.int64) * BM + tl.arange(0, BM)
    good = m < pixels
    picture, place = m // (H * W), m % (H * W)
    i, j = place // W, place % W
    if FLIP:
        j = tl.where(tl.load(flips + picture, mask=good, other=0) == 1, W - 1 - j, j)
    if CROP:
        i += tl.load(offsets + picture * 2, mask=good, other=0).to(tl.int32) - PADDING
        j += tl.load(offsets + picture * 2 + 1, mask=good, other=0).to(tl.int32) - PADDING
    c = tl.arange(0, BC)
    there = good[:, None] & (c < C)[None, :]
    inside = there & ((i >= 0) & (i < H) & (j >= 0) & (j < W))[:, None]
    source = tl.load(index + picture, mask=good, other=0) * (C * H * W) + i * W + j
    border = tl.load(fill + c, mask=c < C, other=0.0)
    value = tl.load(inputs + source[:, None] + c[None, :] * (H * W), mask=inside, other=0.0)
    value = tl.where(inside, value, border[None, :].to(value.dtype))
    tl.store(out + m[:, None] * C + c[None, :], value, mask=there)


def knows(inputs: Tensor, augment: Sequence[object]) -> bool:
    """Whether these are pictures whose augmentations are a crop, a flip, or a flip after a crop."""
    kinds = [type(a) for a in augment]
    return inputs.dim() == 4 and inputs[0].numel() < 2**24 and kinds in ([Crop], [Flip], [Crop, Flip])


def taken(inputs: Tensor, index: Tensor, augment: Sequence[object], draws: Sequence[Tensor]) -> Tensor:
    """Return inputs (n, C, H, W) at index (m,), augmented by the draws (m, k): (m, C, H, W), channels last in memory.

    The numbers are the same as from the augmentations' own `apply`.
    """
    _, channels, height, width = inputs.shape
    named = {type(a): (a, drawn.contiguous()) for a, drawn in zip(augment, draws, strict=True)}
    crop, offsets = named.get(Crop, (None, index))
    _, flips = named.get(Flip, (None, index))
    padding, fill = (crop.padding, crop.fill) if isinstance(crop, Crop) else (0, ())
    border = _border(tuple(fill) or (0.0,) * channels, inputs.dtype, inputs.device)
    out = inputs.new_empty((len(index), height, width, channels))
    pixels, block = len(index) * height * width, 512
    _taken[(triton.cdiv(pixels, block),)](
        inputs, index, offsets, flips, border, out, pixels,
        H=height, W=width, C=channels, BC=power_of_two(channels), BM=block, PADDING=padding, CROP=Crop in named,
        FLIP=Flip in named,
    )  # fmt: skip
    return out.movedim(-1, 1)


_borders: dict[tuple[tuple[float, ...], torch.dtype, torch.device], Tensor] = {}


def _border(fill: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the padding's values by channel, on the device; made once, since a step must not wait for the host."""
    key = (fill, dtype, device)
    if key not in _borders:
        _borders[key] = torch.tensor(fill, dtype=dtype, device=device)
    return _borders[key]


@triton.jit
def _padded(
    x, out, size, x_run, x_picture, x_pixel, x_channel, pixels,
    BEFORE: tl.constexpr, C: tl.constexpr, CHANNELS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    r, e = tl.program_id(1).to(tl.int64), tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    m, c = e // CHANNELS, e % CHANNELS - BEFORE
    at = r * x_run + (m // pixels).to(tl.int64) * x_picture + (m % pixels) * x_pixel + c * x_channel
    value = tl.load(x + at, mask=(e < size) & (c >= 0) & (c < C), other=0.0)
    tl.store(out + r * size + e, value.to(out.dtype.element_ty), mask=e < size)


def padded(x: Tensor, before: int, after: int, dtype: torch.dtype) -> Tensor:
    """Add channels of zeros to x (R, B, ..., C), which may have any strides, and convert it to `dtype`."""
    flat = x.flatten(2, -2)
    runs, _, pixels, channels = flat.shape
    out = x.new_empty((*x.shape[:-1], before + channels + after), dtype=dtype)
    size, block = out[0].numel(), 1024
    _padded[(triton.cdiv(size, block), runs)](
        flat, out, size, *flat.stride(), pixels,
        BEFORE=before, C=channels, CHANNELS=before + channels + after, BLOCK=block,
    )  # fmt: skip
    return out
