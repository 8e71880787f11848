# pyright: basic, reportArgumentType=false, reportCallIssue=false, reportGeneralTypeIssues=false, reportOperatorIssue=false
"""Convolutions of R models as one kernel: forward, gradient of the input, gradient of the weights.

A program works on one tile of one model, and the order of every sum depends only on the shapes of one model. So the
bits of a run do not depend on the number of models, on its slot, or on the other runs' numbers.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from nondet.training.kernels.geometry import Geometry
from nondet.training.kernels.product import dot
from nondet.training.kernels.tiles import Tile, power_of_two


@triton.jit
def _strips(
    x, a, q, b, good, t, k,
    H: tl.constexpr, W: tl.constexpr, C: tl.constexpr, CG: tl.constexpr, DEPTH: tl.constexpr,
    RS: tl.constexpr, R0: tl.constexpr, CS: tl.constexpr, C0: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """Load elements k of each row's strip for tap t; zero outside the image. x points to a model's group."""
    i = a * RS + R0 + t
    if CG == C:
        offset = k
    else:
        offset = (k // CG) * C + k % CG
    j = (q * CS + C0)[:, None] + (k // CG)[None, :]
    inside = (good & (i >= 0) & (i < H))[:, None] & (j >= 0) & (j < W)
    if DEPTH % BK != 0:
        inside = inside & (k < DEPTH)[None, :]
    start = ((b * H + i) * W + q * CS + C0) * C
    return tl.load(x + start[:, None] + offset[None, :], mask=inside, other=0.0)


@triton.jit
def rounded(a):
    """Round a to the nearest TF32 number (11 bits); NaN stays NaN."""
    bits = (a.to(tl.int32, bitcast=True) + 0x1000) & -0x2000
    return tl.where(a == a, bits.to(tl.float32, bitcast=True), a)


@triton.jit
def _times(left, right, rest, acc, PRECISION: tl.constexpr):
    """Return acc + left @ right^T; with "tf32x3", right is already rounded to TF32, and `rest` is the remainder.

    The matrix unit truncates its sums instead of rounding them, so that a long sum drifts. With full precision each
    piece therefore starts at zero, and is added outside the matrix unit.
    """
    right, rest = tl.trans(right), tl.trans(rest)
    if PRECISION == "tf32x3":
        most = rounded(left)
        some = dot(rounded(left - most), right, tl.zeros_like(acc), "tf32")
        some = dot(most, rest, some, "tf32")
        return acc + dot(most, right, some, "tf32")
    return dot(left.to(right.dtype), right, acc, PRECISION)


@triton.jit
def _scales(most):
    """Return the power of two that scales a largest magnitude into [2^14, 2^15), within float16's range, and 1 / it.

    It is at most 2^100, so that both can be represented; infinity and NaN stay as they are.
    """
    exponent = tl.maximum((most.to(tl.int32, bitcast=True) >> 23) & 255, 41)
    up, down = (268 - exponent) << 23, (exponent - 14) << 23
    return up.to(tl.float32, bitcast=True), down.to(tl.float32, bitcast=True)


@triton.jit
def _transposed_times(left, right, acc, up_left, down_left, up_right, down_right, PRECISION: tl.constexpr):
    """Return acc + left^T @ right. A float32 number becomes one (TF32) or two (full precision) scaled float16 numbers.

    The matrix unit accepts transposed factors only if they have 16 bits. One float16 number has the 11 bits of TF32.
    Two, the second scaled by another 2^11, have 22, with a rounding error of half a bit of float32's; the product of
    the two smaller parts is negligible. Numbers below 2^-29 of a tile's largest lose digits that its sums cannot keep.
    """
    if PRECISION == "ieee":
        return dot(tl.trans(left), right, acc, "ieee")
    if left.dtype != tl.float32 or right.dtype != tl.float32:
        return dot(tl.trans(left.to(right.dtype)), right, acc, "tf32")
    left, right = left * up_left, right * up_right
    left0, right0 = left.to(tl.float16), right.to(tl.float16)
    found = dot(tl.trans(left0), right0, tl.zeros_like(acc), "tf32")
    if PRECISION == "tf32x3":
        left1 = ((left - left0.to(tl.float32)) * 2048).to(tl.float16)
        right1 = ((right - right0.to(tl.float32)) * 2048).to(tl.float16)
        small = dot(tl.trans(left1), right0, tl.zeros_like(acc), "tf32")
        found += dot(tl.trans(left0), right1, small, "tf32") * (1 / 2048)
    return acc + found * down_left * down_right


@triton.jit
def _places(n, a, q, b, good,
    HO: tl.constexpr, WO: tl.constexpr, O: tl.constexpr, OG: tl.constexpr, BREADTH: tl.constexpr,
    UR: tl.constexpr, UC: tl.constexpr, WHOLE: tl.constexpr,
):  # fmt: skip
    """Return the positions of each row's outputs n in a model's group, and which of them exist."""
    if UR == 1 and OG == O:
        offset = n
    else:
        offset = ((n // (OG * UC)) * WO + (n // OG) % UC) * O + n % OG
    start = ((b * HO + a * UR) * WO + q * UC) * O
    there = good[:, None] & (n < BREADTH)[None, :]
    if not WHOLE:
        there = there & ((a * UR)[:, None] + (n // (OG * UC))[None, :] < HO)
        there = there & ((q * UC)[:, None] + ((n // OG) % UC)[None, :] < WO)
    return start[:, None] + offset[None, :], there


@triton.jit
def _products(
    x, w, bias, added, y, part, x_run, B,
    H: tl.constexpr, W: tl.constexpr, C: tl.constexpr, CG: tl.constexpr, HG: tl.constexpr, WG: tl.constexpr,
    HO: tl.constexpr, WO: tl.constexpr, O: tl.constexpr, OG: tl.constexpr, T: tl.constexpr, DEPTH: tl.constexpr,
    BREADTH: tl.constexpr, RS: tl.constexpr, R0: tl.constexpr, CS: tl.constexpr, C0: tl.constexpr, UR: tl.constexpr,
    UC: tl.constexpr, WHOLE: tl.constexpr, BM: tl.constexpr, BK: tl.constexpr, BN: tl.constexpr, NK: tl.constexpr,
    NN: tl.constexpr, BIAS: tl.constexpr, ADDED: tl.constexpr, AH: tl.constexpr, AW: tl.constexpr,
    STATISTICS: tl.constexpr, UNROLL: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """y = strips @ w (+ bias) (+ added); for each tile also every column's sum, and sum of squared deviations."""
    tile, r = tl.program_id(0), tl.program_id(2).to(tl.int64)
    g, block = tl.program_id(1) // NN, tl.program_id(1) % NN
    m = tile * BM + tl.arange(0, BM)
    M = B * HG * WG
    good = m < M
    b, place = m // (HG * WG), m % (HG * WG)
    a, q = place // WG, place % WG
    G: tl.constexpr = O // OG
    x += r * x_run + g * CG
    w_size: tl.constexpr = G * T * NK * BK * NN * BN
    w += r * (2 * w_size if PRECISION == "tf32x3" else w_size) + g * T * NK * BK * NN * BN
    n = block * BN + tl.arange(0, BN)
    acc = tl.zeros((BM, BN), dtype=tl.float32)
    if UNROLL:
        for step in tl.static_range(T * NK):
            k = (step % NK) * BK + tl.arange(0, BK)
            strips = _strips(x, a, q, b, good, step // NK, k, H, W, C, CG, DEPTH, RS, R0, CS, C0, BK)
            at = (step // NK * NN * BN + n)[:, None] * (NK * BK) + k[None, :]
            weights = tl.load(w + at)
            rest = tl.load(w + w_size + at) if PRECISION == "tf32x3" else weights
            acc = _times(strips, weights, rest, acc, PRECISION)
    else:
        for step in range(T * NK):
            k = (step % NK) * BK + tl.arange(0, BK)
            strips = _strips(x, a, q, b, good, step // NK, k, H, W, C, CG, DEPTH, RS, R0, CS, C0, BK)
            at = (step // NK * NN * BN + n)[:, None] * (NK * BK) + k[None, :]
            weights = tl.load(w + at)
            rest = tl.load(w + w_size + at) if PRECISION == "tf32x3" else weights
            acc = _times(strips, weights, rest, acc, PRECISION)
    if BIAS:
        acc += tl.load(bias + r * O + g * OG + n % OG, mask=n < BREADTH, other=0.0).to(tl.float32)[None, :]
    offset, there = _places(n, a, q, b, good, HO, WO, O, OG, BREADTH, UR, UC, WHOLE)
    here = r * B * HO * WO * O + g * OG
    if ADDED and AH == 1 and AW == 1:
        acc += tl.load(added + here + offset, mask=there, other=0.0).to(tl.float32)
    elif ADDED:
        i, j = (a * UR)[:, None] + (n // (OG * UC))[None, :], (q * UC)[:, None] + ((n // OG) % UC)[None, :]
        rows: tl.constexpr = (HO + AH - 1) // AH
        columns: tl.constexpr = (WO + AW - 1) // AW
        at = ((b[:, None] * rows + i // AH) * columns + j // AW) * O + g * OG + (n % OG)[None, :]
        met = there & (i % AH == 0) & (j % AW == 0)
        acc += tl.load(added + r * B * rows * columns * O + at, mask=met, other=0.0).to(tl.float32)
    written = acc.to(y.dtype.element_ty)
    tl.store(y + here + offset, written, mask=there)
    if STATISTICS:
        seen = tl.where(good[:, None], written.to(tl.float32), 0.0)
        count = tl.minimum(M - tile * BM, BM).to(tl.float32)
        total = tl.sum(seen, 0)
        apart = tl.where(good[:, None], seen - (total / count)[None, :], 0.0)
        part += ((r * tl.num_programs(0) + tile) * 2 * G + g) * (NN * BN) + n
        tl.store(part, total)
        tl.store(part + G * NN * BN, tl.sum(apart * apart, 0))


@triton.jit
def _weight_products(
    x, dy, part, x_run, B,
    H: tl.constexpr, W: tl.constexpr, C: tl.constexpr, CG: tl.constexpr, HG: tl.constexpr, WG: tl.constexpr,
    HO: tl.constexpr, WO: tl.constexpr, O: tl.constexpr, OG: tl.constexpr, T: tl.constexpr, DEPTH: tl.constexpr,
    BREADTH: tl.constexpr, RS: tl.constexpr, R0: tl.constexpr, CS: tl.constexpr, C0: tl.constexpr, UR: tl.constexpr,
    UC: tl.constexpr, WHOLE: tl.constexpr, BM: tl.constexpr, BK: tl.constexpr, BN: tl.constexpr, NK: tl.constexpr,
    NN: tl.constexpr, TILES: tl.constexpr, TOGETHER: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Sum strips^T @ dy over TILES tiles, for one tap, or for TOGETHER = 3 of them."""
    chunk, r = tl.program_id(0), tl.program_id(2).to(tl.int64)
    rest = tl.program_id(1)
    block, rest = rest % NN, rest // NN
    kk, rest = rest % NK, rest // NK
    t, g = (rest % (T // TOGETHER)) * TOGETHER, rest // (T // TOGETHER)
    M = B * HG * WG
    G: tl.constexpr = O // OG
    x += r * x_run + g * CG
    dy += r * B * HO * WO * O + g * OG
    k, n = kk * BK + tl.arange(0, BK), block * BN + tl.arange(0, BN)
    acc0 = tl.zeros((BK, BN), dtype=tl.float32)
    acc1 = tl.zeros((BK, BN), dtype=tl.float32)
    acc2 = tl.zeros((BK, BN), dtype=tl.float32)
    for tile in range(TILES):
        m = (chunk * TILES + tile) * BM + tl.arange(0, BM)
        good = m < M
        b, place = m // (HG * WG), m % (HG * WG)
        a, q = place // WG, place % WG
        offset, there = _places(n, a, q, b, good, HO, WO, O, OG, BREADTH, UR, UC, WHOLE)
        d = tl.load(dy + offset, mask=there, other=0.0)
        strips0 = _strips(x, a, q, b, good, t, k, H, W, C, CG, DEPTH, RS, R0, CS, C0, BK)
        strips1, strips2 = strips0, strips0
        if TOGETHER == 3:
            strips1 = _strips(x, a, q, b, good, t + 1, k, H, W, C, CG, DEPTH, RS, R0, CS, C0, BK)
            strips2 = _strips(x, a, q, b, good, t + 2, k, H, W, C, CG, DEPTH, RS, R0, CS, C0, BK)
        if d.dtype == tl.float32 and PRECISION != "ieee":
            most = tl.abs(strips0)
            if TOGETHER == 3:
                most = tl.maximum(tl.maximum(most, tl.abs(strips1)), tl.abs(strips2))
            up_x, down_x = _scales(tl.max(tl.max(most, 1), 0))
            up_d, down_d = _scales(tl.max(tl.max(tl.abs(d), 1), 0))
        else:
            up_x, down_x, up_d, down_d = 1.0, 1.0, 1.0, 1.0
        acc0 = _transposed_times(strips0, d, acc0, up_x, down_x, up_d, down_d, PRECISION)
        if TOGETHER == 3:
            acc1 = _transposed_times(strips1, d, acc1, up_x, down_x, up_d, down_d, PRECISION)
            acc2 = _transposed_times(strips2, d, acc2, up_x, down_x, up_d, down_d, PRECISION)
    part += (((r * tl.num_programs(0) + chunk) * G + g) * T + t) * (NK * BK * NN * BN)
    inner = k[:, None] * (NN * BN) + n[None, :]
    tl.store(part + inner, acc0)
    if TOGETHER == 3:
        tl.store(part + NK * BK * NN * BN + inner, acc1)
        tl.store(part + 2 * NK * BK * NN * BN + inner, acc2)


@triton.jit
def _spread(
    w, matrix, size, w_run,
    CG: tl.constexpr, OG: tl.constexpr, KH: tl.constexpr, KW: tl.constexpr, S: tl.constexpr, PH: tl.constexpr,
    PW: tl.constexpr, T: tl.constexpr, R0: tl.constexpr, C0: tl.constexpr, UC: tl.constexpr, DEPTH: tl.constexpr,
    BREADTH: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, BACK: tl.constexpr, SPLIT: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Make every model's matrix (G, T, COLUMNS, ROWS) from its weights (outputs, inputs of a group, KH, KW).

    With SPLIT it is rounded to TF32, and the matrix of the remainders follows.
    """
    r, e = tl.program_id(1).to(tl.int64), tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    k, rest = e % ROWS, e // ROWS
    n, rest = rest % COLUMNS, rest // COLUMNS
    t, g = rest % T, rest // T
    c, p = k % CG, k // CG
    o, v, u = n % OG, (n // OG) % UC, n // (OG * UC)
    if BACK:
        kh, kw = u + PH - S * (t + R0), v + PW - S * (p + C0)
        source = (((g * CG + c) * OG + o) * KH + kh) * KW + kw
    else:
        kh, kw = t + R0 + PH - S * u, p + C0 + PW - S * v
        source = (((g * OG + o) * CG + c) * KH + kh) * KW + kw
    there = (e < size) & (k < DEPTH) & (n < BREADTH) & (kh >= 0) & (kh < KH) & (kw >= 0) & (kw < KW)
    value = tl.load(w + r * w_run + source, mask=there, other=0.0)
    if SPLIT:
        most = rounded(value)
        tl.store(matrix + r * 2 * size + e, most, mask=e < size)
        tl.store(matrix + r * 2 * size + size + e, rounded(value - most), mask=e < size)
    else:
        tl.store(matrix + r * size + e, value.to(matrix.dtype.element_ty), mask=e < size)


@triton.jit
def _gathered(
    part, dw, size, chunks, part_run,
    CG: tl.constexpr, OG: tl.constexpr, KH: tl.constexpr, KW: tl.constexpr, S: tl.constexpr, PH: tl.constexpr,
    PW: tl.constexpr, T: tl.constexpr, R0: tl.constexpr, C0: tl.constexpr, UC: tl.constexpr, G: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, PIXELS: tl.constexpr, BLOCK: tl.constexpr, TOGETHER: tl.constexpr,
):  # fmt: skip
    """Add up the matrices of all chunks in a fixed order to get the weights' gradient: the inverse of `_spread`."""
    r, e = tl.program_id(1).to(tl.int64), tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    kw, rest = e % KW, e // KW
    kh, rest = rest % KH, rest // KH
    c, rest = rest % CG, rest // CG
    o, g = rest % OG, rest // OG
    t = kh - R0 - PH
    total = tl.zeros((BLOCK,), dtype=tl.float32)
    every = tl.arange(0, TOGETHER)
    for v in tl.static_range(UC):
        p = kw - C0 - PW + S * v
        inner = ((g * T + t) * ROWS + p * CG + c) * COLUMNS + v * OG + o
        good = (e < size) & (p >= 0) & (p < PIXELS)
        first = 0
        while first < chunks:
            at = part + r * part_run + (first + every).to(tl.int64)[:, None] * (G * T * ROWS * COLUMNS)
            found = tl.load(at + inner[None, :], mask=good[None, :] & (first + every < chunks)[:, None], other=0.0)
            total += tl.sum(found, 0)
            first += TOGETHER
    tl.store(dw + r * size + e, total, mask=e < size)


def _sizes(geometry: Geometry, tile: Tile) -> dict[str, int]:
    """Return the constants that both kinds of products need."""
    g = geometry
    return {
        "H": g.height, "W": g.width, "C": g.channels, "CG": g.channels // g.groups, "HG": g.rows, "WG": g.columns,
        "HO": g.out_height, "WO": g.out_width, "O": g.outputs, "OG": g.outputs // g.groups, "T": g.taps,
        "DEPTH": g.depth, "BREADTH": g.breadth, "RS": g.row_step, "R0": g.row_first, "CS": g.column_step,
        "C0": g.column_first, "UR": g.up, "UC": g.across, "WHOLE": g.whole, "BM": tile.rows, "BK": tile.depth,
        "BN": tile.breadth, "NK": -(-g.depth // tile.depth), "NN": -(-g.breadth // tile.breadth),
    }  # fmt: skip


def matrix(weights: Tensor, geometry: Geometry, tile: Tile, precision: str, dtype: torch.dtype) -> Tensor:
    """Rearrange the weights (R, outputs, inputs of a group, height, width) for `products`."""
    g, s = geometry, _sizes(geometry, tile)
    rows, columns = s["NK"] * s["BK"], s["NN"] * s["BN"]
    runs, size, block = len(weights), g.groups * g.taps * rows * columns, 1024
    split = precision == "tf32x3" and dtype == torch.float32
    found = weights.new_empty((runs, 2 if split else 1, size), dtype=dtype)
    _spread[(triton.cdiv(size, block), runs)](
        weights, found, size, weights[0].numel(),
        CG=s["CG"], OG=s["OG"], KH=g.kernel[0], KW=g.kernel[1], S=g.stride, PH=g.padding[0], PW=g.padding[1],
        T=g.taps, R0=g.row_first, C0=g.column_first, UC=g.across, DEPTH=g.depth, BREADTH=g.breadth, ROWS=rows,
        COLUMNS=columns, BACK=g.back, SPLIT=split, BLOCK=block,
    )  # fmt: skip
    return found


def products(
    x: Tensor,
    prepared: Tensor,
    bias: Tensor | None,
    geometry: Geometry,
    tile: Tile,
    precision: str,
    dtype: torch.dtype,
    statistics: bool = False,
    added: Tensor | None = None,
    step: tuple[int, int] = (1, 1),
) -> tuple[Tensor, Tensor | None]:
    """Compute every model's convolution, or its gradient: (R, B, height, width, outputs).

    x: (R, B, H, W, C), contiguous; or (1, B, ...), which all models read. prepared: what `matrix` returns.
    added: a tensor to add to the result, at its pixels in every `step` rows and columns. statistics: whether to return
    also the tiles' sums that `norm.merged` reads: (R, tiles, 2, G, columns).
    """
    g, s = geometry, _sizes(geometry, tile)
    runs, batch = len(prepared), x.shape[1]
    y = x.new_empty((runs, batch, g.out_height, g.out_width, g.outputs), dtype=dtype)
    tiles = triton.cdiv(batch * g.rows * g.columns, tile.rows)
    part = x.new_empty((runs, tiles, 2, g.groups, s["NN"] * s["BN"]), dtype=torch.float32) if statistics else None
    _products[(tiles, g.groups * s["NN"], runs)](
        x, prepared, y if bias is None else bias, y if added is None else added, y, y if part is None else part,
        x[0].numel() if len(x) > 1 else 0, batch, **s, BIAS=bias is not None, ADDED=added is not None,
        AH=step[0], AW=step[1],
        STATISTICS=statistics,
        UNROLL=tile.unroll,
        PRECISION=precision if prepared.dtype == torch.float32 else "tf32",
        num_warps=tile.warps, num_stages=tile.stages,
    )  # fmt: skip
    return y, part


def weight_gradient(x: Tensor, dy: Tensor, geometry: Geometry, tile: Tile, precision: str) -> Tensor:
    """Compute the gradient of the weights, (R, outputs, inputs of a group, height, width) in float32.

    x: as in `products`. dy: (R, B, height, width, outputs), contiguous. tile.tiles: how many tiles a program sums.
    """
    g, s = geometry, _sizes(geometry, tile)
    runs, batch = len(dy), dy.shape[1]
    together = 3 if tile.together and g.taps == 3 else 1
    places = batch * g.rows * g.columns
    tiles = min(tile.tiles, power_of_two(triton.cdiv(places, tile.rows)))
    chunks = triton.cdiv(places, tile.rows * tiles)
    rows, columns = s["NK"] * s["BK"], s["NN"] * s["BN"]
    part = dy.new_empty((runs, chunks, g.groups * g.taps * rows * columns), dtype=torch.float32)
    _weight_products[(chunks, g.groups * (g.taps // together) * s["NK"] * s["NN"], runs)](
        x, dy, part, x[0].numel() if len(x) > 1 else 0, batch,
        **s, TILES=tiles, TOGETHER=together, PRECISION=precision, num_warps=tile.warps, num_stages=tile.stages,
    )  # fmt: skip
    dw = dy.new_empty((runs, g.outputs, s["CG"], *g.kernel), dtype=torch.float32)
    size, block = dw[0].numel(), 64
    _gathered[(triton.cdiv(size, block), runs)](
        part, dw, size, chunks, part[0].numel(),
        CG=s["CG"], OG=s["OG"], KH=g.kernel[0], KW=g.kernel[1], S=g.stride, PH=g.padding[0], PW=g.padding[1],
        T=g.taps, R0=g.row_first, C0=g.column_first, UC=g.across, G=g.groups, ROWS=rows, COLUMNS=columns,
        PIXELS=g.pixels, BLOCK=block, TOGETHER=min(16, power_of_two(chunks)),
    )  # fmt: skip
    return dw
