"""Many runs of one task as one program: their parameters are stacked, and one optimizer serves all of them.

Parameters and buffers of R models are stacked, and `vmap` runs the forward pass over the stack. The loss is the sum
of the runs' mean losses, so plain autograd and any element-wise optimizer train each run as if it were alone.
Nothing couples the runs: no global norm, no reduction over the stack, no batch statistic across runs.
A stack of one run is a plain module and its plain optimizer. Whatever cannot be stacked is trained in this way.
Shapes: R runs, n training examples, B examples in a mini-batch, c classes.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.utils._pytree import tree_map

from nondet.sources import FIXED_SEED
from nondet.tasks.recipe import Recipe
from nondet.training import snapshots
from nondet.training.draws import DrawnApart, drawing, masks_unread
from nondet.training.dropout import backward, drawn_alone, given_dropout, is_seed
from nondet.training.problem import Problem
from nondet.training.recipes import clip, evaluates_before, lr_factor
from nondet.training.rounding import RunByRun
from nondet.training.settings import loss_scale, mixed

if TYPE_CHECKING:
    from nondet.training.kernels.mode import Door

Seeds = Mapping[str, int]

warnings.filterwarnings("ignore", message="There is a performance drop because we have not yet implemented")
# vmap asks users to report each operation that it runs slowly, which is none of their concern here


class Recording(Protocol):
    """What a stack needs of a `nondet.training.recorded.Recorder`."""

    def evaluated(self, stack: Any, function: Callable[..., Any], stacked: Sequence[Any], uniforms: Any) -> Any: ...


@dataclass
class Stack:
    """R models in the middle of their training; every epoch changes them in place.

    skeleton: one model, whose forward pass serves all. trained, frozen, buffers: name -> (R, ...).
    own: whether the stack is one run whose weights are the skeleton's own: a plain module, trained like any other, with
        its hooks, checkpoints and compiled code. Then the three above are empty.
    again: whether its backward pass runs parts of the forward pass again, including dropout.
    updated: what the optimizer changes: the trained tensors themselves, or float32 copies of 16-bit ones.
    curves: "loss" and "accuracy", each (R, epochs), NaN where not yet trained.
    failed: for each run, the epoch (counted from 1) at which its loss stopped being finite; 0 if it has not failed.
    averages: "ema.NAME" and "swa.NAME", the running means of weights that the recipe asks for: (R, ...).
    kept: what the outcome keeps from epochs before the last, by its name there: (R, ...), on the CPU.
    door: which operations use stacked kernels; None if all use torch's own. recipe: for its mixed precision.
    closure: in a stack of one run, whether the optimizer's step evaluates the loss again.
    first: the gradients from the first evaluation in the last step, if there are several.
    factor: a factor on all rates, if the schedule waits for a plateau.
    random_answers: whether its models draw random numbers in evaluation.
    recorder: runs recorded steps instead of the models; None if they are not recorded.
    turn: whether the next mini-batch is the first of those that make one step, and whether it is the last of them.
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
    own: bool = False
    again: bool = False
    door: Door | None = None
    recipe: Recipe | None = None
    closure: bool = False
    first: dict[str, Tensor | None] = field(default_factory=dict[str, Any])
    turn: tuple[bool, bool] = (True, True)
    factor: float = 1.0
    random_answers: bool = False
    recorder: Recording | None = None

    @property
    def width(self) -> int:
        return len(self.failed)

    @property
    def answer_numbers(self) -> list[int] | None:
        """One seed for each run's generators in evaluation, the same for all; None if nothing is drawn there."""
        return [FIXED_SEED] * self.width if self.random_answers else None

    @property
    def parameters(self) -> dict[str, Tensor]:
        """Parameters by name, each (R, ...)."""
        if self.own:
            return {name: p.detach()[None] for name, p in self.skeleton.named_parameters()}
        return {**self.trained, **self.frozen}

    @property
    def weights(self) -> dict[str, Tensor]:
        """Parameters and buffers by name, each (R, ...)."""
        if self.own:
            return self.parameters | {name: b.detach()[None] for name, b in self.skeleton.named_buffers()}
        return self.parameters | self.buffers

    @property
    def state(self) -> dict[str, Any]:
        """Everything that a snapshot must contain; the rest follows from the task and the seeds."""
        remembered = snapshots.optimizer_state(self.optimizer)
        return {
            "weights": self.weights,
            "learns": {name: p.requires_grad for name, p in self.skeleton.named_parameters()},
            "optimizer": snapshots.with_run_axis(remembered) if self.own else remembered,
            "groups": snapshots.optimizer_groups(self.optimizer),
            "curves": self.curves,
            "failed": self.failed,
            "epoch": self.epoch,
            "averages": self.averages,
            "kept": self.kept,
        }

    def map(
        self,
        function: Callable[..., Any],
        *stacked: Any,
        shared: Sequence[Any] = (),
        numbers: Sequence[int] | None = None,
    ) -> Any:
        """Return function(model, *stacked, *shared) for every run, where `model` is a module with the run's weights.

        This uses vmap, or a plain call for one run. numbers: a seed for each run's generators, if the models draw
        random numbers themselves.
        """
        if self.width > 1:
            in_dims = (0,) * (1 + len(stacked)) + (None,) * len(shared)

            def run(weights: Mapping[str, Tensor], *rest: Any) -> Any:
                with nullcontext() if numbers is None else drawing(next(iter(weights.values()))), RunByRun():
                    return self._met(self._with, function, weights, *rest)

            random = "error" if numbers is None else "different"
            with nullcontext() if numbers is None else DrawnApart(numbers), masks_unread():
                return vmap(run, in_dims=in_dims, randomness=random)(self.weights, *stacked, *shared)
        alone = [tree_map(lambda t: t[0], part) for part in stacked]
        with (
            nullcontext() if self.own else _lent(self.skeleton, self.weights),
            nullcontext() if numbers is None else drawn_alone(numbers[0]),
        ):
            result = self._met(function, self.skeleton, *alone, *shared)
        return tree_map(lambda part: part[None], result)

    def _with(self, function: Callable[..., Any], weights: Mapping[str, Tensor], *given: Any) -> Any:
        """Return function(model, *given) with these weights in the model, also for its methods and parameters."""
        named = {f"model.{name}": tensor for name, tensor in weights.items()}
        return functional_call(_Around(self.skeleton), named, (function, *given))

    def _met(self, function: Callable[..., Any], *given: Any) -> Any:
        """Call the function, with stacked kernels for its operations if the stack has them."""
        device = self.updated[next(iter(self.updated))].device
        with mixed(self.recipe, device) if self.recipe else nullcontext():
            if self.door is None or not self.door.serves(self.width):
                return function(*given)
            with self.door.open(self.width > 1) as mode:
                results = function(*given)
            return mode.finished(results)

    def step(self, function: Callable[..., Any], *stacked: Any, uniforms: Sequence[Tensor]) -> Any:
        """Take one optimizer step of every run, and return what `function` returned.

        function(model, *stacked) returns a run's loss, and possibly more. uniforms: dropout's numbers, (R, ...) for
        each call of dropout.
        """
        if self.width > 1:
            evaluated = self.evaluated if self.recorder is None else partial(self.recorder.evaluated, self)
            results = evaluated(function, stacked, uniforms)
            self._update()
            return results
        if self.closure:
            return self._step_with_closure(function, *stacked, uniforms=uniforms)
        with given_dropout([u[0] for u in uniforms], self.again):
            results = self.map(function, *stacked)
            if self.again:
                self.learn(results[0])
        if not self.again:
            self.learn(results[0])
        return results

    def evaluated(self, function: Callable[..., Any], stacked: Sequence[Any], uniforms: Sequence[Tensor]) -> Any:
        """Return function's results for all runs, at least two, and set the gradients of their losses."""
        results, target = self.passed(function, stacked, uniforms)
        self._differentiate(target)
        return results

    def passed(
        self, function: Callable[..., Any], stacked: Sequence[Any], uniforms: Sequence[Tensor]
    ) -> tuple[Any, Tensor]:
        """Return function's results for all runs, and the number whose gradients the step needs."""
        if is_seed(uniforms):
            results = self.map(function, *stacked, numbers=uniforms[0].tolist())
            return results, self._target(results[0])

        def dropped(call: Any, u: Sequence[Tensor], *rest: Any) -> Any:
            with given_dropout(u, stacked=True):
                return function(call, *rest)

        results = self.map(dropped, tuple(uniforms), *stacked)
        return results, self._target(results[0])

    def _step_with_closure(self, function: Callable[..., Any], *stacked: Any, uniforms: Sequence[Tensor]) -> Any:
        """Take a step of one run, whose optimizer may evaluate the loss any number of times, with the same dropout."""
        found: list[Any] = []

        def evaluated() -> Tensor:
            with torch.enable_grad(), given_dropout([u[0] for u in uniforms], self.again):
                found.append(self.map(function, *stacked))
                self._gradients(found[-1][0])
            if len(found) == 1:
                self.first = self.gradients()
            return found[-1][0].sum()

        if evaluates_before(self.optimizer):
            evaluated()
        optimizer: Any = self.optimizer
        optimizer.step(evaluated)
        if not found:  # the step never called the closure
            evaluated()
        return found[0]

    def _gradients(self, losses: Tensor) -> None:
        """Replace the gradients by those of these losses (R,), clipped as the recipe says."""
        for p in self._leaves.values():
            p.grad = None
        backward(losses.sum(), self.again)
        self._clip()

    @property
    def _leaves(self) -> dict[str, Tensor]:
        """The trained tensors by name: each (R, ...), or a plain parameter in a stack of one run."""
        return dict(self.skeleton.named_parameters()) if self.own else self.trained

    def _clip(self) -> None:
        if self.recipe and self.recipe.grad_clip:
            gradients = [p.grad for p in self._leaves.values() if p.grad is not None]
            clip(gradients, self.recipe.grad_clip, not self.own)

    def gradients(self) -> dict[str, Tensor | None]:
        """Return copies of the last step's gradients by parameter, each (R, ...); None where there is none."""
        leaves = dict(self.skeleton.named_parameters()) if self.own else self.parameters
        dense = {name: None if p.grad is None else p.grad.detach().to_dense().clone() for name, p in leaves.items()}
        return {name: g[None] if self.own and g is not None else g for name, g in dense.items()}

    def learn(self, losses: Tensor) -> None:
        """Take one optimizer step of every run, from the runs' losses (R,).

        16-bit parameters are updated in float32 and rounded once. In 16 bits, on the CPU, rounding in some of torch's
        sums depends on the position in memory, so that a run would depend on its slot.
        """
        self._differentiate(self._target(losses))
        self._update()

    def _target(self, losses: Tensor) -> Tensor:
        """Return the number to differentiate: the sum of the losses (R,), scaled as the recipe says."""
        scale = loss_scale(self.recipe) if self.recipe else 1.0
        if self.recipe and self.recipe.accumulate > 1:
            losses = losses / self.recipe.accumulate
        return losses.sum() if scale == 1 else losses.sum() * scale

    def _differentiate(self, target: Tensor) -> None:
        """Set the gradients, or add to those of the mini-batches before in the same step."""
        for p in self._leaves.values() if self.turn[0] else ():
            p.grad = None
        backward(target, self.again)
        if self.door is not None and not self.door.refused:
            self.door.close()

    def _update(self) -> None:
        """Let the optimizer use the gradients, if this mini-batch is the last one of its step."""
        if not self.turn[1]:
            return
        leaves, scale = self._leaves, loss_scale(self.recipe) if self.recipe else 1.0
        if scale != 1:
            for p in leaves.values():
                p.grad = None if p.grad is None else p.grad / scale
        self._clip()
        copies = [(self.updated[name], p) for name, p in leaves.items() if self.updated[name] is not p]
        with torch.no_grad():
            for copied, p in copies:
                copied.copy_(p)
                copied.grad = None if p.grad is None else p.grad.to(copied.dtype)
            self.optimizer.step()
            for copied, p in copies:
                p.copy_(copied)

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a saved state of this stack."""
        weights = self.weights
        with torch.no_grad():
            for name, tensor in state["weights"].items():
                weights[name].copy_(tensor)
        for name, p in self.skeleton.named_parameters():
            p.requires_grad_(state["learns"][name])
        remembered = snapshots.without_run_axis(state["optimizer"]) if self.own else state["optimizer"]
        snapshots.restore_optimizer(self.optimizer, remembered, state["groups"])
        device = next(iter(weights.values())).device
        self.averages = {name: tensor.to(device) for name, tensor in state["averages"].items()}
        self.curves, self.failed, self.epoch, self.kept = (state[k] for k in ("curves", "failed", "epoch", "kept"))

    def holding(self, weights: Mapping[str, Tensor]) -> Stack:
        """Return the stack with these weights (R, ...) instead of its own, only to answer with; R may be smaller."""
        kept = (self.trained, self.frozen, self.buffers)
        trained, frozen, buffers = ({name: weights[name] for name in part} for part in kept)
        if self.own:
            buffers = dict(weights)
        return replace(self, trained=trained, frozen=frozen, buffers=buffers, own=False)


class _Around(nn.Module):
    """A module whose forward pass is a function of the model and what is given to it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, function: Callable[..., Any], *given: Any) -> Any:
        return function(self.model, *given)


