"""Many runs of one task as one program: their parameters stacked, and one optimizer for all of them.

Parameters and buffers of R models are stacked, and `vmap` runs the forward pass over the stack. The loss is the sum
of the runs' mean losses, so plain autograd and any element-wise optimizer train each run as if it were alone.
Nothing couples the runs: no global norm, no reduction over the stack, no batch statistic across runs.
Shapes: R runs, n training examples, B examples in a mini-batch, c classes.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import vmap
from torch.utils._pytree import tree_map

from nondet.errors import BadInput
from nondet.sources import FIXED_SEED
from nondet.tasks.task import Recipe, optimizer_class
from nondet.training import snapshots
from nondet.training.perturb import change_bit
from nondet.training.problem import Problem, build_model, first_line
from nondet.training.schedule import lr_factor

Seeds = Mapping[str, int]


@dataclass
class Stack:
    """R models half way through their training; changed in place by every epoch.

    skeleton: one model, whose forward pass serves all. trained, frozen, buffers: name -> (R, ...).
    updated: what the optimizer changes: the trained tensors themselves, or float32 copies of those of a short type.
    curves: "loss" and "accuracy", each (R, epochs), NaN where not yet trained.
    failed: for each run the epoch, counted from 1, at which its loss was no longer finite; 0 if it is well.
    averages: "ema.NAME" and "swa.NAME", the running means of weights that the recipe asks for: (R, ...).
    kept: what the outcome takes from epochs before the last, by its name there: (R, ...), on the CPU.
    """

    skeleton: nn.Module
    trained: dict[str, Tensor]
    frozen: dict[str, Tensor]
    buffers: dict[str, Tensor]
    updated: dict[str, Tensor]
    optimizer: torch.optim.Optimizer
    peaks: list[float]
    curves: dict[str, Tensor]
    failed: Tensor
    facts: list[dict[str, Any]]
    epoch: int = 0
    averages: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    kept: dict[str, Tensor] = field(default_factory=dict[str, Tensor])

    @property
    def width(self) -> int:
        return len(self.failed)

    @property
    def weights(self) -> dict[str, Tensor]:
        """Parameters and buffers by name, each (R, ...)."""
        return {**self.trained, **self.frozen, **self.buffers}

    @property
    def state(self) -> dict[str, Any]:
        """All that a snapshot must hold; the rest follows from the task and the seeds."""
        return {
            "trained": self.trained,
            "frozen": self.frozen,
            "buffers": self.buffers,
            "optimizer": snapshots.optimizer_state(self.optimizer),
            "groups": snapshots.optimizer_groups(self.optimizer),
            "curves": self.curves,
            "failed": self.failed,
            "epoch": self.epoch,
            "averages": self.averages,
            "kept": self.kept,
        }

    def learn(self, losses: Tensor) -> None:
        """One optimizer step of every run, from each one's loss (R,).

        Parameters of a short type are updated in float32, and rounded once. In the short type itself, torch's sums with
        a factor round by the place in memory on the CPU, so that a run would depend on its slot.
        """
        for p in self.trained.values():
            p.grad = None
        losses.sum().backward()
        copies = [(self.updated[name], p) for name, p in self.trained.items() if self.updated[name] is not p]
        with torch.no_grad():
            for copied, p in copies:
                copied.copy_(p)
                copied.grad = None if p.grad is None else p.grad.to(copied.dtype)
            self.optimizer.step()
            for copied, p in copies:
                p.copy_(copied)

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state of this stack."""
        with torch.no_grad():
            for name in ("trained", "frozen", "buffers"):
                for key, tensor in getattr(self, name).items():
                    tensor.copy_(state[name][key])
        snapshots.restore_optimizer(self.optimizer, state["optimizer"], state["groups"])
        device = next(iter(self.weights.values())).device
        self.averages = {name: tensor.to(device) for name, tensor in state["averages"].items()}
        self.curves, self.failed, self.epoch, self.kept = (state[k] for k in ("curves", "failed", "epoch", "kept"))


