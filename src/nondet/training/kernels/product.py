# pyright: basic, reportArgumentType=false, reportCallIssue=false, reportGeneralTypeIssues=false, reportOperatorIssue=false
"""Matrix products of R models: linear layers and both of their gradients."""

from __future__ import annotations

import os

import torch
import triton
import triton.language as tl
from torch import Tensor

from nondet.training.kernels.tiles import power_of_two

INTERPRETED = tl.constexpr(os.environ.get("TRITON_INTERPRET") == "1")
"""Whether the kernels run in Triton's interpreter, whose products treat the bits of bfloat16 as integers."""


@triton.jit
def dot(left, right, acc, PRECISION: tl.constexpr):
    """Return acc + left @ right, with sums in float32. PRECISION: that of `tl.dot`, for float32 factors."""
    if INTERPRETED:
        return tl.dot(left.to(tl.float32), right.to(tl.float32), acc, input_precision="ieee")
    return tl.dot(left, right, acc, input_precision=PRECISION)


@triton.jit
def _product(
    a, b, bias, out, M, N, a_run, a_row, a_column, b_run, b_row, b_column,
    K: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, BIAS: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    r = tl.program_id(2).to(tl.int64)
    m, n = tl.program_id(0) * BM + tl.arange(0, BM), tl.program_id(1) * BN + tl.arange(0, BN)
    acc = tl.zeros((BM, BN), dtype=tl.float32)
    for first in range(0, K, BK):
        k = first + tl.arange(0, BK)
        left = tl.load(
            a + r * a_run + m[:, None] * a_row + k[None, :] * a_column,
            mask=(m < M)[:, None] & (k < K)[None, :],
            other=0.0,
        )
        right = tl.load(
            b + r * b_run + k[:, None] * b_row + n[None, :] * b_column,
            mask=(k < K)[:, None] & (n < N)[None, :],
            other=0.0,
        )
        acc = dot(left, right, acc, PRECISION)
    if BIAS:
        acc += tl.load(bias + r * N + n, mask=n < N, other=0.0).to(tl.float32)[None, :]
    at = out + r * M * N + m[:, None] * N + n[None, :]
    tl.store(at, acc.to(out.dtype.element_ty), mask=(m < M)[:, None] & (n < N)[None, :])


def product(a: Tensor, b: Tensor, bias: Tensor | None, precision: str, dtype: torch.dtype) -> Tensor:
    """Return a (R, M, K) @ b (R, K, N) + bias (R, N): (R, M, N). Any strides; a first axis of 1 serves all runs."""
    runs, rows, columns = max(len(a), len(b)), a.shape[1], b.shape[2]
    out = a.new_empty((runs, rows, columns), dtype=dtype)
    high, wide = (max(16, min(64, power_of_two(n))) for n in (rows, columns))
    _product[(triton.cdiv(rows, high), triton.cdiv(columns, wide), runs)](
        a, b, out if bias is None else bias, out, rows, columns,
        *(a.stride(0) if len(a) > 1 else 0, a.stride(1), a.stride(2)),
        *(b.stride(0) if len(b) > 1 else 0, b.stride(1), b.stride(2)),
        K=a.shape[2], BM=high, BN=wide, BK=max(16, min(32, power_of_two(a.shape[2]))), BIAS=bias is not None,
        PRECISION=precision, num_warps=4,
    )  # fmt: skip
    return out
