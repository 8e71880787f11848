# pyright: basic, reportArgumentType=false, reportCallIssue=false, reportGeneralTypeIssues=false, reportOperatorIssue=false
"""Pooling of the images of R models: maxima, averages, and the average of a whole image."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from nondet.training.kernels.tiles import power_of_two


@triton.jit
def _pooled(
    x, y, index, pixels,
    H: tl.constexpr, W: tl.constexpr, HO: tl.constexpr, WO: tl.constexpr, C: tl.constexpr, KH: tl.constexpr,
    KW: tl.constexpr, SH: tl.constexpr, SW: tl.constexpr, PH: tl.constexpr, PW: tl.constexpr, BM: tl.constexpr,
    BC: tl.constexpr, MAXIMUM: tl.constexpr, images: tl.constexpr,
):  # fmt: skip
    """Store every window's maximum and its position (the first of equal ones, or of a NaN), or its mean."""
    r = tl.program_id(2).to(tl.int64)
    m, c = tl.program_id(0) * BM + tl.arange(0, BM), tl.program_id(1) * BC + tl.arange(0, BC)
    good = (m < pixels)[:, None] & (c < C)[None, :]
    b, place = m // (HO * WO), m % (HO * WO)
    i, j = (place // WO) * SH - PH, (place % WO) * SW - PW
    x += r * images * H * W * C
    best = tl.full((BM, BC), float("-inf") if MAXIMUM else 0.0, dtype=tl.float32)
    found = tl.full((BM, BC), -1, dtype=tl.int32)
    for kh in tl.static_range(KH):
        for kw in tl.static_range(KW):
            inside = (i + kh >= 0) & (i + kh < H) & (j + kw >= 0) & (j + kw < W)
            at = ((b * H + i + kh) * W + j + kw)[:, None] * C + c[None, :]
            seen = tl.load(x + at, mask=good & inside[:, None], other=0.0).to(tl.float32)
            if MAXIMUM:
                better = inside[:, None] & ((seen > best) | (seen != seen) | (found < 0))
                best = tl.where(better, seen, best)
                found = tl.where(better, kh * KW + kw, found)
            else:
                best += seen
    at = r * pixels * C + m[:, None] * C + c[None, :]
    if MAXIMUM:
        tl.store(index + at, found.to(tl.uint8), mask=good)
    else:
        best = best / (KH * KW)
    tl.store(y + at, best.to(y.dtype.element_ty), mask=good)


@triton.jit
def _pool_gradient(
    dy, index, dx, pixels,
    H: tl.constexpr, W: tl.constexpr, HO: tl.constexpr, WO: tl.constexpr, C: tl.constexpr, KH: tl.constexpr,
    KW: tl.constexpr, SH: tl.constexpr, SW: tl.constexpr, PH: tl.constexpr, PW: tl.constexpr, BM: tl.constexpr,
    BC: tl.constexpr, MAXIMUM: tl.constexpr, images: tl.constexpr,
):  # fmt: skip
    """Store what every input pixel gets from the windows that contain it, in the order of the windows' elements."""
    r = tl.program_id(2).to(tl.int64)
    m, c = tl.program_id(0) * BM + tl.arange(0, BM), tl.program_id(1) * BC + tl.arange(0, BC)
    good = (m < pixels)[:, None] & (c < C)[None, :]
    b, place = m // (H * W), m % (H * W)
    dy += r * images * HO * WO * C
    index += r * images * HO * WO * C
    total = tl.zeros((BM, BC), dtype=tl.float32)
    for kh in tl.static_range(KH):
        for kw in tl.static_range(KW):
            i, j = place // W + PH - kh, place % W + PW - kw
            there = (i >= 0) & (i % SH == 0) & (i // SH < HO) & (j >= 0) & (j % SW == 0) & (j // SW < WO)
            at = ((b * HO + i // SH) * WO + j // SW)[:, None] * C + c[None, :]
            d = tl.load(dy + at, mask=good & there[:, None], other=0.0).to(tl.float32)
            if MAXIMUM:
                chosen = tl.load(index + at, mask=good & there[:, None], other=255).to(tl.int32)
                d = tl.where(chosen == kh * KW + kw, d, 0.0)
            total += d
    if not MAXIMUM:
        total = total / (KH * KW)
    tl.store(dx + r * pixels * C + m[:, None] * C + c[None, :], total.to(dx.dtype.element_ty), mask=good)


@triton.jit
def _means(x, y, images, N: tl.constexpr, C: tl.constexpr, BM: tl.constexpr, BC: tl.constexpr):
    """Store the mean over an image's N pixels; one program works on one image and a few channels."""
    b, r = tl.program_id(0), tl.program_id(2).to(tl.int64)
    c = tl.program_id(1) * BC + tl.arange(0, BC)
    total = tl.zeros((BC,), dtype=tl.float32)
    for first in range(0, N, BM):
        m = first + tl.arange(0, BM)
        at = x + ((r * images + b) * N + m[:, None]) * C + c[None, :]
        total += tl.sum(tl.load(at, mask=(m < N)[:, None] & (c < C)[None, :], other=0.0).to(tl.float32), 0)
    tl.store(y + (r * images + b) * C + c, (total / N).to(y.dtype.element_ty), mask=c < C)


Window = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
"""A pooling's kernel, stride and padding, each (height, width)."""


def _constants(size: tuple[int, int], out: tuple[int, int], channels: int, window: Window) -> dict[str, int]:
    (kh, kw), (sh, sw), (ph, pw) = window
    wide = min(64, power_of_two(channels))
    return {
        "H": size[0], "W": size[1], "HO": out[0], "WO": out[1], "C": channels, "KH": kh, "KW": kw, "SH": sh, "SW": sw,
        "PH": ph, "PW": pw, "BC": wide, "BM": max(1, 2048 // wide),
    }  # fmt: skip


def pooled(x: Tensor, window: Window, maximum: bool) -> tuple[Tensor, Tensor]:
    """Return the windows' maxima or means (R, B, HO, WO, C) of x (R, B, H, W, C), and the maxima's places (uint8)."""
    runs, images, *size, channels = x.shape
    out = tuple((n + 2 * p - k) // s + 1 for n, k, s, p in zip(size, *window, strict=True))
    y = x.new_empty((runs, images, *out, channels))
    index = x.new_empty(y.shape if maximum else (1,), dtype=torch.uint8)
    pixels, constants = images * out[0] * out[1], _constants((size[0], size[1]), (out[0], out[1]), channels, window)
    _pooled[(triton.cdiv(pixels, constants["BM"]), triton.cdiv(channels, constants["BC"]), runs)](
        x, y, index, pixels, **constants, MAXIMUM=maximum, images=images
    )
    return y, index


def pool_gradient(dy: Tensor, index: Tensor, size: tuple[int, int], window: Window, maximum: bool) -> Tensor:
    """Return the gradient (R, B, H, W, C) of the tensor that was pooled."""
    runs, images, *out, channels = dy.shape
    dx = dy.new_empty((runs, images, *size, channels))
    pixels, constants = images * size[0] * size[1], _constants(size, (out[0], out[1]), channels, window)
    _pool_gradient[(triton.cdiv(pixels, constants["BM"]), triton.cdiv(channels, constants["BC"]), runs)](
        dy, index, dx, pixels, **constants, MAXIMUM=maximum, images=images
    )
    return dx


def means(x: Tensor) -> Tensor:
    """Return the means of x (R, B, pixels, C) over the pixels: (R, B, C)."""
    runs, images, pixels, channels = x.shape
    y, wide = x.new_empty((runs, images, channels)), min(64, power_of_two(channels))
    _means[(images, triton.cdiv(channels, wide), runs)](
        x, y, images, N=pixels, C=channels, BM=min(64, power_of_two(pixels)), BC=wide
    )
    return y
