"""Many runs of one task as one program: their parameters stacked, and one optimizer for all of them.

Parameters and buffers of R models are stacked, and `vmap` runs the forward pass over the stack. The loss is the sum
of the runs' mean losses, so plain autograd and any element-wise optimizer train each run as if it were alone.
Nothing couples the runs: no global norm, no reduction over the stack, no batch statistic across runs.
A stack of one run is a plain module and its plain optimizer: whatever cannot be stacked is trained so.
Shapes: R runs, n training examples, B examples in a mini-batch, c classes.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.utils._pytree import tree_map

from nondet.errors import BadInput
from nondet.sources import FIXED_SEED
from nondet.tasks.named import optimizer_class, optimizer_options
from nondet.tasks.recipe import Recipe
from nondet.training import snapshots
from nondet.training.draws import drawing, drawn_apart, masks_unread
from nondet.training.dropout import backward, drawn_alone, given_dropout, is_seed
from nondet.training.matrices import matrices_apart
from nondet.training.perturb import change_bit
from nondet.training.problem import Problem, build_model, first_line
from nondet.training.recipes import clip, evaluates_before, needs_closure
from nondet.training.rounding import RunByRun
from nondet.training.schedule import lr_factor
from nondet.training.settings import loss_scale, mixed

if TYPE_CHECKING:
    from nondet.training.kernels.mode import Door

Seeds = Mapping[str, int]


@dataclass
class Stack:
    """R models half way through their training; changed in place by every epoch.

    skeleton: one model, whose forward pass serves all. trained, frozen, buffers: name -> (R, ...).
    own: whether the stack is one run whose weights are the skeleton's own: a plain module, trained as any other, with
        its hooks, checkpoints and compiled code. Then the three above are empty.
    again: whether its backward pass runs parts of the forward pass again, with dropout in them.
    updated: what the optimizer changes: the trained tensors themselves, or float32 copies of those of a short type.
    curves: "loss" and "accuracy", each (R, epochs), NaN where not yet trained.
    failed: for each run the epoch, counted from 1, at which its loss was no longer finite; 0 if it is well.
    averages: "ema.NAME" and "swa.NAME", the running means of weights that the recipe asks for: (R, ...).
    kept: what the outcome takes from epochs before the last, by its name there: (R, ...), on the CPU.
    door: which operations take stacked kernels; None where all take torch's own. recipe: for its mixed precision.
    closure: whether the optimizer's step evaluates the loss again, of a stack of one run.
    first: the gradients of the last step's first evaluation, where there are several.
    factor: of all rates, where the schedule waits for a plateau.
    random_answers: whether its models draw random numbers in evaluation.
    turn: whether the next mini-batch is the first of those whose gradients make one step, and whether it is the last.
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

    @property
    def width(self) -> int:
        return len(self.failed)

    @property
    def answer_numbers(self) -> list[int] | None:
        """What seeds each run's generators in evaluation, the same for all; None where nothing is drawn there."""
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
        """All that a snapshot must hold; the rest follows from the task and the seeds."""
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
        """function(call, *stacked, *shared) for every run; `call` is its model. By vmap, or plainly for one run.

        numbers: of models that draw by themselves, what seeds the generators of each run.
        """
        if self.width > 1:
            in_dims = (0,) * (1 + len(stacked)) + (None,) * len(shared)

            def run(weights: Mapping[str, Tensor], *rest: Any) -> Any:
                with nullcontext() if numbers is None else drawing(next(iter(weights.values()))), RunByRun():
                    return self._met(
                        function, lambda *x, **named: functional_call(self.skeleton, dict(weights), x, named), *rest
                    )

            random = "error" if numbers is None else "different"
            with nullcontext() if numbers is None else drawn_apart(numbers), masks_unread():
                return vmap(run, in_dims=in_dims, randomness=random)(self.weights, *stacked, *shared)
        alone = [tree_map(lambda t: t[0], part) for part in stacked]
        with (
            nullcontext() if self.own else _lent(self.skeleton, self.weights),
            nullcontext() if numbers is None else drawn_alone(numbers[0]),
        ):
            result = self._met(function, self.skeleton, *alone, *shared)
        return tree_map(lambda part: part[None], result)

    def _met(self, function: Callable[..., Any], *given: Any) -> Any:
        """The function with its operations met by stacked kernels, where the stack has them."""
        device = self.updated[next(iter(self.updated))].device
        with mixed(self.recipe, device) if self.recipe else nullcontext():
            if self.door is None or self.door.refused:
                return function(*given)
            with self.door.open(self.width > 1) as mode:
                results = function(*given)
            return mode.finished(results)

    def step(self, function: Callable[..., Any], *stacked: Any, uniforms: Sequence[Tensor]) -> Any:
        """One optimizer step of every run; function(call, *stacked) returns a run's loss and more, which come back.

        uniforms: dropout's numbers, (R, ...) for each call.
        """
        if self.width > 1 and is_seed(uniforms):
            results = self.map(function, *stacked, numbers=uniforms[0].tolist())
            self.learn(results[0])
            return results
        if self.width > 1:

            def dropped(call: Any, u: Sequence[Tensor], *rest: Any) -> Any:
                with given_dropout(u, stacked=True):
                    return function(call, *rest)

            results = self.map(dropped, tuple(uniforms), *stacked)
            self.learn(results[0])
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

    def _step_with_closure(self, function: Callable[..., Any], *stacked: Any, uniforms: Sequence[Tensor]) -> Any:
        """A step of one run whose optimizer evaluates the loss as often as it likes, with the same dropout."""
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
        if not found:  # a step that asks for nothing
            evaluated()
        return found[0]

    def _gradients(self, losses: Tensor) -> None:
        """The gradients of these losses (R,) in the places of the last ones, clipped as the recipe says."""
        leaves = dict(self.skeleton.named_parameters()) if self.own else self.trained
        for p in leaves.values():
            p.grad = None
        backward(losses.sum(), self.again)
        if self.recipe and self.recipe.grad_clip:
            clip([p.grad for p in leaves.values() if p.grad is not None], self.recipe.grad_clip, not self.own)

    def gradients(self) -> dict[str, Tensor | None]:
        """Copies of the last step's gradients by parameter, each (R, ...); None where it left none."""
        leaves = dict(self.skeleton.named_parameters()) if self.own else self.parameters
        dense = {name: None if p.grad is None else p.grad.detach().to_dense().clone() for name, p in leaves.items()}
        return {name: g[None] if self.own and g is not None else g for name, g in dense.items()}

    def learn(self, losses: Tensor) -> None:
        """One optimizer step of every run, from each one's loss (R,).

        Parameters of a short type are updated in float32, and rounded once. In the short type itself, torch's sums with
        a factor round by the place in memory on the CPU, so that a run would depend on its slot.
        """
        leaves = dict(self.skeleton.named_parameters()) if self.own else self.trained
        first, last = self.turn
        for p in leaves.values() if first else ():
            p.grad = None
        scale = loss_scale(self.recipe) if self.recipe else 1.0
        if self.recipe and self.recipe.accumulate > 1:
            losses = losses / self.recipe.accumulate
        backward(losses.sum() if scale == 1 else losses.sum() * scale, self.again)
        if self.door is not None and not self.door.refused:
            self.door.close()
        if not last:
            return
        if scale != 1:
            for p in leaves.values():
                p.grad = None if p.grad is None else p.grad / scale
        if self.recipe and self.recipe.grad_clip:
            clip([p.grad for p in leaves.values() if p.grad is not None], self.recipe.grad_clip, not self.own)
        copies = [(self.updated[name], p) for name, p in leaves.items() if self.updated[name] is not p]
        with torch.no_grad():
            for copied, p in copies:
                copied.copy_(p)
                copied.grad = None if p.grad is None else p.grad.to(copied.dtype)
            self.optimizer.step()
            for copied, p in copies:
                p.copy_(copied)

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state of this stack."""
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
        """The stack with other weights (R, ...) in place of its own, for its answers only; of fewer runs too."""
        kept = (self.trained, self.frozen, self.buffers)
        trained, frozen, buffers = ({name: weights[name] for name in part} for part in kept)
        if self.own:
            buffers = dict(weights)
        return replace(self, trained=trained, frozen=frozen, buffers=buffers, own=False)


@contextmanager
def _lent(model: nn.Module, weights: Mapping[str, Tensor]) -> Generator[None]:
    """The model with one run's weights (1, ...) in its tensors' places, and its own back after the block."""
    own = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    before = {name: tensor.data for name, tensor in own.items()}
    for name, tensor in own.items():
        tensor.data = weights[name][0].detach()
    try:
        yield
    finally:
        for name, tensor in own.items():
            tensor.data = before[name]


def new_stack(problem: Problem, seeds: Sequence[Seeds]) -> Stack:
    """Every run's model from its own init seed, its bit changed, and one optimizer for all of them."""
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
    """A stack of one run: the module itself, and an optimizer of its own parameters, as in any training."""
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
    """Before a new model of a task that compiles: torch stops compiling after a few models of the same code."""
    if problem.compiled:
        torch.compiler.reset()


