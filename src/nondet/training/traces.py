"""The same few steps with a stack and with a plain loop, and what differs first between the two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from nondet.training import averages, loop
from nondet.training import batches as inputs_of
from nondet.training import examples as classify
from nondet.training import sequences as text
from nondet.training.problem import Problem
from nondet.training.snapshots import bits_of
from nondet.training.stack import Stack


def stack_traces(
    problem: Problem, stack: Stack, batches: Sequence[Sequence[loop.Batch]], first: int
) -> tuple[list[loop.Trace], int | None]:
    """Take the same steps with the stack. batches: those of each run. first: how many slots to trace.

    Returns their traces, and the first slot whose gradients differ from those of slot 0.
    """
    apart: int | None = None
    losses: list[Tensor] = []
    gradients: list[dict[str, Tensor | None]] = []
    state: Any = None
    every = problem.recipe.accumulate
    for number, step in enumerate(zip(*batches, strict=True)):
        stack.turn = (number % every == 0, (number + 1) % every == 0 or number + 1 == len(batches[0]))
        loss, left, state = stack_step(problem, stack, step, state)
        apart = slot_apart({"loss": loss, **left}) if apart is None else apart
        losses.append(loss.detach())
        gradients.append({name: None if g is None else g[:first].clone() for name, g in left.items()})
    stack.skeleton.eval()
    with torch.no_grad():
        tested = [(_typed(problem, x), y) for x, y in loop.trial_inputs(problem)]
        if problem.recipe.bptt:
            answers = [stack.map(lambda call, x: call(x, None)[0], shared=[x]) for x, _ in tested]
        else:
            answers = [classify.answers(problem, stack, x, y) for x, y in tested]
    outputs = torch.cat(answers, dim=1)
    traces = [
        loop.Trace(
            torch.stack(losses)[:, slot],
            tuple({name: None if g is None else g[slot] for name, g in step.items()} for step in gradients),
            outputs[slot],
        )
        for slot in range(first)
    ]
    return traces, apart


def stack_step(
    problem: Problem, stack: Stack, step: Sequence[loop.Batch], state: Any
) -> tuple[Tensor, dict[str, Tensor | None], Any]:
    """Take one step of a stack, with a mini-batch for each run; return losses (R,), gradients, and a text's state."""
    found: dict[str, Tensor | None] = {}

    def before_the_step(*_: Any) -> None:  # the step may change them, and may call super().step()
        found.update({} if found or stack.closure else stack.gradients())

    hook = stack.optimizer.register_step_pre_hook(before_the_step)
    stack.skeleton.train()
    inputs, labels = (
        inputs_of.stacked([getattr(b, name) for b in step]) for name in ("inputs", "labels")
    )  # (R, B, ...)
    uniforms = [torch.stack(u) for u in zip(*(b.uniforms for b in step), strict=True)]
    if problem.recipe.bptt:
        loss, _, state = text.train_window(stack, inputs, labels, state, uniforms)
    else:
        loss, _ = classify.train_step(problem.objective, stack, _typed(problem, inputs), labels, uniforms)
    averages.after_step(problem.recipe, stack)
    hook.remove()
    return loss, (stack.first if stack.closure else found) or stack.gradients(), state


def _typed(problem: Problem, inputs: Any) -> Any:
    return inputs_of.typed(inputs, getattr(torch, problem.recipe.precision))


def difference_of(mine: loop.Trace, theirs: loop.Trace, dtype: torch.dtype, thorough: bool) -> str:
    """Say in words what differs first by more than rounding can cause; empty if nothing does.

    Rounding may be ten times the square root of the precision's step: 1e-7 in float64, where sound models differ by
    1e-14 and others by 1e-2. Unless `thorough`, only the losses of later steps are compared: in a shorter type, the
    rounding noise in gradients that are zero on paper has grown too large by then.
    """
    bound = 10 * torch.finfo(dtype).eps ** 0.5
    for step in range(len(theirs.losses)):
        if not bool(theirs.losses[step].isfinite()):  # nothing to compare from here on
            return "" if not bool(mine.losses[step].isfinite()) else f"its loss at step {step + 1} is different"
        if not _near(mine.losses[step], theirs.losses[step], bound, 0):
            return f"its loss at step {step + 1} is different"
        name = _other_gradient(mine.gradients[step], theirs.gradients[step], bound) if thorough or not step else ""
        if name:
            return f"the gradient of {name} at step {step + 1} is different (as after a hook, or a block run again)"
    if thorough and not _near(mine.outputs, theirs.outputs, bound, 0):
        return f"its answers after {len(theirs.losses)} steps are different"
    return ""


def _other_gradient(mine: Mapping[str, Tensor | None], theirs: Mapping[str, Tensor | None], bound: float) -> str:
    """Return the first parameter whose gradient differs by more than the bound, or ""; None counts as zero."""
    known = {name: g for name, g in theirs.items() if g is not None}
    largest = max((float(g.abs().max()) for g in known.values() if g.numel()), default=0.0)
    for name in theirs:
        ours, plainly = mine.get(name), known.get(name)
        either = ours if plainly is None else plainly
        if either is None:
            continue
        zero = torch.zeros_like(either)
        if not _near(zero if ours is None else ours, zero if plainly is None else plainly, bound, largest):
            return name
    return ""


def _near(mine: Tensor, theirs: Tensor, bound: float, largest: float) -> bool:
    """Whether no element differs by more than `bound` times its tensor's largest, or times a share of `largest`."""
    if theirs.numel() == 0 or not bool(theirs.isfinite().all()):
        return True
    scale = max(float(theirs.abs().max()), largest / (1000 if bound < 1e-4 else 1))
    return bool(((mine - theirs).abs() <= bound * scale).all())


def evaluated(problem: Problem, stack: Stack) -> dict[str, Tensor]:
    """Return the answers to the first and the last test batch, which covers every batch size."""
    if problem.recipe.bptt:
        return text.outputs(problem, stack, first=2 * text.TEST_COLUMNS * text.TEST_WINDOW)[0]
    labels, batch = problem.test[1], classify.TEST_BATCH
    n = len(labels)
    stack.skeleton.eval()
    with torch.no_grad():
        return {
            f"{k}": classify.answers(problem, stack, classify.part_of_test(problem, k, n), labels[k : k + batch])
            for k in sorted({0, (n - 1) // batch * batch})
        }


def slot_apart(tensors: Mapping[str, Tensor | None]) -> int | None:
    """Return the first slot in which one of these tensors (R, ...) differs from slot 0 in any bit; None if none."""
    for t in (t for t in tensors.values() if t is not None):
        bits = bits_of(t).cpu().reshape(len(t), -1)
        apart = (bits != bits[:1]).any(1).nonzero()
        if len(apart):
            return int(apart[0])
    return None
