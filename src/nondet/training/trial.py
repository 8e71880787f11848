"""One trial step before hours are spent: whether a model, its augmentations and its optimizer can train in a stack."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from nondet.errors import BadInput
from nondet.sources import FIXED_SEED, stream
from nondet.tasks.task import Recipe, optimizer_class
from nondet.training.dropout import draw_uniforms
from nondet.training.problem import Problem, first_line
from nondet.training.stack import (
    augmented,
    deterministic,
    epoch_plan,
    evaluate,
    make_optimizer,
    new_stack,
    train_step,
)


def check_stack(problem: Problem, width: int) -> None:
    """Try one step of a whole stack, and the optimizer; BadInput says why one of them cannot be stacked."""
    runs = [dict.fromkeys(problem.sources, FIXED_SEED)] * width
    check_optimizer(problem.recipe)
    n, batch = len(problem.train[0]), problem.recipe.batch_size
    with deterministic():
        for size in {min(batch, n), n % batch or min(batch, n)}:
            index = torch.arange(size, device=problem.device).expand(width, size)
            masks = [stream("dropout", FIXED_SEED, 0) for _ in runs]
            uniforms = draw_uniforms(
                masks, problem.dropout[size], np.broadcast_to(np.arange(size), (width, size)), problem.device
            )
            try:
                draws = [torch.from_numpy(np.stack([d] * width)) for d in epoch_plan(problem, runs[0], 0).draws]
                inputs = augmented(problem, index, [d.to(problem.device) for d in draws])
            except Exception as error:
                raise BadInput(
                    f"the augmentations fail on inputs of shape {tuple(problem.train[0].shape)}: {first_line(error)}; "
                    "mend the task's augment"
                ) from error
            try:
                stack = new_stack(problem, runs)
                train_step(stack, inputs, problem.train[1][index], uniforms)
                evaluate(problem, stack, first=2)
            except (BadInput, OSError):
                raise
            except Exception as error:  # whatever a model and augmentations that others wrote come to
                raise BadInput(
                    f"the model cannot be trained as a stack of {width} on mini-batches of {size}: "
                    f"{first_line(error)}; try --stack 1, which trains one model at a time, or --set batch_size"
                ) from error


def check_optimizer(recipe: Recipe) -> None:
    """Refuse an optimizer that is not element-wise: a run's step would depend on its neighbours in the stack.

    Two runs take three steps; then once more, with other gradients for the second. The first run must not notice.
    """
    results = [_trial_steps(recipe, neighbour) for neighbour in (1, 2)]
    if not all(torch.equal(a, b) for a, b in zip(*results, strict=True)):
        name = optimizer_class(recipe.optimizer).__name__
        raise BadInput(
            f"optimizer must be element-wise, so that no run depends on its neighbours, and {name} is not; "
            "choose another, such as SGD, Adam or AdamW"
        )


def _trial_steps(recipe: Recipe, neighbour: int) -> list[Tensor]:
    """The first run's parameters after three steps beside a neighbour with gradients of this seed."""
    shapes = ((3, 4), (4,))
    ours, theirs = np.random.default_rng(0), np.random.default_rng(neighbour)
    dtype = getattr(torch, recipe.precision)
    trained = {str(i): torch.ones(2, *shape, dtype=dtype).requires_grad_() for i, shape in enumerate(shapes)}
    optimizer, _ = make_optimizer(recipe, trained)
    for _ in range(3):
        for parameter in trained.values():
            shape = parameter.shape[1:]
            gradient = np.stack([rng.standard_normal(shape, dtype=np.float32) for rng in (ours, theirs)])
            parameter.grad = torch.from_numpy(gradient).to(dtype)
        try:
            optimizer.step()
        except OSError:  # a full disk is nothing that another optimizer would mend
            raise
        except Exception as error:
            name = optimizer_class(recipe.optimizer).__name__
            raise BadInput(
                f"{name} cannot train a stack of models with these options: {first_line(error)}; "
                "change them with --set, or choose SGD, Adam or AdamW"
            ) from error
    return [p.detach()[0] for p in trained.values()]
