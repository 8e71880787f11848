# pyright: basic, reportArgumentType=false, reportCallIssue=false, reportGeneralTypeIssues=false, reportOperatorIssue=false
"""Batch norm of R models, with the residual addition and ReLU that follow it: y (R, M, C), M = images x pixels.

Means and variances are merged from those of tiles (Chan, Golub & LeVeque 1983, equation 2.1), in a fixed order. So no
large square is subtracted from another.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from nondet.training.kernels.geometry import Geometry
from nondet.training.kernels.tiles import power_of_two


@triton.jit
def _normalised(y, mean, rstd, gamma, beta):
    return (y - mean[None, :]) * (rstd * gamma)[None, :] + beta[None, :]


@triton.jit
def _tile_statistics(y, part, M, C: tl.constexpr, BM: tl.constexpr, BC: tl.constexpr):
    """Store the sum of every channel over a tile, and that of its squared deviations, as `_products` does."""
    tile, r = tl.program_id(0), tl.program_id(2).to(tl.int64)
    m, c = tile * BM + tl.arange(0, BM), tl.program_id(1) * BC + tl.arange(0, BC)
    good = (m < M)[:, None] & (c < C)[None, :]
    seen = tl.load(y + r * M * C + m[:, None] * C + c[None, :], mask=good, other=0.0).to(tl.float32)
    total = tl.sum(seen, 0)
    apart = tl.where(good, seen - (total / tl.minimum(M - tile * BM, BM).to(tl.float32))[None, :], 0.0)
    part += (r * tl.num_programs(0) + tile) * 2 * C + c
    tl.store(part, total, mask=c < C)
    tl.store(part + C, tl.sum(apart * apart, 0), mask=c < C)


@triton.jit
def _merged(
    part, mean, rstd, running_mean, running_var, momentum, eps, places, tiles,
    C: tl.constexpr, OG: tl.constexpr, COLUMNS: tl.constexpr, ACROSS: tl.constexpr, ROWS: tl.constexpr,
    TOGETHER: tl.constexpr, BC: tl.constexpr, RUNNING: tl.constexpr,
):  # fmt: skip
    """Store the mean and 1 / standard deviation of every channel, and move the running ones towards them."""
    r, c = tl.program_id(1).to(tl.int64), tl.program_id(0) * BC + tl.arange(0, BC)
    G: tl.constexpr = C // OG
    part += r * tiles * 2 * G * COLUMNS + (c // OG) * COLUMNS + c % OG
    every = tl.arange(0, TOGETHER)
    total = tl.zeros((BC,), dtype=tl.float32)
    first = 0
    while first < tiles:
        tile = first + every
        good = (tile < tiles)[:, None] & (c < C)[None, :]
        at = part[None, :] + tile[:, None] * (2 * G * COLUMNS)
        for v in tl.static_range(ACROSS):
            total += tl.sum(tl.load(at + v * OG, mask=good, other=0.0), 0)
        first += TOGETHER
    count = places * ACROSS * 1.0
    middle = total / count
    squares = tl.zeros((BC,), dtype=tl.float32)
    first = 0
    while first < tiles:
        tile = first + every
        good = (tile < tiles)[:, None] & (c < C)[None, :]
        rows = tl.minimum(places - tile * ROWS, ROWS).to(tl.float32)[:, None]
        at = part[None, :] + tile[:, None] * (2 * G * COLUMNS)
        for v in tl.static_range(ACROSS):
            away = tl.load(at + v * OG, mask=good, other=0.0) / rows - middle[None, :]
            own = tl.load(at + G * COLUMNS + v * OG, mask=good, other=0.0)
            squares += tl.sum(tl.where(good, own + rows * away * away, 0.0), 0)
        first += TOGETHER
    at, there = r * C + c, c < C
    tl.store(mean + at, middle, mask=there)
    tl.store(rstd + at, tl.div_rn(1.0, tl.sqrt_rn(squares / count + eps)), mask=there)
    if RUNNING:
        before = tl.load(running_mean + at, mask=there, other=0.0)
        tl.store(running_mean + at, (1 - momentum) * before + momentum * middle, mask=there)
        before = tl.load(running_var + at, mask=there, other=0.0)
        tl.store(running_var + at, (1 - momentum) * before + momentum * (squares / (count - 1)), mask=there)


@triton.jit
def _applied(
    y, mean, rstd, gamma, beta, residual, z, M, y_run,
    C: tl.constexpr, BM: tl.constexpr, BC: tl.constexpr, RESIDUAL: tl.constexpr, RELU: tl.constexpr,
):  # fmt: skip
    r = tl.program_id(2).to(tl.int64)
    m, c = tl.program_id(0) * BM + tl.arange(0, BM), tl.program_id(1) * BC + tl.arange(0, BC)
    there, good = c < C, (m < M)[:, None] & (c < C)[None, :]
    inner = m[:, None] * C + c[None, :]
    mu, rs = tl.load(mean + r * C + c, mask=there, other=0.0), tl.load(rstd + r * C + c, mask=there, other=0.0)
    ga, be = tl.load(gamma + r * C + c, mask=there, other=0.0), tl.load(beta + r * C + c, mask=there, other=0.0)
    value = _normalised(tl.load(y + r * y_run + inner, mask=good, other=0.0).to(tl.float32), mu, rs, ga, be)
    if RESIDUAL:
        value += tl.load(residual + r * M * C + inner, mask=good, other=0.0).to(tl.float32)
    if RELU:
        value = tl.where(value <= 0, 0.0, value)
    tl.store(z + r * M * C + inner, value.to(z.dtype.element_ty), mask=good)


@triton.jit
def _incoming(dz, z, inner, good, value, RESIDUAL: tl.constexpr, RELU: tl.constexpr):
    """Return the gradient that passes the ReLU. With a residual the ReLU's sign is read from z, else from the value."""
    d = tl.load(dz + inner, mask=good, other=0.0).to(tl.float32)
    if RELU:
        if RESIDUAL:
            d = tl.where(tl.load(z + inner, mask=good, other=0.0).to(tl.float32) <= 0, 0.0, d)
        else:
            d = tl.where(value <= 0, 0.0, d)
    return d


