# pyright: basic, reportGeneralTypeIssues=false, reportArgumentType=false
"""The kernel of `philox`; importing it needs Triton."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor


@triton.jit
def _philox(keys, start, out, count, BLOCKS: tl.constexpr):
    """Philox4x64-10: each block of four 64-bit outputs is eight numbers in a row; numbers out of range are skipped."""
    run = tl.program_id(0).to(tl.int64)
    first = tl.load(start)
    block = first // 8 + tl.program_id(1).to(tl.int64) * BLOCKS + tl.arange(0, BLOCKS)
    k0 = tl.load(keys + 2 * run).to(tl.uint64)
    k1 = tl.load(keys + 2 * run + 1).to(tl.uint64)
    c0 = (block + 1).to(tl.uint64)  # numpy counts up before it draws
    c1 = c0 * 0
    c2 = c0 * 0
    c3 = c0 * 0
    for _ in tl.static_range(10):
        high0 = tl.umulhi(c0, tl.full(c0.shape, 0xD2E7470EE14C6C93, tl.uint64))
        high1 = tl.umulhi(c2, tl.full(c0.shape, 0xCA5A826395121157, tl.uint64))
        low0 = c0 * tl.full(c0.shape, 0xD2E7470EE14C6C93, tl.uint64)
        low1 = c2 * tl.full(c0.shape, 0xCA5A826395121157, tl.uint64)
        c0 = high1 ^ c1 ^ k0
        c1 = low1
        c2 = high0 ^ c3 ^ k1
        c3 = low0
        k0 = k0 + tl.full((), 0x9E3779B97F4A7C15, tl.uint64)
        k1 = k1 + tl.full((), 0xBB67AE8584CAA73B, tl.uint64)
    place = block * 8 - first
    row = out + run * count
    _store(row, place, c0, count)
    _store(row, place + 2, c1, count)
    _store(row, place + 4, c2, count)
    _store(row, place + 6, c3, count)


@triton.jit
def _store(row, place, word, count):
    """Store both halves of a 64-bit word as numbers in [0, 1), the low half first."""
    low = ((word & 0xFFFFFFFF) >> 8).to(tl.float32) * 5.9604644775390625e-08  # 2 ** -24
    high = (word >> 40).to(tl.float32) * 5.9604644775390625e-08
    tl.store(row + place, low, mask=(place >= 0) & (place < count))
    tl.store(row + place + 1, high, mask=(place + 1 >= 0) & (place + 1 < count))


def launch(keys: Tensor, start: Tensor, out: Tensor, blocks: int) -> None:
    """Fill `out` (R, count) with numbers from each key's stream, beginning at word `start`."""
    runs, count = out.shape
    programs = triton.cdiv(triton.cdiv(count + 7, 8), blocks)  # the first block may begin before `start`
    if programs:
        _philox[(runs, programs)](keys, start, out, count, BLOCKS=blocks)
