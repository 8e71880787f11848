"""A few trial steps before hours are spent: does a stack train the model as the user means it, and each run alone?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from textwrap import shorten
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nondet.errors import BadInput
from nondet.io.streams import WARNING
from nondet.sources import FIXED_SEED
from nondet.tasks.named import optimizer_class
from nondet.tasks.recipe import Recipe
from nondet.training import averages, loop, memory
from nondet.training import batches as inputs_of
from nondet.training import examples as classify
from nondet.training import sequences as text
from nondet.training.new_stack import new_stack
from nondet.training.optimizers import make_optimizer
from nondet.training.perturb import change_bit
from nondet.training.problem import Problem, build_model, first_line
from nondet.training.settings import kernels
from nondet.training.stack import Seeds, Stack, wide
from nondet.training.track import look

MORE_STEPS, MORE_EXAMPLES = 16, 256
"""Steps and examples of a run in which all slots are compared: some rounding shows only at certain values."""

OF_OPTIMIZERS = ((3, 4), (4,))
"""The shapes of the parameters with which an optimizer is tried."""


def fitting_width(problem: Problem, width: int, say: Callable[[str], None] = lambda _: None) -> tuple[int, str]:
    """Return how many runs train together: `width`, or 1 with the reason why this task cannot be trained in stacks.

    A width that does not fit into the memory is halved until one does, and `say` is called with a sentence about it.

    BadInput if the task cannot be trained as the user means it, not even one run at a time.
    """
    asked, found = width, None
    while found is None:
        try:
            found = _stackable_width(problem, width)
        except _TooWide:
            if width == 1:
                raise
        if found is None:
            memory.release()  # only after the error is gone
            width //= 2
    if width < asked and not found[1]:
        say(WARNING + memory.narrower(asked, width, problem.device))
    return found


def _stackable_width(problem: Problem, width: int) -> tuple[int, str]:
    """Return `width`, or 1 with the reason why not. _TooWide if it does not fit into the memory."""
    why = problem.alone if width > 1 else ""
    if width > 1 and not why:
        why = _objection(problem, width)
        if why and _refused(problem, why):
            why = _objection(problem, width)
    if width > 1 and not why:
        return width, ""
    objection = _objection(problem, 1)
    if objection and _refused(problem, objection):
        objection = _objection(problem, 1)
    if objection:
        raise BadInput(
            f"nondet must train a model exactly as a plain PyTorch loop does, but for this model it does not: "
            f"{objection}; remove that from the model or the optimizer"
        )
    return 1, why


def _refused(problem: Problem, why: str) -> bool:
    """Whether stacked kernels were in use, which may be the reason; from now on they are not used."""
    if problem.door is None or problem.door.refused:
        return False
    problem.door.refused = why
    return True


def _compare_widths(problem: Problem, width: int) -> None:
    """Record whether a run's first steps and answers have the same bits alone and in a stack with stacked kernels."""
    if problem.door is None or problem.door.refused or problem.alone:
        return
    try:
        problem.door.same = _same_alone(problem, max(width, 2))
    except Exception as error:  # two such models cannot train together, or do not fit in memory
        if width > 1 and memory.ran_out(error):
            raise
        problem.door.same = False


def _same_alone(problem: Problem, width: int) -> bool:
    run = dict.fromkeys(problem.sources, FIXED_SEED)
    taken = loop.batches(problem, run)
    (alone,), others = (
        _stack_traces(problem, new_stack(problem, [run] * runs), [taken] * runs, runs)[0] for runs in (1, width)
    )
    return all(alone.same(other) for other in others)


class _TooWide(BadInput):
    """A stack of this width does not fit into the memory."""


def _objection(problem: Problem, width: int) -> str:
    """Return why a stack of this width would differ from a plain loop over one model; empty if it would not.

    Both take steps in the recipe's precision on its own mini-batches, and in float64 on small ones.
    """
    coupled = _couples(problem.recipe) if width > 1 else ""
    if coupled:
        return coupled
    run = dict.fromkeys(problem.sources, FIXED_SEED)
    others = run | {name: FIXED_SEED + 1 for name in ("init", "shuffle", "augment", "dropout") if name in run}
    try:
        with kernels(True, problem.tf32):
            objection = _unequal_slots(problem, run, width)
            if objection or not problem.repeats:
                return objection
            here = [run, others][:width]
            stacked = problem.door is not None and not problem.door.refused
            exact = replace(problem, door=None)
            objection = _differs(exact, here)
            if stacked and not objection:
                objection = _differs(problem, here, problem.recipe.precision)
                _compare_widths(problem, width)
            return objection
    except (BadInput, OSError):
        raise
    except Exception as error:  # code that others wrote may raise anything
        if memory.ran_out(error):
            raise _TooWide(
                f"a stack of {width} must fit into the memory of {problem.device} ({first_line(error)}); "
                f"try <<recipe=batch_size={max(problem.recipe.batch_size // 2, 1)}>>"
            ) from error
        reason = shorten(first_line(error), 140, placeholder=" ...")
        return f"vmap cannot run it ({reason})" if width > 1 else reason


