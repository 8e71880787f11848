"""A few trial steps before hours are spent: does a stack train the model as the user means it, and each run alone?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from textwrap import shorten

import torch

from nondet.errors import BadInput
from nondet.io.streams import WARNING
from nondet.sources import FIXED_SEED
from nondet.training import averages, loop, memory
from nondet.training import examples as classify
from nondet.training.new_stack import new_stack
from nondet.training.optimizers import coupled_by
from nondet.training.perturb import change_bit
from nondet.training.problem import Problem, build_model, first_line
from nondet.training.settings import kernels
from nondet.training.stack import Seeds, Stack
from nondet.training.traces import difference_of, evaluated, slot_apart, stack_traces
from nondet.training.track import look


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
    why = (problem.alone or _objection_to(problem, width)) if width > 1 else ""
    if width > 1 and not why:
        return width, ""
    objection = _objection_to(problem, 1)
    if objection:
        raise BadInput(
            f"nondet must train a model exactly as a plain PyTorch loop does, but for this model it does not: "
            f"{objection}; remove that from the model or the optimizer"
        )
    return 1, why


def _objection_to(problem: Problem, width: int) -> str:
    """Return `_objection`; stacked kernels that may be the reason are not used from then on."""
    why = _objection(problem, width)
    if not why or problem.door is None or problem.door.refused:
        return why
    problem.door.refused = why
    return _objection(problem, width)


def _compare_widths(problem: Problem, width: int) -> None:
    """Record whether a run's first steps and answers have the same bits alone and in a stack with stacked kernels."""
    if problem.door is None or problem.door.how is None or problem.door.refused or problem.alone:
        return
    run = dict.fromkeys(problem.sources, FIXED_SEED)
    taken = loop.batches(problem, run)
    try:
        (alone,), others = (
            stack_traces(problem, new_stack(problem, [run] * runs), [taken] * runs, runs)[0]
            for runs in (1, max(width, 2))
        )
        problem.door.same = all(alone.same(other) for other in others)
    except Exception as error:  # two such models cannot train together, or do not fit in memory
        if width > 1 and memory.ran_out(error):
            raise
        problem.door.same = False


class _TooWide(BadInput):
    """A stack of this width does not fit into the memory."""


def _objection(problem: Problem, width: int) -> str:
    """Return why a stack of this width would differ from a plain loop over one model; empty if it would not.

    Both take steps in the recipe's precision on its own mini-batches, and in float64 on small ones.
    """
    coupled = coupled_by(problem.recipe) if width > 1 else ""
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
            stacked = problem.door is not None and not problem.door.refused and bool(problem.door.used)
            exact = replace(problem, door=None)
            objection = _differs(exact, here)
            if stacked and not objection:
                objection = _differs(problem, here, problem.recipe.precision)
                _compare_widths(problem, width)
            return objection
    except OSError:
        raise
    except Exception as error:  # code that others wrote may raise anything
        if memory.ran_out(error):
            raise _TooWide(
                f"a stack of {width} must fit into the memory of {problem.device} ({first_line(error)}); "
                f"try <<recipe=batch_size={max(problem.recipe.batch_size // 2, 1)}>>"
            ) from error
        if isinstance(error, BadInput) and (width == 1 or error.__cause__ is None):
            raise  # what fails only in a stack, inside a loss of the user's, does not stack
        reason = shorten(first_line(error), 140, placeholder=" ...")
        return f"vmap cannot run it ({reason})" if width > 1 else reason


MORE_STEPS, MORE_EXAMPLES = 16, 256
"""Steps and examples of a run in which all slots are compared: some rounding shows only at certain values."""


def _unequal_slots(problem: Problem, run: Seeds, width: int) -> str:
    """Say how equal runs differ from a plain loop or, over a few more steps, between slots; empty if they do not."""
    precision = problem.recipe.precision
    taken = loop.batches(problem, run)
    stack = new_stack(problem, [run] * width)
    averages.begin(problem.recipe, stack)
    alike = width > 1 and slot_apart(stack.weights) is None  # if not equal, the control will show it
    found, apart = stack_traces(problem, stack, [taken] * width, 1)
    if any(p.grad is not None for p in stack.skeleton.parameters()) and not stack.own:
        return "it reaches a parameter in some way other than its attribute, such as through a list"
    if problem.track:
        look(stack, problem.objective, problem.track, *next(iter(classify.with_truth(problem, 2))))
    if problem.repeats:
        plainly = loop.trace(problem, run, taken, precision)
        difference = difference_of(found[0], plainly, _coarsest(problem), thorough=False)
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
        _, apart = stack_traces(problem, stack, [loop.batches(problem, run, steps=more)] * stack.width, 0)
        if apart is not None:
            return apart
    return slot_apart({**stack.weights, **evaluated(problem, stack)})


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
    found, _ = stack_traces(here, stack, batches, len(runs))
    for run, taken, mine in zip(runs, batches, found, strict=True):
        theirs = loop.trace(here, run, taken, precision)
        difference = difference_of(mine, theirs, _coarsest(problem, precision), thorough=exact)
        if difference:
            return difference
    return ""


def check_bit(problem: Problem) -> None:
    """Try the change of one bit at the start; BadInput if the weight that the recipe names is all zeros."""
    model = build_model(problem.task, problem.recipe, FIXED_SEED)
    change_bit(dict(model.named_parameters()), FIXED_SEED + 1, problem.recipe.bit, problem.reached, problem.recipe.amp)
