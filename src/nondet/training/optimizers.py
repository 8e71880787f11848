"""Make a recipe's optimizer, for one run or a stack; try whether it serves a stack, and reads its rate on a device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nondet.errors import BadInput
from nondet.tasks.named import optimizer_class, optimizer_options
from nondet.tasks.recipe import Recipe
from nondet.training.graphs import no_waiting
from nondet.training.problem import Problem, first_line
from nondet.training.recipes import needs_closure
from nondet.training.stack import wide

_SHAPES = ((3, 4), (4,))
"""The shapes of the parameters with which an optimizer is tried."""


def make_optimizer(
    recipe: Recipe, trained: Mapping[str, Tensor], axes: int
) -> tuple[torch.optim.Optimizer, list[float]]:
    """Return the recipe's optimizer and each group's highest rate; `axes` of each parameter belong to the stack."""
    groups = _groups(recipe, trained, axes)
    chosen: Any = optimizer_class(recipe.optimizer)
    try:
        options = {**recipe.options, **_device_options(recipe, list(trained.values()))}
        try:
            optimizer = chosen([dict(group) for group in groups], lr=recipe.lr, **options)
        except (ValueError, AttributeError, TypeError) as refused:
            try:  # LBFGS and classes that make groups accept none, and need none if all share one rate and one decay
                if recipe.bias_lr != 1 or recipe.no_decay:
                    raise refused
                optimizer = chosen(list(trained.values()), lr=recipe.lr, **options)
            except ValueError:
                others = not axes and not needs_closure(recipe) and any(p.dim() != 2 for p in trained.values())
                found = _matrices_apart(chosen, recipe, groups, options) if others else None
                if found is None:
                    raise
                optimizer = found
    except OSError:
        raise
    except Exception as error:  # code that others wrote may raise anything
        raise BadInput(
            f"{chosen.__name__} refuses these parameters or options: {first_line(error)}; "
            "change them with <<recipe>>, or choose SGD, Adam or AdamW"
        ) from error
    if options.get("fused"):
        optimizer.register_step_pre_hook(_sparse_apart)
    quiet: Any = optimizer
    quiet._warned_capturable_if_run_uncaptured = True  # it warns that it also runs outside graphs
    return optimizer, [float(group["lr"]) for group in optimizer.param_groups]


def _groups(recipe: Recipe, trained: Mapping[str, Tensor], axes: int) -> list[dict[str, Any]]:
    """Group parameters that share a rate and a decay; biases and scales (one axis for each run) have `bias_lr`."""
    found: dict[tuple[bool, bool], list[Tensor]] = {}
    for name, p in trained.items():
        spared = any(part in name for part in recipe.no_decay)
        found.setdefault((spared, p.dim() <= 1 + axes), []).append(p)
    return [
        {"params": found[key], "lr": recipe.lr * (recipe.bias_lr if key[1] else 1.0)}
        | ({"weight_decay": 0.0} if key[0] else {})
        for key in sorted(found)
    ]


def _device_options(recipe: Recipe, parameters: Sequence[Tensor]) -> dict[str, bool]:
    """Return the options that let an optimizer read its rate and count its steps on a CUDA device.

    SGD is then one kernel, which computes in double precision and rounds once, so its last bits differ from those of
    SGD's other kernels. Options that the recipe sets are left as they are.
    """
    if not all(p.is_cuda for p in parameters):
        return {}
    chosen, given = optimizer_class(recipe.optimizer), recipe.options
    if chosen is torch.optim.SGD:
        free = not {"fused", "foreach", "differentiable"} & given.keys()
        return {"fused": True} if free and all(p.is_floating_point() for p in parameters) else {}
    return {"capturable": True} if "capturable" in optimizer_options(chosen) and "capturable" not in given else {}


def _sparse_apart(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    """Let SGD step in the usual way from sparse gradients, which its fused kernel does not accept."""
    for group in optimizer.param_groups:
        if any(p.grad is not None and p.grad.is_sparse for p in group["params"]):
            group["fused"] = False


class Beside(torch.optim.Optimizer):
    """Two optimizers of one model as one, with the groups and the state of both."""

    def __init__(self, parts: Sequence[torch.optim.Optimizer]) -> None:
        super().__init__([group for part in parts for group in part.param_groups], {})
        self.parts = parts
        for part in parts:
            part.state = self.state

    def step(self, closure: Any = None) -> Any:
        for part in self.parts:
            part.step(closure)


def _matrices_apart(
    chosen: Any, recipe: Recipe, groups: Sequence[Mapping[str, Any]], options: Mapping[str, Any]
) -> Beside | None:
    """Return `chosen` for parameters with two axes and AdamW for the others; None if `chosen` refuses even those."""
    parts: list[list[dict[str, Any]]] = [
        [{**group, "params": few} for group in groups if (few := [p for p in group["params"] if (p.dim() == 2) == two])]
        for two in (True, False)
    ]
    decay = {name: value for name, value in options.items() if name == "weight_decay"}
    try:
        matrices = chosen(parts[0], lr=recipe.lr, **options)
    except ValueError:
        return None
    return Beside([matrices, torch.optim.AdamW(parts[1], lr=recipe.lr, **decay)])


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
        one = {str(i): torch.ones(shape, requires_grad=True) for i, shape in enumerate(_SHAPES)}
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
    trained, optimizer = _tried(recipe, wide(getattr(torch, recipe.precision)))
    for _ in range(3):
        for parameter in trained:
            shape = parameter.shape[1:]
            gradient = np.stack([rng.standard_normal(shape, dtype=np.float32) for rng in (ours, theirs)])
            gradient[1] *= np.nan if neighbour is None else 1
            parameter.grad = torch.from_numpy(gradient).to(parameter.dtype)
        optimizer.step()
    return [p.detach()[0] for p in trained]


def takes_rates(problem: Problem) -> bool:
    """Whether the recipe's optimizer can read its learning rate from a CUDA device, tried on a few numbers.

    This depends only on its class and options, so that all runs of a task are trained in the same way.
    """
    if problem.device.type != "cuda":
        return False
    trained, optimizer = _tried(problem.recipe, torch.float32, problem.device)
    for group in optimizer.param_groups:
        group["lr"] = torch.full((), 0.1, device=problem.device)
    try:
        for parameter in trained:
            parameter.grad = torch.ones_like(parameter)
        optimizer.step()
        with no_waiting():
            optimizer.step()
    except Exception:  # code that others wrote may raise anything
        return False
    return True


def _tried(
    recipe: Recipe, dtype: torch.dtype, device: torch.device | None = None
) -> tuple[list[Tensor], torch.optim.Optimizer]:
    """Return small parameters of two runs and the recipe's optimizer for them, to try."""
    trained = [torch.ones(2, *shape, dtype=dtype, device=device).requires_grad_() for shape in _SHAPES]
    return trained, make_optimizer(recipe, {str(i): p for i, p in enumerate(trained)}, axes=1)[0]
