"""The learning rate at every step."""

from __future__ import annotations

import math

from nondet.tasks.task import Recipe


def lr_factor(recipe: Recipe, epoch: float) -> float:
    """The factor of the recipe's learning rate at a fractional epoch (step / steps per epoch).

    Linear warm-up from 0, then the schedule; the cosine counts from epoch 0, so that the rate just after the
    warm-up is slightly below its maximum (Summers & Dinneen 2021, public code). In an accelerated ensemble each cycle
    is such a schedule of its own.
    """
    epochs = recipe.epochs // recipe.cycles
    if recipe.cycles > 1:
        epoch %= epochs
    if epoch < recipe.warmup:
        return epoch / recipe.warmup
    if callable(recipe.schedule):
        return float(recipe.schedule(epoch, epochs))
    if recipe.schedule == "constant":
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * epoch / epochs))
