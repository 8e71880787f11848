"""Stacked operations: one does the work of all runs, and no run's bits depend on the others."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from nondet.tasks.recipe import Recipe
    from nondet.training.kernels.mode import Door


def door(device: torch.device, recipe: Recipe, tf32: bool) -> Door | None:
    """Return the door to stacked operations for a stack with this recipe; None if all use torch's own as they are.

    On a GPU they need Triton, and a matrix unit that supports TF32 and bfloat16; double precision uses torch's own.
    """
    import torch

    from nondet.training.kernels.mode import Door

    if device.type == "cpu":
        return Door()
    if recipe.precision == "float64" or not _here(device):
        return None
    from nondet.training.kernels.functions import Precision

    dtype = getattr(torch, recipe.amp or recipe.precision)
    return Door(Precision(dtype, "tf32" if tf32 else "tf32x3"))


def _here(device: torch.device) -> bool:
    import torch

    if device.type != "cuda" or importlib.util.find_spec("triton") is None:
        return False
    return torch.cuda.get_device_capability(device) >= (8, 0)
