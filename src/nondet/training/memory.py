"""Where the memory of a device ends."""

from __future__ import annotations

import gc

import torch

SHARE = 0.9
"""The share of a device's memory that a stack may take where its width is to be chosen."""


def ran_out(error: BaseException) -> bool:
    """Whether this says that there is no memory left: torch says it by several kinds of error."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    said = str(error)
    words = ("can't allocate memory", "CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
    return isinstance(error, RuntimeError) and any(word in said for word in words)


def release() -> None:
    """Give back what nothing holds any more. The error that told of the lack must be gone: its frames hold tensors."""
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def narrower(asked: int, width: int, device: torch.device) -> str:
    """What is said of a stack that does not fit, and of the width that is taken in its place."""
    together = f"{width} train together" if width > 1 else "the runs are trained one at a time"
    return f"A stack of {asked} does not fit into the memory of {device}; {together}."
