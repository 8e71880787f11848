"""Make a recipe's optimizer, for the parameters of one run or of a stack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from nondet.errors import BadInput
from nondet.tasks.named import optimizer_class, optimizer_options
from nondet.tasks.recipe import Recipe
from nondet.training.matrices import matrices_apart
from nondet.training.problem import first_line
from nondet.training.recipes import needs_closure


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
                groups = groups[:1]
            except ValueError:
                others = not axes and not needs_closure(recipe) and any(p.dim() != 2 for p in trained.values())
                found = matrices_apart(chosen, recipe, groups, options) if others else None
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
