"""Whether an optimizer steps each run of a stack as it would alone."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from nondet.errors import BadInput
from nondet.tasks.named import optimizer_class
from nondet.tasks.recipe import Recipe
from nondet.training.optimizers import make_optimizer
from nondet.training.problem import first_line
from nondet.training.stack import wide

OF_OPTIMIZERS = ((3, 4), (4,))
"""The shapes of the parameters with which an optimizer is tried."""


def coupled_by(recipe: Recipe) -> str:
    """Return why an optimizer cannot serve a stack: if it is not element-wise, a run depends on its neighbours.

    Two runs take three steps, then again with other gradients for the second run, and once more with NaN. The first
    run must be the same each time.
    """
    name = optimizer_class(recipe.optimizer).__name__
    try:
        first, *others = [_trial_steps(recipe, neighbour) for neighbour in (1, 2, None)]
    except OSError:  # another optimizer would not help with a full disk
        raise
    except BadInput:
        one = {str(i): torch.ones(shape, requires_grad=True) for i, shape in enumerate(OF_OPTIMIZERS)}
        make_optimizer(recipe, one, axes=0)  # raises if it refuses even one model
        return f"{name} accepts the parameters of only one model"
    except Exception as error:
        return f"{name} cannot step a stack of models: {first_line(error)}"
    if all(torch.equal(a, b) for other in others for a, b in zip(first, other, strict=True)):
        return ""
    return f"{name} is not element-wise, so a run would depend on its neighbours"


def _trial_steps(recipe: Recipe, neighbour: int | None) -> list[Tensor]:
    """Return the first run's parameters after three steps next to a run with gradients of this seed (None: NaN)."""
    ours, theirs = np.random.default_rng(0), np.random.default_rng(neighbour or 1)
    dtype = wide(getattr(torch, recipe.precision))
    trained = {str(i): torch.ones(2, *shape, dtype=dtype).requires_grad_() for i, shape in enumerate(OF_OPTIMIZERS)}
    optimizer, _ = make_optimizer(recipe, trained, axes=1)
    for _ in range(3):
        for parameter in trained.values():
            shape = parameter.shape[1:]
            gradient = np.stack([rng.standard_normal(shape, dtype=np.float32) for rng in (ours, theirs)])
            gradient[1] *= np.nan if neighbour is None else 1
            parameter.grad = torch.from_numpy(gradient).to(dtype)
        optimizer.step()
    return [p.detach()[0] for p in trained.values()]
