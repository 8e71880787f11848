# pyright: basic, reportArgumentType=false, reportCallIssue=false, reportGeneralTypeIssues=false, reportOperatorIssue=false
"""Convolutions of R models with one channel in each group, whose sums are too short for matrix products."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from nondet.training.kernels.geometry import Geometry
from nondet.training.kernels.norm import summed
from nondet.training.kernels.tiles import power_of_two


@triton.jit
def _filtered(
    x, w, bias, y, pixels, x_run,
    H: tl.constexpr, W: tl.constexpr, HO: tl.constexpr, WO: tl.constexpr, C: tl.constexpr, KH: tl.constexpr,
    KW: tl.constexpr, S: tl.constexpr, PH: tl.constexpr, PW: tl.constexpr, BM: tl.constexpr, BC: tl.constexpr,
    BIAS: tl.constexpr,
):  # fmt: skip
    r = tl.program_id(2).to(tl.int64)
    m, c = tl.program_id(0) * BM + tl.arange(0, BM), tl.program_id(1) * BC + tl.arange(0, BC)
    good = (m < pixels)[:, None] & (c < C)[None, :]
    b, place = m // (HO * WO), m % (HO * WO)
    i, j = (place // WO) * S - PH, (place % WO) * S - PW
    total = tl.zeros((BM, BC), dtype=tl.float32)
    for kh in tl.static_range(KH):
        for kw in tl.static_range(KW):
            inside = (i + kh >= 0) & (i + kh < H) & (j + kw >= 0) & (j + kw < W)
            at = ((b * H + i + kh) * W + j + kw)[:, None] * C + c[None, :]
            seen = tl.load(x + r * x_run + at, mask=good & inside[:, None], other=0.0).to(tl.float32)
            weight = tl.load(w + (r * C + c) * (KH * KW) + kh * KW + kw, mask=c < C, other=0.0).to(tl.float32)
            total += seen * weight[None, :]
    if BIAS:
        total += tl.load(bias + r * C + c, mask=c < C, other=0.0).to(tl.float32)[None, :]
    tl.store(y + r * pixels * C + m[:, None] * C + c[None, :], total.to(y.dtype.element_ty), mask=good)


@triton.jit
def _filtered_back(
    dy, w, dx, pixels, images,
    H: tl.constexpr, W: tl.constexpr, HO: tl.constexpr, WO: tl.constexpr, C: tl.constexpr, KH: tl.constexpr,
    KW: tl.constexpr, S: tl.constexpr, PH: tl.constexpr, PW: tl.constexpr, BM: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    r = tl.program_id(2).to(tl.int64)
    m, c = tl.program_id(0) * BM + tl.arange(0, BM), tl.program_id(1) * BC + tl.arange(0, BC)
    good = (m < pixels)[:, None] & (c < C)[None, :]
    b, place = m // (H * W), m % (H * W)
    total = tl.zeros((BM, BC), dtype=tl.float32)
    for kh in tl.static_range(KH):
        for kw in tl.static_range(KW):
            i, j = place // W + PH - kh, place % W + PW - kw
            there = (i >= 0) & (i % S == 0) & (i // S < HO) & (j >= 0) & (j % S == 0) & (j // S < WO)
            at = ((r * images + b) * HO * WO + (i // S) * WO + j // S)[:, None] * C + c[None, :]
            d = tl.load(dy + at, mask=good & there[:, None], other=0.0).to(tl.float32)
            weight = tl.load(w + (r * C + c) * (KH * KW) + kh * KW + kw, mask=c < C, other=0.0).to(tl.float32)
            total += d * weight[None, :]
    tl.store(dx + r * pixels * C + m[:, None] * C + c[None, :], total.to(dx.dtype.element_ty), mask=good)


@triton.jit
def _filter_sums(
    x, dy, part, pixels, x_run,
    H: tl.constexpr, W: tl.constexpr, HO: tl.constexpr, WO: tl.constexpr, C: tl.constexpr, KH: tl.constexpr,
    KW: tl.constexpr, S: tl.constexpr, PH: tl.constexpr, PW: tl.constexpr, BM: tl.constexpr, BC: tl.constexpr,
    TILES: tl.constexpr,
):  # fmt: skip
    """Sum, over some tiles, the input under one element of the filters times dy."""
    r = tl.program_id(2).to(tl.int64)
    tap, block = tl.program_id(1) % (KH * KW), tl.program_id(1) // (KH * KW)
    c = block * BC + tl.arange(0, BC)
    total = tl.zeros((BC,), dtype=tl.float32)
    for tile in range(TILES):
        m = (tl.program_id(0) * TILES + tile) * BM + tl.arange(0, BM)
        good = (m < pixels)[:, None] & (c < C)[None, :]
        b, place = m // (HO * WO), m % (HO * WO)
        i, j = (place // WO) * S - PH + tap // KW, (place % WO) * S - PW + tap % KW
        inside = (i >= 0) & (i < H) & (j >= 0) & (j < W)
        at = ((b * H + i) * W + j)[:, None] * C + c[None, :]
        seen = tl.load(x + r * x_run + at, mask=good & inside[:, None], other=0.0).to(tl.float32)
        d = tl.load(dy + r * pixels * C + m[:, None] * C + c[None, :], mask=good, other=0.0).to(tl.float32)
        total += tl.sum(seen * d, 0)
    tl.store(part + ((r * tl.num_programs(0) + tl.program_id(0)) * C + c) * (KH * KW) + tap, total, mask=c < C)


def _constants(g: Geometry) -> dict[str, int]:
    wide = min(64, power_of_two(g.channels))
    return {
        "H": g.height, "W": g.width, "HO": g.out_height, "WO": g.out_width, "C": g.channels, "KH": g.kernel[0],
        "KW": g.kernel[1], "S": g.stride, "PH": g.padding[0], "PW": g.padding[1], "BC": wide,
        "BM": max(1, 2048 // wide),
    }  # fmt: skip


def filtered(x: Tensor, w: Tensor, bias: Tensor | None, geometry: Geometry, dtype: torch.dtype) -> Tensor:
    """Convolve x (R or 1, B, H, W, C) with the filters w (R, C, 1, height, width): (R, B, HO, WO, C)."""
    g, s = geometry, _constants(geometry)
    runs, images = len(w), x.shape[1]
    y = x.new_empty((runs, images, g.out_height, g.out_width, g.outputs), dtype=dtype)
    pixels = images * g.out_height * g.out_width
    _filtered[(triton.cdiv(pixels, s["BM"]), triton.cdiv(g.channels, s["BC"]), runs)](
        x, w, y if bias is None else bias, y, pixels, x[0].numel() if len(x) > 1 else 0, **s, BIAS=bias is not None
    )
    return y


def filtered_back(dy: Tensor, w: Tensor, geometry: Geometry) -> Tensor:
    """Compute the gradient of the input."""
    g, s = geometry, _constants(geometry)
    runs, images = len(w), dy.shape[1]
    dx = dy.new_empty((runs, images, g.height, g.width, g.channels))
    pixels = images * g.height * g.width
    _filtered_back[(triton.cdiv(pixels, s["BM"]), triton.cdiv(g.channels, s["BC"]), runs)](
        dy, w, dx, pixels, images, **s
    )
    return dx


def filter_gradient(x: Tensor, dy: Tensor, geometry: Geometry) -> Tensor:
    """Compute the gradient of the filters: (R, C, 1, height, width) in float32."""
    g, s = geometry, _constants(geometry)
    runs, images = len(dy), dy.shape[1]
    pixels, taps = images * g.out_height * g.out_width, g.kernel[0] * g.kernel[1]
    tiles = max(1, min(32, pixels // (s["BM"] * 64)))
    chunks = triton.cdiv(pixels, s["BM"] * tiles)
    part = dy.new_empty((runs, chunks, g.channels * taps), dtype=torch.float32)
    _filter_sums[(chunks, taps * triton.cdiv(g.channels, s["BC"]), runs)](
        x, dy, part, pixels, x[0].numel() if len(x) > 1 else 0, **s, TILES=tiles
    )
    return summed(part).view(runs, g.channels, 1, *g.kernel)
