"""The learning rate at every step."""

from __future__ import annotations

import hashlib
import math

import numpy as np

from nondet.tasks.named import scheduler_class
from nondet.tasks.recipe import Recipe


def lr_factor(recipe: Recipe, epoch: float) -> float:
    """Return the factor of the recipe's learning rate at a fractional epoch (step / steps per epoch).

    A linear warm-up from 0 comes first, then the schedule. The cosine counts from epoch 0, so that the rate just after
    the warm-up is slightly below its maximum (Summers & Dinneen 2021, public code). In an accelerated ensemble each
    cycle is a schedule of this kind.
    """
    epochs = recipe.epochs // recipe.cycles
    if recipe.cycles > 1:
        epoch %= epochs
    if epoch < recipe.warmup:
        return epoch / recipe.warmup
    if callable(recipe.schedule) and not isinstance(recipe.schedule, type):
        return float(recipe.schedule(epoch, epochs))
    if recipe.schedule == "constant" or scheduler_class(recipe.schedule) is not None:
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * epoch / epochs))


def schedule_hash(recipe: Recipe) -> str:
    """Identify a user's own schedule by what it does, not by its name: the SHA-256 of its factors at 1,000 times."""
    factors = [lr_factor(recipe, float(epoch)) for epoch in np.linspace(0, recipe.epochs, 1000, endpoint=False)]
    return hashlib.sha256(np.array(factors, dtype="<f8").tobytes()).hexdigest()
