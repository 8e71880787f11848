"""What to do when a device runs out of memory."""

from __future__ import annotations

import gc

import torch

SHARE = 0.9
"""The share of a device's memory that a stack may use when its width is chosen automatically."""


def ran_out(error: BaseException) -> bool:
    """Whether this error means that memory ran out; torch has several such errors."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    said = str(error)
    words = ("can't allocate memory", "CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
    return isinstance(error, RuntimeError) and any(word in said for word in words)


def release() -> None:
    """Free unused memory. The out-of-memory error must be gone by then, since its frames keep tensors alive."""
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def narrower(asked: int, width: int, device: torch.device) -> str:
    """Return the sentence about a stack that does not fit, and the width used instead."""
    together = f"{width} train together" if width > 1 else "the runs are trained one at a time"
    return f"A stack of {asked} does not fit into the memory of {device}; {together}."