@triton.jit
def _gradient_sums(
    dz, z, y, mean, rstd, gamma, beta, part, dres, M, y_run,
    C: tl.constexpr, BM: tl.constexpr, BC: tl.constexpr, TILES: tl.constexpr, RESIDUAL: tl.constexpr,
    RELU: tl.constexpr,
):  # fmt: skip
    """Sum, over some tiles, the gradient, and the gradient times the normalised values, by channel.

    With a residual, also store the gradient that passed the ReLU, which is the residual's.
    """
    r = tl.program_id(2).to(tl.int64)
    c = tl.program_id(1) * BC + tl.arange(0, BC)
    there = c < C
    mu, rs = tl.load(mean + r * C + c, mask=there, other=0.0), tl.load(rstd + r * C + c, mask=there, other=0.0)
    ga, be = tl.load(gamma + r * C + c, mask=there, other=0.0), tl.load(beta + r * C + c, mask=there, other=0.0)
    total = tl.zeros((BC,), dtype=tl.float32)
    times = tl.zeros((BC,), dtype=tl.float32)
    for tile in range(TILES):
        m = (tl.program_id(0) * TILES + tile) * BM + tl.arange(0, BM)
        good = (m < M)[:, None] & there[None, :]
        inner = m[:, None] * C + c[None, :]
        seen = tl.load(y + r * y_run + inner, mask=good, other=0.0).to(tl.float32)
        value = _normalised(seen, mu, rs, ga, be)
        d = _incoming(dz + r * M * C, z + r * M * C, inner, good, value, RESIDUAL, RELU)
        if RESIDUAL and RELU:
            tl.store(dres + r * M * C + inner, d.to(dres.dtype.element_ty), mask=good)
        total += tl.sum(d, 0)
        times += tl.sum(d * ((seen - mu[None, :]) * rs[None, :]), 0)
    part += (r * tl.num_programs(0) + tl.program_id(0)) * 2 * C + c
    tl.store(part, total, mask=there)
    tl.store(part + C, times, mask=there)


@triton.jit
def _summed(part, total, tiles, SIZE: tl.constexpr, TOGETHER: tl.constexpr, BC: tl.constexpr):
    """Sum part (R, tiles, SIZE) over the tiles: (R, SIZE)."""
    r, c = tl.program_id(1).to(tl.int64), tl.program_id(0) * BC + tl.arange(0, BC)
    every = tl.arange(0, TOGETHER)
    found = tl.zeros((BC,), dtype=tl.float32)
    first = 0
    while first < tiles:
        good = (first + every < tiles)[:, None] & (c < SIZE)[None, :]
        at = part + r * tiles * SIZE + (first + every)[:, None] * SIZE + c[None, :]
        found += tl.sum(tl.load(at, mask=good, other=0.0), 0)
        first += TOGETHER
    tl.store(total + r * SIZE + c, found, mask=c < SIZE)


@triton.jit
def _gradient_applied(
    dz, y, mean, rstd, gamma, beta, sums, dy, M, y_run,
    C: tl.constexpr, BM: tl.constexpr, BC: tl.constexpr, RELU: tl.constexpr, TRAINING: tl.constexpr,
):  # fmt: skip
    """Store the gradient of y from dz, which first passes the ReLU if it has not passed one yet."""
    r = tl.program_id(2).to(tl.int64)
    m, c = tl.program_id(0) * BM + tl.arange(0, BM), tl.program_id(1) * BC + tl.arange(0, BC)
    there, good = c < C, (m < M)[:, None] & (c < C)[None, :]
    inner = m[:, None] * C + c[None, :]
    mu, rs = tl.load(mean + r * C + c, mask=there, other=0.0), tl.load(rstd + r * C + c, mask=there, other=0.0)
    ga, be = tl.load(gamma + r * C + c, mask=there, other=0.0), tl.load(beta + r * C + c, mask=there, other=0.0)
    seen = tl.load(y + r * y_run + inner, mask=good, other=0.0).to(tl.float32)
    d = _incoming(dz + r * M * C, dz, inner, good, _normalised(seen, mu, rs, ga, be), False, RELU)
    if TRAINING:
        count = M * 1.0
        total = tl.load(sums + r * 2 * C + c, mask=there, other=0.0) / count
        times = tl.load(sums + r * 2 * C + C + c, mask=there, other=0.0) / count
        d = d - total[None, :] - (seen - mu[None, :]) * (rs * times)[None, :]
    tl.store(dy + r * M * C + inner, (d * (rs * ga)[None, :]).to(dy.dtype.element_ty), mask=good)