def wide(dtype: torch.dtype) -> torch.dtype:
    """The type in which numbers of this one are summed up: float32 for the short types."""
    return torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype


def _stacked(models: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Tensors of equal names stacked along a new first axis: (R, ...)."""
    for model in models[1:]:
        if {k: v.shape for k, v in model.items()} != {k: v.shape for k, v in models[0].items()}:
            raise BadInput("model must return the same shapes at every call; take what is random out of its structure")
    return {name: torch.stack([model[name].detach() for model in models]).contiguous() for name in models[0]}


def make_optimizer(
    recipe: Recipe, trained: Mapping[str, Tensor], axes: int
) -> tuple[torch.optim.Optimizer, list[float]]:
    """The recipe's optimizer, and the highest rate of each of its groups; the parameters have `axes` of the stack."""
    groups = _groups(recipe, trained, axes)
    chosen: Any = optimizer_class(recipe.optimizer)
    try:
        options = {**recipe.options, **_device_options(recipe, list(trained.values()))}
        try:
            optimizer = chosen([dict(group) for group in groups], lr=recipe.lr, **options)
        except ValueError as refused:
            try:  # LBFGS takes no groups, and needs none where all are of one rate and one decay
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
    except Exception as error:  # whatever a class that others wrote makes of these options
        raise BadInput(
            f"{chosen.__name__} refuses these parameters or options: {first_line(error)}; "
            "change them with <<recipe>>, or choose SGD, Adam or AdamW"
        ) from error
    if options.get("fused"):
        optimizer.register_step_pre_hook(_sparse_apart)
    quiet: Any = optimizer
    quiet._warned_capturable_if_run_uncaptured = True  # that it runs outside graphs as well
    return optimizer, [float(group["lr"]) for group in optimizer.param_groups]


def _groups(recipe: Recipe, trained: Mapping[str, Tensor], axes: int) -> list[dict[str, Any]]:
    """The parameters that share a rate and a decay; biases and scales, of one axis of their own, have `bias_lr`."""
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
    """Of parameters on a CUDA device, what lets an optimizer read its rate and count its steps there too.

    SGD is then one kernel, which computes in double precision and rounds once: its last bits are not those of SGD's
    other kernels. What the recipe says itself holds.
    """
    if not all(p.is_cuda for p in parameters):
        return {}
    chosen, given = optimizer_class(recipe.optimizer), recipe.options
    if chosen is torch.optim.SGD:
        free = not {"fused", "foreach", "differentiable"} & given.keys()
        return {"fused": True} if free and all(p.is_floating_point() for p in parameters) else {}
    return {"capturable": True} if "capturable" in optimizer_options(chosen) and "capturable" not in given else {}


def _sparse_apart(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    """Have SGD step as usual from sparse gradients, which its one kernel does not take."""
    for group in optimizer.param_groups:
        if any(p.grad is not None and p.grad.is_sparse for p in group["params"]):
            group["fused"] = False


def set_rate(stack: Stack, problem: Problem, step: int, steps: int) -> None:
    """Set every group's learning rate, and what else the schedule says, for a step of the `steps` of this epoch.

    Also which mini-batches make one step of the optimizer.
    """
    every = problem.recipe.accumulate
    stack.turn = (step % every == 0, (step + 1) % every == 0 or step + 1 == steps)
    said: dict[str, Any] = dict(problem.settings[stack.epoch * steps + step]) if problem.settings else {}
    factor = said.pop("factor", None)
    factor = lr_factor(problem.recipe, stack.epoch + step / steps) if factor is None else factor
    for group, peak in zip(stack.optimizer.param_groups, stack.peaks, strict=True):
        group.update(said)
        group["lr"] = factor * peak * stack.factor
