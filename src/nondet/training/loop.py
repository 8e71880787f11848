"""A few steps of one model alone, as in any PyTorch loop. A stack is compared with these.

Only the stack's random numbers are used here: the same mini-batches, and the same numbers for dropout.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from nondet.errors import BadInput
from nondet.sources import FIXED_SEED, stream
from nondet.tasks.named import optimizer_class
from nondet.training import batches as inputs_of
from nondet.training import examples as classify
from nondet.training import sequences as text
from nondet.training.dropout import SEED, backward, draw_uniforms, drawn_alone, given_dropout, recorded_dropout
from nondet.training.new_stack import forget_compiled
from nondet.training.optimizers import make_optimizer
from nondet.training.problem import Problem, build_model, first_line
from nondet.training.recipes import evaluates_before
from nondet.training.settings import kernels, loss_scale, mixed
from nondet.training.snapshots import same_bits
from nondet.training.stack import Seeds

STEPS = 3
"""How many mini-batches of the first epoch are tried: the first ones, and the last, which may be smaller."""

SMALL = 32
"""Examples of each mini-batch (or columns of a text) in the float64 steps, which take twice the time."""

OF_TEST = 64
"""How many test examples have their answers compared."""


@dataclass(frozen=True)
class Batch:
    """One step's inputs (B, ...), labels (B, ...), and dropout's numbers, one tensor for each call."""

    inputs: Any
    labels: Tensor
    uniforms: Sequence[Tensor]


@dataclass(frozen=True)
class Trace:
    """The results of a few steps of one model.

    losses: (S,). gradients: those of each step, by the parameter's name; None if a parameter has none. outputs: the
    model's answers after the last step to the first test examples. reached: for each parameter, the elements that had
    a nonzero gradient.
    """

    losses: Tensor
    gradients: tuple[dict[str, Tensor | None], ...]
    outputs: Tensor

    @property
    def reached(self) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        for step in self.gradients:
            for name, gradient in step.items():
                if gradient is not None:
                    found[name] = found.get(name, torch.zeros_like(gradient, dtype=torch.bool)) | (gradient != 0)
        return found

    def numbers(self) -> dict[str, list[float | None]]:
        """Return the loss and the norm of all gradients at each step, to nine digits, for the run's name.

        A number that is not finite becomes None.
        """
        norms = [
            torch.stack([g.abs().double().square().sum() for g in step.values() if g is not None]).sum().sqrt()
            for step in self.gradients
        ]
        found = {"loss": [float(x) for x in self.losses], "gradient": [float(x) for x in norms]}
        return {k: [float(f"{x:.9g}") if math.isfinite(x) else None for x in v] for k, v in found.items()}

    def same(self, other: Trace) -> bool:
        """Whether both are equal to the last bit."""
        mine, theirs = (
            [{"losses": trace.losses, "outputs": trace.outputs}, *trace.gradients] for trace in (self, other)
        )
        return all(
            a.keys() == b.keys() and all(same_bits(a[name], b[name]) for name in a)
            for a, b in zip(mine, theirs, strict=True)
        )


def batches(problem: Problem, run: Seeds, small: bool = False, steps: int = STEPS) -> list[Batch]:
    """Return the mini-batches of a trial of this run; `small` ones have at most SMALL examples."""
    feed: Any = text if problem.recipe.bptt else classify
    try:
        parts: list[Any] = feed.trial_batches(problem, run, steps, SMALL if small else None)
    except (BadInput, OSError):
        raise
    except Exception as error:
        inputs: Any = problem.train[0]
        shape = tuple(inputs.shape) if hasattr(inputs, "shape") else inputs_of.shapes(inputs)
        raise BadInput(
            f"the augmentations fail on inputs of shape {shape}: {first_line(error)}; fix the task's augment"
        ) from error
    rng = stream("dropout", run.get("dropout", FIXED_SEED), 0)
    shapes: dict[Any, list[tuple[int, ...]]] = {}
    found: list[Batch] = []
    for inputs, labels, places in parts:
        size = inputs_of.shapes(inputs)
        if size not in shapes:
            shapes[size] = _shapes(problem, inputs, labels)
        uniforms = draw_uniforms([rng], shapes[size], places[None], problem.device)
        found.append(Batch(inputs, labels, [u[0] for u in uniforms]))
    return found


def _shapes(problem: Problem, inputs: Any, labels: Tensor) -> list[tuple[int, ...]]:
    """Return the shapes of dropout's numbers for one mini-batch."""
    if problem.seeded:
        return [SEED]
    forget_compiled(problem)
    model = build_model(problem.task, problem.recipe, FIXED_SEED).to(problem.device).train()
    inputs = inputs_of.typed(inputs_of.copied(inputs), getattr(torch, problem.recipe.precision))
    with torch.no_grad(), recorded_dropout() as shapes:
        model(inputs, None) if problem.recipe.bptt else problem.objective.outputs(model, inputs, labels)
    return shapes


Evaluated = tuple[Tensor, dict[str, Tensor | None], Any]
"""A mini-batch's loss, every parameter's gradient, and a text's next state."""


