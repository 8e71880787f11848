"""How memory is kept while a stack trains, and what to do when a device runs out of it."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch

SHARE = 0.9
"""The share of a device's memory that a stack may use when its width is chosen automatically."""

_OPTIONS = {-4: (0, 65_536), -1: (-1, 2**17), -2: (2**26, 2**17)}
"""The options of glibc's `mallopt` while a stack trains, and by default: M_MMAP_MAX, M_TRIM_THRESHOLD, M_TOP_PAD.

-1 stands for no limit on the free memory that is kept."""


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


@contextmanager
def kept() -> Generator[None]:
    """Inside the block, give freed memory to the next tensors instead of back to the system.

    By default, glibc asks the system for each tensor above 32 MB, and the system clears it page by page. In a stack on
    a CPU this can take longer than the arithmetic. Other C libraries are left alone.
    """
    libc: Any = ctypes.CDLL(None) if sys.platform == "linux" else None
    if not hasattr(libc, "gnu_get_libc_version"):
        yield
        return
    for option, (value, _) in _OPTIONS.items():
        libc.mallopt(option, value)
    try:
        yield
    finally:
        for option, (_, value) in _OPTIONS.items():
            libc.mallopt(option, value)
        libc.malloc_trim(0)


def narrower(asked: int, width: int, device: torch.device) -> str:
    """Return the sentence about a stack that does not fit, and the width used instead."""
    together = f"{width} train together" if width > 1 else "the runs are trained one at a time"
    return f"A stack of {asked} does not fit into the memory of {device}; {together}."
