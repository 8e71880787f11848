"""The libraries' settings while a stack trains: which kernels may run, how precise they are, how memory is kept."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
import torch.utils.deterministic
from torch.nn.attention import SDPBackend, sdpa_kernel

from nondet.training.memory import kept as memory_kept

if TYPE_CHECKING:
    from nondet.tasks.recipe import Recipe

_blocks: list[ExitStack] = []
"""The `kernels` blocks that are open; their changes to torch's compiler end with them."""


@contextmanager
def kernels(deterministic: bool = True, tf32: bool = False) -> Generator[None]:
    """Allow only deterministic kernels inside the block, or any that the libraries choose; then restore the settings.

    tf32: whether CUDA may round the factors of float32 products to TF32.
    Attention uses its plain form, which is deterministic on every device and stacks under vmap.
    """
    algorithms = torch.get_deterministic_debug_mode()
    memory: Any = torch.utils.deterministic
    fill = memory.fill_uninitialized_memory
    cudnn: Any = torch.backends.cudnn
    places: list[Any] = [torch.backends.cuda.matmul, cudnn.conv, cudnn.rnn]
    before = cudnn.deterministic, cudnn.benchmark, [place.fp32_precision for place in places]
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.set_deterministic_debug_mode("error" if deterministic else "default")
    memory.fill_uninitialized_memory = False  # filling costs time and is not needed here
    cudnn.deterministic, cudnn.benchmark = deterministic, not deterministic
    for place in places:
        place.fp32_precision = "tf32" if tf32 else "ieee"
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH), nullcontext() if _blocks else memory_kept(), ExitStack() as block:
            _blocks.append(block)
            try:
                set_compiler()
                yield
            finally:
                _blocks.pop()
    finally:
        torch.set_deterministic_debug_mode(algorithms)
        torch.backends.mha.set_fastpath_enabled(fast_path)
        memory.fill_uninitialized_memory = fill
        cudnn.deterministic, cudnn.benchmark = before[:2]
        for place, precision in zip(places, before[2], strict=True):
            place.fp32_precision = precision


def mixed(recipe: Recipe, device: torch.device) -> AbstractContextManager[Any]:
    """Use the recipe's mixed precision inside the block, if it has any."""
    if not recipe.amp:
        return nullcontext()
    return torch.autocast(device.type, getattr(torch, recipe.amp), cache_enabled=False)


def loss_scale(recipe: Recipe) -> float:
    """Return the factor that multiplies a loss and divides its gradients; in float16 they would vanish below 2^-24.

    It is a power of two, so that it changes nothing else, and fixed, so that no run's steps depend on its past.
    """
    return 2.0**13 if recipe.amp == "float16" else 1.0


def set_compiler() -> None:
    """Set up torch's compiler, if something has loaded it, at the start of a block and after a model is made in it.

    The compiler then chooses deterministic kernels when torch does. It makes a graph for each shape, so that no result
    depends on which shape came first. `torch.use_deterministic_algorithms` would load the compiler, which takes as long
    as loading torch.
    """
    if not _blocks:
        return
    wanted: dict[str, dict[str, bool]] = {
        "torch._inductor.config": {"deterministic": torch.are_deterministic_algorithms_enabled()},
        "torch._dynamo.config": {"automatic_dynamic_shapes": False},
    }
    for name, values in wanted.items():
        if name in sys.modules:
            config: Any = sys.modules[name]
            _blocks[-1].enter_context(config.patch(**values))
