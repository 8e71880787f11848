"""The libraries' settings while a stack trains: which kernels may run, and how exact they are."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
import torch.utils.deterministic
from torch.nn.attention import SDPBackend, sdpa_kernel


@contextmanager
def kernels(deterministic: bool = True, tf32: bool = False) -> Generator[None]:
    """Only deterministic kernels inside the block, or any that the libraries choose; the settings come back after.

    tf32: whether CUDA may round the factors of float32 products to TF32.
    Attention takes its plain form: it is deterministic on every device, and stacks under vmap.
    """
    algorithms = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    memory: Any = torch.utils.deterministic
    fill = memory.fill_uninitialized_memory
    cudnn: Any = torch.backends.cudnn
    places: list[Any] = [torch.backends.cuda.matmul, cudnn.conv, cudnn.rnn]
    before = cudnn.deterministic, cudnn.benchmark, [place.fp32_precision for place in places]
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.use_deterministic_algorithms(deterministic)
    memory.fill_uninitialized_memory = False  # costs time, and hides nothing here
    cudnn.deterministic, cudnn.benchmark = deterministic, not deterministic
    for place in places:
        place.fp32_precision = "tf32" if tf32 else "ieee"
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH), _one_graph_a_shape():
            yield
    finally:
        torch.use_deterministic_algorithms(algorithms, warn_only=warn_only)
        torch.backends.mha.set_fastpath_enabled(fast_path)
        memory.fill_uninitialized_memory = fill
        cudnn.deterministic, cudnn.benchmark = before[:2]
        for place, precision in zip(places, before[2], strict=True):
            place.fp32_precision = precision


def _one_graph_a_shape() -> AbstractContextManager[Any]:
    """Where torch compiles: a graph for each shape, so that no result depends on the shape that came first."""
    if "torch._dynamo.config" not in sys.modules:
        return nullcontext()
    return sys.modules["torch._dynamo.config"].patch(automatic_dynamic_shapes=False)
