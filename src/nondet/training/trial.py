"""One trial step before hours are spent: whether a model, its augmentations and its optimizer can train in a stack."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from nondet.errors import BadInput
from nondet.sources import FIXED_SEED, stream
from nondet.tasks.task import Recipe, optimizer_class
from nondet.training import averages, text
from nondet.training.classify import TEST_BATCH, augmented, epoch_plan, evaluate, evaluation_batches, train_step
from nondet.training.dropout import draw_uniforms
from nondet.training.perturb import change_bit
from nondet.training.problem import Problem, build_model, first_line
from nondet.training.settings import kernels
from nondet.training.stack import Seeds, Stack, make_optimizer, new_stack, wide
from nondet.training.track import look


def check_stack(problem: Problem, width: int) -> None:
    """Try one step of a whole stack, and the optimizer; BadInput says why one of them cannot be stacked."""
    runs = [dict.fromkeys(problem.sources, FIXED_SEED)] * width
    check_optimizer(problem.recipe)
    n, batch = len(problem.train[1]), problem.recipe.batch_size
    with kernels():
        for size in {min(batch, n), n % batch or min(batch, n)} if not problem.recipe.bptt else {0}:
            inputs = None if problem.recipe.bptt else _trial_inputs(problem, runs[0], size)
            try:
                stack = new_stack(problem, runs)
                averages.begin(problem.recipe, stack)
                alike = _equal_slots(stack)  # a constructor with randomness of its own is for the control to find
                if inputs is None:
                    text.trial(problem, stack, runs)
                else:
                    _trial_step(problem, stack, inputs)
                answers = {} if inputs is None else {"logits": evaluate(problem, stack, first=TEST_BATCH)}
                if alike and not _equal_slots(stack, answers):
                    raise BadInput(_UNEQUAL)
                if any(p.grad is not None for p in stack.skeleton.parameters()):
                    raise BadInput(
                        "the model reaches a parameter by another way than its attribute, such as a list, so the runs "
                        "of a stack would share it; use self.NAME or nn.ParameterList"
                    )
            except (BadInput, OSError):
                raise
            except Exception as error:  # whatever a model and augmentations that others wrote come to
                raise BadInput(
                    f"the model cannot be trained as a stack of {width} on mini-batches of {size or batch}: "
                    f"{first_line(error)}; try --stack 1, which trains one model at a time, or --set batch_size"
                    + (", or --device cpu" if problem.device.type == "cuda" else "")
                ) from error


def check_bit(problem: Problem) -> None:
    """Try the change of one bit at the start; BadInput if the weight that the recipe names is all zeros there."""
    model = build_model(problem.task, problem.recipe, FIXED_SEED)
    change_bit(dict(model.named_parameters()), FIXED_SEED + 1, problem.recipe.bit)


def _trial_inputs(problem: Problem, run: Seeds, size: int) -> Tensor:
    """The first training inputs, augmented as in the first epoch."""
    index = np.arange(size)
    draws = [draw[index] for draw in epoch_plan(problem, run, 0).draws]
    try:
        return augmented(problem, index, draws)
    except (BadInput, OSError):
        raise
    except Exception as error:
        raise BadInput(
            f"the augmentations fail on inputs of shape {tuple(problem.train[0].shape)}: {first_line(error)}; "
            "mend the task's augment"
        ) from error


def _trial_step(problem: Problem, stack: Stack, inputs: Tensor) -> None:
    """One step of every run on the same inputs."""
    size, width = len(inputs), stack.width
    masks = [stream("dropout", FIXED_SEED, 0) for _ in range(width)]
    places = np.broadcast_to(np.arange(size), (width, size))
    uniforms = draw_uniforms(masks, problem.dropout[size], places, problem.device)
    labels = problem.train[1][:size].expand(width, size)
    train_step(stack, inputs.expand(width, *inputs.shape).clone(), labels, uniforms)
    if problem.track:
        look(stack, problem.track, next(iter(evaluation_batches(problem, 2))))


def _equal_slots(stack: Stack, answers: Mapping[str, Tensor] | None = None) -> bool:
    """Whether all runs of a stack have the same weights and answers, to the last bit."""
    tensors = (stack.weights | dict(answers or {})).values()
    bits = [t.detach().cpu().reshape(stack.width, -1).view(torch.uint8) for t in tensors]
    return all(torch.equal(b, b[:1].expand_as(b)) for b in bits)


_UNEQUAL = (
    "a run's result must not depend on its slot in the stack, and this model's does: one of its operations rounds by "
    "the place in memory (torch.sigmoid does so at some sizes); use another operation or size, such as tanh, or try "
    "--stack 1, which trains one model at a time"
)


def check_optimizer(recipe: Recipe) -> None:
    """Refuse an optimizer that is not element-wise: a run's step would depend on its neighbours in the stack.

    Two runs take three steps; then again, with other gradients for the second, and with NaN. The first must not notice.
    """
    first, *others = [_trial_steps(recipe, neighbour) for neighbour in (1, 2, None)]
    if not all(torch.equal(a, b) for other in others for a, b in zip(first, other, strict=True)):
        name = optimizer_class(recipe.optimizer).__name__
        raise BadInput(
            f"optimizer must be element-wise, so that no run depends on its neighbours, and {name} is not; "
            "choose another, such as SGD, Adam or AdamW"
        )


def _trial_steps(recipe: Recipe, neighbour: int | None) -> list[Tensor]:
    """The first run's parameters after three steps beside a neighbour with gradients of this seed (None: NaN)."""
    shapes = ((3, 4), (4,))
    ours, theirs = np.random.default_rng(0), np.random.default_rng(neighbour or 1)
    dtype = wide(getattr(torch, recipe.precision))
    trained = {str(i): torch.ones(2, *shape, dtype=dtype).requires_grad_() for i, shape in enumerate(shapes)}
    optimizer, _ = make_optimizer(recipe, trained)
    for _ in range(3):
        for parameter in trained.values():
            shape = parameter.shape[1:]
            gradient = np.stack([rng.standard_normal(shape, dtype=np.float32) for rng in (ours, theirs)])
            gradient[1] *= np.nan if neighbour is None else 1
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