@contextmanager
def _lent(model: nn.Module, weights: Mapping[str, Tensor]) -> Generator[None]:
    """Put one run's weights (1, ...) into the model during the block, and restore its own afterwards."""
    own = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    before = {name: tensor.data for name, tensor in own.items()}
    for name, tensor in own.items():
        tensor.data = weights[name][0].detach()
    try:
        yield
    finally:
        for name, tensor in own.items():
            tensor.data = before[name]


def wide(dtype: torch.dtype) -> torch.dtype:
    """Return the type in which numbers of this type are summed: float32 for 16-bit types."""
    return torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype


def set_rate(stack: Stack, problem: Problem, step: int, steps: int) -> None:
    """Set every group's learning rate, and any other setting of the schedule, for one of this epoch's `steps`.

    Also set the stack's turn: which mini-batches make one step of the optimizer.
    """
    every = problem.recipe.accumulate
    stack.turn = (step % every == 0, (step + 1) % every == 0 or step + 1 == steps)
    said: dict[str, Any] = dict(problem.settings[stack.epoch * steps + step]) if problem.settings else {}
    factor = said.pop("factor", None)
    factor = lr_factor(problem.recipe, stack.epoch + step / steps) if factor is None else factor
    for group, peak in zip(stack.optimizer.param_groups, stack.peaks, strict=True):
        group.update(said)
        group["lr"] = factor * peak * stack.factor