def _unequal_slots(problem: Problem, run: Seeds, width: int) -> str:
    """Say how equal runs differ from a plain loop or, over a few more steps, between slots; empty if they do not."""
    precision = problem.recipe.precision
    taken = loop.batches(problem, run)
    stack = new_stack(problem, [run] * width)
    averages.begin(problem.recipe, stack)
    alike = width > 1 and _slot_apart(stack.weights) is None  # if not equal, the control will show it
    found, apart = _stack_traces(problem, stack, [taken] * width, 1)
    if any(p.grad is not None for p in stack.skeleton.parameters()) and not stack.own:
        return "it reaches a parameter in some way other than its attribute, such as through a list"
    if problem.track:
        look(stack, problem.objective, problem.track, *next(iter(classify.with_truth(problem, 2))))
    if problem.repeats:
        plainly = loop.trace(problem, run, taken, precision)
        difference = _difference(found[0], plainly, _coarsest(problem), thorough=False)
        if difference:
            return difference
    if alike and apart is None:
        apart = _first_apart(problem, stack, run)
    if not alike or apart is None:
        return ""
    return (
        f"slot {apart + 1} of {width} rounds differently from the first, because an operation of the model rounds "
        "by its position in memory (matrix products do so at some sizes)"
    )


def _first_apart(problem: Problem, stack: Stack, run: Seeds) -> int | None:
    """Return the first slot of equal runs whose gradients or answers differ from slot 0, over some more steps."""
    more = min(MORE_STEPS, MORE_EXAMPLES // (problem.recipe.batch_size * max(problem.recipe.bptt, 1)))
    if more > loop.STEPS:
        _, apart = _stack_traces(problem, stack, [loop.batches(problem, run, steps=more)] * stack.width, 0)
        if apart is not None:
            return apart
    return _slot_apart({**stack.weights, **_evaluated(problem, stack)})


def _coarsest(problem: Problem, precision: str = "") -> torch.dtype:
    """Return the type with the coarsest rounding in this precision, or the recipe's; TF32 rounds like float16."""
    recipe = problem.recipe.computed_in(precision or problem.recipe.precision)
    tf32 = problem.tf32 and problem.device.type == "cuda" and recipe.precision == "float32"
    return getattr(torch, recipe.amp or ("float16" if tf32 else recipe.precision))


def _differs(problem: Problem, runs: Sequence[Seeds], precision: str = "") -> str:
    """Compare different runs side by side with the plain loop, in a precision (by default that of the run's name)."""
    exact = not precision
    precision = precision or problem.identity["trial"]["precision"]
    here = replace(problem, recipe=problem.recipe.computed_in(precision))
    batches = [loop.batches(here, run, small=True) for run in runs]
    stack = new_stack(here, runs)
    averages.begin(here.recipe, stack)
    found, _ = _stack_traces(here, stack, batches, len(runs))
    for run, taken, mine in zip(runs, batches, found, strict=True):
        theirs = loop.trace(here, run, taken, precision)
        difference = _difference(mine, theirs, _coarsest(problem, precision), thorough=exact)
        if difference:
            return difference
    return ""


def _stack_traces(
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
        apart = _slot_apart({"loss": loss, **left}) if apart is None else apart
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


def _difference(mine: loop.Trace, theirs: loop.Trace, dtype: torch.dtype, thorough: bool) -> str:
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


def _evaluated(problem: Problem, stack: Stack) -> dict[str, Tensor]:
    """Return the answers to the first and the last test batch, which covers every batch size."""
    if problem.recipe.bptt:
        return text.outputs(problem, stack, first=2 * text.TEST_COLUMNS * text.TEST_WINDOW)[0]
    n = len(problem.test[1])
    stack.skeleton.eval()
    starts = {0, (n - 1) // classify.TEST_BATCH * classify.TEST_BATCH}
    with torch.no_grad():
        parts = {
            k: (classify.part_of_test(problem, k, n), problem.test[1][k : k + classify.TEST_BATCH]) for k in starts
        }
        return {f"{k}": classify.answers(problem, stack, *parts[k]) for k in sorted(parts)}


def check_bit(problem: Problem) -> None:
    """Try the change of one bit at the start; BadInput if the weight that the recipe names is all zeros."""
    model = build_model(problem.task, problem.recipe, FIXED_SEED)
    change_bit(dict(model.named_parameters()), FIXED_SEED + 1, problem.recipe.bit, problem.reached, problem.recipe.amp)


def _slot_apart(tensors: Mapping[str, Tensor | None]) -> int | None:
    """Return the first slot in which one of these tensors (R, ...) differs from slot 0 in any bit; None if none."""
    for t in (t for t in tensors.values() if t is not None):
        real = torch.view_as_real(t) if t.is_complex() else t
        bits = real.detach().cpu().contiguous().reshape(len(t), -1).view(torch.uint8)
        apart = (bits != bits[:1]).any(1).nonzero()
        if len(apart):
            return int(apart[0])
    return None


def _couples(recipe: Recipe) -> str:
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
        one = {str(i): torch.ones(shape, requires_grad=True) for i, shape in enumerate(OF_OPTIMIZERS)}
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
    dtype = wide(getattr(torch, recipe.precision))
    trained = {str(i): torch.ones(2, *shape, dtype=dtype).requires_grad_() for i, shape in enumerate(OF_OPTIMIZERS)}
    optimizer, _ = make_optimizer(recipe, trained, axes=1)
    for _ in range(3):
        for parameter in trained.values():
            shape = parameter.shape[1:]
            gradient = np.stack([rng.standard_normal(shape, dtype=np.float32) for rng in (ours, theirs)])
            gradient[1] *= np.nan if neighbour is None else 1
            parameter.grad = torch.from_numpy(gradient).to(dtype)
        optimizer.step()
    return [p.detach()[0] for p in trained.values()]