def trace(problem: Problem, run: Seeds, taken: Sequence[Batch], precision: str, answers: bool = True) -> Trace:
    """Train the run's model alone, in this precision, on these mini-batches at the recipe's highest rate.

    answers: whether it also answers test examples afterwards.
    """
    recipe = problem.recipe.computed_in(precision)
    scale, every = loss_scale(recipe), recipe.accumulate
    dtype = getattr(torch, precision)
    forget_compiled(problem)
    with kernels(True, problem.tf32):
        model = build_model(problem.task, recipe, run["init"]).to(problem.device)
        optimizer, _ = make_optimizer(recipe, dict(model.named_parameters()), axes=0)

        def evaluate(batch: Batch, state: Any, first: bool, last: bool) -> Evaluated:
            if first:
                optimizer.zero_grad()
            with torch.enable_grad(), given_dropout(batch.uniforms, problem.again):
                with mixed(recipe, problem.device):
                    loss, after = _loss(problem, model, inputs_of.typed(batch.inputs, dtype), batch.labels, state)
                part = loss / every if every > 1 else loss
                backward(part * scale if scale != 1 else part, problem.again)
            for p in model.parameters() if scale != 1 and last else ():
                p.grad = None if p.grad is None else p.grad / scale
            if recipe.grad_clip and last:
                torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.grad_clip)
            grads = {name: p.grad for name, p in model.named_parameters()}
            return loss, {n: None if g is None else g.detach().to_dense().clone() for n, g in grads.items()}, after

        losses: list[Tensor] = []
        gradients: list[dict[str, Tensor | None]] = []
        state: Any = None
        model.train()
        for number, batch in enumerate(taken):
            last = (number + 1) % every == 0 or number + 1 == len(taken)
            evaluated = partial(evaluate, batch, state, number % every == 0, last)
            loss, found, state = _step(problem, optimizer, evaluated) if last else evaluated()
            losses.append(loss.detach())
            gradients.append(found)
        with torch.no_grad(), mixed(recipe, problem.device):
            model.eval()
            given = trial_inputs(problem) if answers else []
            with drawn_alone(FIXED_SEED) if problem.random_answers else nullcontext():
                tested = [_answers(problem, model, inputs_of.typed(x, dtype), y) for x, y in given]
            outputs = torch.cat(tested) if tested else torch.empty(0)
    return Trace(torch.stack(losses), tuple(gradients), outputs)


def _step(problem: Problem, optimizer: torch.optim.Optimizer, evaluate: Callable[[], Evaluated]) -> Evaluated:
    """Take a step, in which an optimizer such as LBFGS evaluates the loss itself; return the first evaluation."""
    seen: list[Evaluated] = []

    def evaluated() -> Any:
        seen.append(evaluate())
        return seen[-1][0]

    if not problem.closure or evaluates_before(optimizer):
        evaluated()
    try:
        optimizer.step(evaluated) if problem.closure else optimizer.step()
    except OSError:  # another optimizer would not help with a full disk
        raise
    except Exception as error:
        name = optimizer_class(problem.recipe.optimizer).__name__
        raise BadInput(
            f"{name} cannot train this model with these options: {first_line(error)}; change them with <<recipe>>, let "
            "it step one model as in a plain PyTorch loop (to clip its gradients: <<recipe=grad_clip=1>>), or choose "
            "SGD, Adam or AdamW"
        ) from error
    if not seen:
        evaluated()
    return seen[0]


def trial_inputs(problem: Problem) -> list[tuple[Any, Tensor]]:
    """Return the test inputs that are answered after the steps, with their labels."""
    if problem.recipe.bptt:
        inputs, labels = (tokens[:OF_TEST] for tokens in text.texts(problem.test))
        width = min(problem.recipe.bptt, len(inputs))  # a model without a state may not accept more tokens
        return [(text.columns(inputs, len(inputs) // width)[:, :width], labels)]
    return list(classify.with_truth(problem, OF_TEST))


def _loss(problem: Problem, model: nn.Module, inputs: Any, labels: Tensor, state: Any) -> tuple[Tensor, Any]:
    if not problem.recipe.bptt:
        return problem.objective(model, inputs_of.copied(inputs), labels)[0], None
    logits, after = model(inputs, state)
    loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten())
    return loss, tree_map(torch.detach, after)


def _answers(problem: Problem, model: nn.Module, inputs: Any, labels: Tensor) -> Tensor:
    return model(inputs, None)[0] if problem.recipe.bptt else problem.objective.outputs(model, inputs, labels)


def all_reached(problem: Problem, run: Seeds, taken: Sequence[Batch], found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return `Trace.reached` also for parameters that are not trained, which get a gradient in one extra step."""
    model = build_model(problem.task, problem.recipe, run["init"]).to(problem.device).train()
    missing = {name: p for name, p in model.named_parameters() if name not in found and p.is_floating_point()}
    if not missing:
        return dict(found)
    for p in missing.values():
        p.requires_grad_()
    with given_dropout(taken[0].uniforms, problem.again), kernels(True, problem.tf32):
        dtype = getattr(torch, problem.recipe.precision)
        loss, _ = _loss(problem, model, inputs_of.typed(taken[0].inputs, dtype), taken[0].labels, None)
        backward(loss, problem.again)
    return {**found, **{name: (torch.zeros_like(p) if p.grad is None else p.grad) != 0 for name, p in missing.items()}}
