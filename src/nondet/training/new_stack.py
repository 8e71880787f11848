"""Make a new stack: every run's model from its own seed, with its bit changed, and one optimizer for all."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from nondet.errors import BadInput
from nondet.sources import FIXED_SEED
from nondet.training.optimizers import make_optimizer
from nondet.training.perturb import change_bit
from nondet.training.problem import Problem, build_model
from nondet.training.stack import Seeds, Stack, wide


def new_stack(problem: Problem, seeds: Sequence[Seeds]) -> Stack:
    """Make every run's model from its own init seed, change its bit, and make one optimizer for all of them."""
    forget_compiled(problem)
    models = [build_model(problem.task, problem.recipe, run["init"]) for run in seeds]
    curves = torch.full((len(seeds), problem.recipe.epochs), torch.nan, dtype=torch.float64)
    make = _alone if len(models) == 1 else _side_by_side
    return make(
        problem,
        models,
        seeds,
        curves={name: curves.clone() for name in problem.curves},
        failed=torch.zeros(len(seeds), dtype=torch.int64),
        door=problem.door,
        recipe=problem.recipe,
        random_answers=problem.random_answers,
    )


def _alone(problem: Problem, models: Sequence[nn.Module], seeds: Sequence[Seeds], **rest: Any) -> Stack:
    """Make a stack of one run: the module itself and an optimizer of its parameters, as in any training."""
    change = _change(problem, dict(models[0].named_parameters()), seeds[0])
    model = models[0].to(problem.device)
    updated = {name: _wide_copy(p) for name, p in model.named_parameters()}
    optimizer, peaks = make_optimizer(problem.recipe, updated, axes=0)
    return Stack(
        skeleton=model,
        trained={},
        frozen={},
        buffers={},
        updated=updated,
        optimizer=optimizer,
        peaks=peaks,
        facts=[change],
        own=True,
        again=problem.again,
        closure=problem.closure,
        **rest,
    )


def _side_by_side(problem: Problem, models: Sequence[nn.Module], seeds: Sequence[Seeds], **rest: Any) -> Stack:
    skeleton = copy.deepcopy(models[0]).to(problem.device)
    learns = {name: p.requires_grad for name, p in skeleton.named_parameters()}
    copies = _stacked([dict(m.named_parameters()) for m in models])
    facts = [_change(problem, {n: p[slot] for n, p in copies.items()}, run) for slot, run in enumerate(seeds)]
    parameters = {name: p.to(problem.device) for name, p in copies.items()}
    trained = {name: p.requires_grad_() for name, p in parameters.items() if learns[name]}
    updated = {name: _wide_copy(p) for name, p in trained.items()}
    optimizer, peaks = make_optimizer(problem.recipe, updated, axes=1)
    return Stack(
        skeleton=skeleton,
        trained=trained,
        frozen={name: p for name, p in parameters.items() if not learns[name]},
        buffers={n: b.to(problem.device) for n, b in _stacked([dict(m.named_buffers()) for m in models]).items()},
        updated=updated,
        optimizer=optimizer,
        peaks=peaks,
        facts=facts,
        **rest,
    )


def _change(problem: Problem, parameters: Mapping[str, Tensor], run: Seeds) -> dict[str, Any]:
    change = change_bit(parameters, run.get("bit", FIXED_SEED), problem.recipe.bit, problem.reached, problem.recipe.amp)
    return {"bit": asdict(change)} if change else {}


def _wide_copy(p: Tensor) -> Tensor:
    return p if p.dtype == wide(p.dtype) else p.detach().to(wide(p.dtype))


def forget_compiled(problem: Problem) -> None:
    """Reset torch's compiler before a new model that it compiles; it would stop after a few models of the same code."""
    if problem.compiled:
        torch.compiler.reset()


def _stacked(models: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Stack tensors of the same name along a new first axis: (R, ...)."""
    for model in models[1:]:
        if {k: v.shape for k, v in model.items()} != {k: v.shape for k, v in models[0].items()}:
            raise BadInput("model must return the same shapes at every call; make its structure independent of chance")
    return {name: torch.stack([model[name].detach() for model in models]).contiguous() for name in models[0]}
