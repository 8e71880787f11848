"""Running means of a stack's weights: exponential (EMA), and over the last epochs (SWA)."""

from __future__ import annotations

import torch

from nondet.tasks.recipe import Recipe
from nondet.training.stack import Stack, wide


def kinds(recipe: Recipe) -> list[str]:
    """Return the names of the averages that a recipe asks for."""
    return [name for name in ("ema", "swa") if getattr(recipe, name)]


def begin(recipe: Recipe, stack: Stack) -> None:
    """Start every average at the stack's initial weights; 16-bit weights are averaged in float32."""
    for kind in kinds(recipe):
        stack.averages |= {
            f"{kind}.{name}": w.detach().to(wide(w.dtype), copy=True) for name, w in stack.weights.items()
        }


@torch.no_grad()
def after_step(recipe: Recipe, stack: Stack) -> None:
    """Update the EMA: mean <- ema * mean + (1 - ema) * weights, including buffers; integers are copied."""
    if recipe.ema and stack.turn[1]:
        _approach(stack, "ema", 1 - recipe.ema)


@torch.no_grad()
def after_epoch(recipe: Recipe, stack: Stack) -> None:
    """Add the weights to the plain mean over the ends of the last `swa` epochs (Izmailov et al. 2018)."""
    taken = stack.epoch - (recipe.epochs - recipe.swa)
    if recipe.swa and taken >= 1:
        _approach(stack, "swa", 1 / taken)


def _approach(stack: Stack, kind: str, share: float) -> None:
    for name, w in stack.weights.items():
        mean = stack.averages[f"{kind}.{name}"]
        if share == 1 or not mean.is_floating_point():
            mean.copy_(w)
        else:
            mean.lerp_(w.to(mean.dtype), share)


def averaged(stack: Stack, kind: str) -> Stack:
    """Return a copy of the stack with its averages in place of its weights; changing it does not change the stack."""
    weights = stack.weights.items()
    return stack.holding({name: stack.averages[f"{kind}.{name}"].to(w.dtype, copy=True) for name, w in weights})
