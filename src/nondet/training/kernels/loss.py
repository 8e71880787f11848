# pyright: basic, reportArgumentType=false, reportCallIssue=false, reportGeneralTypeIssues=false, reportOperatorIssue=false
"""The mean cross-entropy of R models."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from nondet.training.kernels.norm import summed
from nondet.training.kernels.tiles import power_of_two


@triton.jit
def _losses(x, labels, part, rows, IGNORED: tl.constexpr, C: tl.constexpr, BM: tl.constexpr, BC: tl.constexpr):
    """Store the sum of a tile's losses, and their number."""
    r = tl.program_id(1).to(tl.int64)
    m, c = tl.program_id(0) * BM + tl.arange(0, BM), tl.arange(0, BC)
    good = (m < rows)[:, None] & (c < C)[None, :]
    seen = tl.load(x + (r * rows + m[:, None]) * C + c[None, :], mask=good, other=0.0).to(tl.float32)
    seen = tl.where(c[None, :] < C, seen, float("-inf"))
    label = tl.load(labels + r * rows + m, mask=m < rows, other=IGNORED)
    top = tl.max(seen, 1)
    total = tl.log(tl.sum(tl.exp(seen - top[:, None]), 1))
    own = tl.sum(tl.where(c[None, :] == label[:, None], seen, 0.0), 1)
    counted = label != IGNORED
    at = part + (r * tl.num_programs(0) + tl.program_id(0)) * 2
    tl.store(at, tl.sum(tl.where(counted, total - (own - top), 0.0), 0))
    tl.store(at + 1, tl.sum(tl.where(counted, 1.0, 0.0), 0))


@triton.jit
def _loss_gradient(x, labels, d, dx, rows, IGNORED: tl.constexpr, C: tl.constexpr, BM: tl.constexpr, BC: tl.constexpr):
    r = tl.program_id(1).to(tl.int64)
    m, c = tl.program_id(0) * BM + tl.arange(0, BM), tl.arange(0, BC)
    good = (m < rows)[:, None] & (c < C)[None, :]
    at = (r * rows + m[:, None]) * C + c[None, :]
    seen = tl.where(c[None, :] < C, tl.load(x + at, mask=good, other=0.0).to(tl.float32), float("-inf"))
    label = tl.load(labels + r * rows + m, mask=m < rows, other=IGNORED)
    top = tl.max(seen, 1)
    weight = tl.exp(seen - top[:, None])
    share = weight / tl.sum(weight, 1)[:, None] - tl.where(c[None, :] == label[:, None], 1.0, 0.0)
    share = tl.where((label != IGNORED)[:, None], share * tl.load(d + r), 0.0)
    tl.store(dx + at, share.to(dx.dtype.element_ty), mask=good)


def _blocks(classes: int) -> tuple[int, int]:
    wide = power_of_two(classes)
    return max(1, min(32, 4096 // wide)), wide


def cross_entropy(x: Tensor, labels: Tensor, ignored: int) -> tuple[Tensor, Tensor]:
    """Return the mean of -log softmax of x (R, B, c) at the labels (R, B), and how many rows count, (R,) each."""
    runs, rows, classes = x.shape
    high, wide = _blocks(classes)
    tiles = triton.cdiv(rows, high)
    part = x.new_empty((runs, tiles, 2), dtype=torch.float32)
    _losses[(tiles, runs)](x, labels, part, rows, IGNORED=ignored, C=classes, BM=high, BC=wide)
    total, counts = summed(part).unbind(1)
    return total / counts, counts


def cross_entropy_gradient(x: Tensor, labels: Tensor, d: Tensor, ignored: int) -> Tensor:
    """Return the gradient of x, given that of a single row's loss in each model, d (R,)."""
    runs, rows, classes = x.shape
    high, wide = _blocks(classes)
    dx = torch.empty_like(x)
    _loss_gradient[(triton.cdiv(rows, high), runs)](
        x, labels, d.contiguous(), dx, rows, IGNORED=ignored, C=classes, BM=high, BC=wide
    )
    return dx