def new_stack(problem: Problem, seeds: Sequence[Seeds]) -> Stack:
    """Every run's model from its own init seed, its bit changed, and one optimizer for all of them."""
    models = [build_model(problem.task, problem.recipe, run["init"]) for run in seeds]
    skeleton = copy.deepcopy(models[0]).to(problem.device)
    learns = {name: p.requires_grad for name, p in skeleton.named_parameters()}
    copies = _stacked([dict(m.named_parameters()) for m in models])
    changes = [
        change_bit({name: p[slot] for name, p in copies.items()}, run.get("bit", FIXED_SEED), problem.recipe.bit)
        for slot, run in enumerate(seeds)
    ]
    parameters = {name: p.to(problem.device) for name, p in copies.items()}
    trained = {name: p.requires_grad_() for name, p in parameters.items() if learns[name]}
    updated = {name: p if p.dtype == wide(p.dtype) else p.detach().to(wide(p.dtype)) for name, p in trained.items()}
    optimizer, peaks = make_optimizer(problem.recipe, updated)
    curves = torch.full((len(seeds), problem.recipe.epochs), torch.nan, dtype=torch.float64)
    return Stack(
        skeleton=skeleton,
        trained=trained,
        frozen={name: p for name, p in parameters.items() if not learns[name]},
        buffers={n: b.to(problem.device) for n, b in _stacked([dict(m.named_buffers()) for m in models]).items()},
        updated=updated,
        optimizer=optimizer,
        peaks=peaks,
        curves={"loss": curves, "accuracy": curves.clone()},
        failed=torch.zeros(len(seeds), dtype=torch.int64),
        facts=[{"bit": asdict(change)} if change else {} for change in changes],
    )


def wide(dtype: torch.dtype) -> torch.dtype:
    """The type in which numbers of this one are summed up: float32 for the short types."""
    return torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype


def _stacked(models: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Tensors of equal names stacked along a new first axis: (R, ...)."""
    for model in models[1:]:
        if {k: v.shape for k, v in model.items()} != {k: v.shape for k, v in models[0].items()}:
            raise BadInput("model must return the same shapes at every call; take what is random out of its structure")
    return {name: torch.stack([model[name].detach() for model in models]).contiguous() for name in models[0]}


def make_optimizer(recipe: Recipe, trained: Mapping[str, Tensor]) -> tuple[torch.optim.Optimizer, list[float]]:
    """The recipe's optimizer over stacked parameters (R, ...), and the highest rate of each of its groups."""
    weights = [p for p in trained.values() if p.dim() > 2]
    vectors = [p for p in trained.values() if p.dim() <= 2]  # biases and scales: one axis, and the stack's
    groups = [(weights, recipe.lr), (vectors, recipe.lr * recipe.bias_lr)]
    chosen: Any = optimizer_class(recipe.optimizer)
    try:
        optimizer = chosen([{"params": p, "lr": lr} for p, lr in groups if p], lr=recipe.lr, **recipe.options)
    except OSError:
        raise
    except Exception as error:  # whatever a class that others wrote makes of these options
        raise BadInput(
            f"{chosen.__name__} refuses to train a stack with these options: {first_line(error)}; "
            "change them with --set, or choose SGD, Adam or AdamW"
        ) from error
    return optimizer, [lr for p, lr in groups if p]


def set_rate(stack: Stack, recipe: Recipe, epoch: float) -> None:
    """Set every group's learning rate for a step at this fractional epoch."""
    factor = lr_factor(recipe, epoch)
    for group, peak in zip(stack.optimizer.param_groups, stack.peaks, strict=True):
        group["lr"] = factor * peak


def over_stack(function: Callable[..., Any], *stacked: Any, shared: Sequence[Tensor] = ()) -> Any:
    """The function for every run: by vmap, or by a plain call where the stack holds one run."""
    if len(next(iter(stacked[0].values()))) > 1:
        return vmap(function, in_dims=(0,) * len(stacked) + (None,) * len(shared))(*stacked, *shared)
    alone = [tree_map(lambda t: t[0], part) for part in stacked]
    result = function(*alone, *shared)
    return tree_map(lambda part: part[None], result)