def _blocks(channels: int) -> tuple[int, int]:
    """Return the rows and channels of the pieces that one program works on."""
    wide = min(64, power_of_two(channels))
    return max(1, 4096 // wide), wide


def summed(part: Tensor) -> Tensor:
    """Sum part (R, tiles, k) over the tiles in a fixed order: (R, k)."""
    runs, tiles, size = part.shape
    total = part.new_empty((runs, size))
    wide = min(32, power_of_two(size))
    _summed[(triton.cdiv(size, wide), runs)](
        part, total, tiles, SIZE=size, TOGETHER=min(64, power_of_two(tiles)), BC=wide
    )
    return total


def statistics(y: Tensor) -> tuple[Tensor, int]:
    """Return the tiles' sums of y (R, M, C) in the form that `merged` reads, and the rows of a tile."""
    runs, rows, channels = y.shape
    high, wide = _blocks(channels)
    tiles = triton.cdiv(rows, high)
    part = y.new_empty((runs, tiles, 2, 1, channels), dtype=torch.float32)
    _tile_statistics[(tiles, triton.cdiv(channels, wide), runs)](y, part, rows, C=channels, BM=high, BC=wide)
    return part, high


def merged(
    part: Tensor,
    channels: int,
    rows: int,
    places: int,
    running: tuple[Tensor, Tensor] | None,
    momentum: float,
    eps: float,
    geometry: Geometry | None = None,
) -> tuple[Tensor, Tensor]:
    """Return mean and 1 / standard deviation (R, C) from the tiles' sums; update running mean and variance (R, C).

    rows: of a tile. places: the rows of all tiles. geometry: of the convolution that wrote the sums, if one did.
    """
    runs, tiles, _, groups, columns = part.shape
    mean, rstd = part.new_empty((runs, channels)), part.new_empty((runs, channels))
    wide = min(16, power_of_two(channels))
    _merged[(triton.cdiv(channels, wide), runs)](
        part, mean, rstd, *(running or (mean, mean)), momentum, eps, places, tiles,
        C=channels, OG=channels // groups, COLUMNS=columns, ACROSS=geometry.across if geometry else 1, ROWS=rows,
        TOGETHER=min(512, power_of_two(tiles)), BC=wide, RUNNING=running is not None, num_warps=8,
    )  # fmt: skip
    return mean, rstd


def applied(
    y: Tensor, mean: Tensor, rstd: Tensor, gamma: Tensor, beta: Tensor, residual: Tensor | None, relu: bool
) -> Tensor:
    """relu((y - mean) * rstd * gamma + beta + residual): (R, M, C)."""
    runs, (rows, channels) = len(mean), y.shape[1:]
    high, wide = _blocks(channels)
    z = y.new_empty((runs, rows, channels))
    _applied[(triton.cdiv(rows, high), triton.cdiv(channels, wide), runs)](
        y, mean, rstd, gamma, beta, z if residual is None else residual, z, rows,
        rows * channels if len(y) > 1 else 0, C=channels, BM=high, BC=wide, RESIDUAL=residual is not None, RELU=relu,
    )  # fmt: skip
    return z


def gradients(
    dz: Tensor,
    z: Tensor,
    y: Tensor,
    mean: Tensor,
    rstd: Tensor,
    gamma: Tensor,
    beta: Tensor,
    residual: bool,
    relu: bool,
    training: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of y and the residual (R, M, C), of gamma and of beta (R, C)."""
    runs, rows, channels = dz.shape
    high, wide = _blocks(channels)
    along = 0 if len(y) == 1 else rows * channels
    tiles = max(1, min(16, rows // (high * 64)))
    chunks = triton.cdiv(rows, high * tiles)
    part = dz.new_empty((runs, chunks, 2 * channels), dtype=torch.float32)
    norm, sizes = (y, mean, rstd, gamma, beta), {"C": channels, "BM": high, "BC": wide}
    through = residual and relu
    dres = torch.empty_like(dz) if through else dz
    _gradient_sums[(chunks, triton.cdiv(channels, wide), runs)](
        dz, z, *norm, part, dres, rows, along, TILES=tiles, RESIDUAL=residual, RELU=relu, **sizes
    )
    sums = summed(part)
    dy = torch.empty_like(dz, dtype=y.dtype)
    _gradient_applied[(triton.cdiv(rows, high), triton.cdiv(channels, wide), runs)](
        dres, *norm, sums, dy, rows, along, RELU=relu and not through, TRAINING=training, **sizes
    )
    return dy, dres, sums[:, channels:], sums[:, :channels]
