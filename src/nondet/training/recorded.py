"""Record what a stack computes in a step as a list of torch's own operations, and run that list in later steps.

On a CPU, a third of a small network's step is spent in Python: in `vmap`, in autograd and in the model's own code. The
list does the same arithmetic in the same order, so it gives the same bits. This is tried on another mini-batch before
the list is used.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

from nondet.training.described import own_code
from nondet.training.lists import memory_of, short
from nondet.training.problem import Problem
from nondet.training.snapshots import same_bits
from nondet.training.stack import Stack

STEPS = 10
"""How many steps of one shape run as usual before they are recorded."""

WORTH = 200
"""Recording takes as long as some 20 to 50 steps; a training of fewer than this is not recorded."""

LONG = 0.1
"""Seconds of a step from which it is not recorded: then Python's share is small, and recording takes memory."""

_List = tuple[Callable[..., Any], Any]
"""A function of a stack's tensors and a step's inputs, and the form of its results, which its gradients follow."""


def recorder(problem: Problem, width: int) -> Recorder | None:
    """Return a recorder for a stack of this problem; None if its steps are not to be recorded."""
    changing = problem.compiled or problem.again or problem.state or problem.seeded
    brief = problem.steps * problem.recipe.epochs < WORTH
    if problem.device.type != "cpu" or width == 1 or changing or brief:
        return None
    return Recorder(problem)


@dataclass
class Recorder:
    """Records the steps of one stack. Lists are kept by the form and shapes of a step's inputs.

    seen: how many steps there were. tried: the lists that gave this stack the right numbers; others of the problem are
    in `Problem.lists`. refused: why no more lists are made or tried.
    """

    problem: Problem
    seen: dict[Any, int] = field(default_factory=dict[Any, int])
    tried: dict[Any, _List] = field(default_factory=dict[Any, _List])
    refused: str = ""

    def evaluated(self, stack: Stack, function: Callable[..., Any], stacked: Sequence[Any], uniforms: Any) -> Any:
        """Do what the stack's own `evaluated` does, with a list where there is one."""
        given, form = tree_flatten((tuple(stacked), tuple(uniforms)))
        stacked_operations = stack.door is not None and stack.door.serves(stack.width)
        key = (stacked_operations, form, *((t.shape, t.stride(), t.dtype) for t in given))
        if key in self.tried:
            return _run(stack, self.tried[key], given)
        usual = partial(stack.evaluated, function, stacked, uniforms)
        seen = self.seen[key] = self.seen.get(key, 0) + 1
        if not self.refused and key in self.problem.lists and stack.turn[0]:
            return self._tried(stack, key, given, usual)
        if self.refused or seen < STEPS or key in self.problem.lists:
            begin = time.perf_counter()
            found = usual()
            if not self.refused and seen == STEPS - 1 and time.perf_counter() - begin > LONG:
                self.refused = "a step takes long by itself"
            return found
        before = _kept_by_python(stack, self.problem)
        found = usual()
        if before is None or before != _kept_by_python(stack, self.problem):
            self.refused = "the model or its loss keeps something that changes from step to step"
        else:
            self._record(stack, key, given, form, function)
        return found

    def _record(self, stack: Stack, key: Any, given: Sequence[Tensor], form: Any, function: Callable[..., Any]) -> None:
        before, forms, held = _copies(stack), list[Any](), _held(stack)

        def whole(*inputs: Tensor) -> list[Any]:
            stacked, uniforms = tree_unflatten(inputs[len(held) :], form)
            results, target = stack.passed(function, stacked, uniforms)
            leaves = list(stack.trained.values())
            gradients: Any = torch.autograd.grad(target, leaves, allow_unused=True)
            left, results_form = tree_flatten(results)
            forms.append(results_form)
            taken = {memory_of(t) for t in (*inputs, *left)}
            return [*left, *(_own(p, g, taken) for p, g in zip(leaves, gradients, strict=True))]

        try:
            self.problem.lists[key] = (short(make_fx(whole)(*held, *given), *held, *given), forms[0])
        except Exception as error:  # code that others wrote may raise anything
            self.refused = f"{type(error).__name__}: {error}"
        _put_back(stack, before)

    def _tried(self, stack: Stack, key: Any, given: Sequence[Tensor], usual: Callable[[], Any]) -> Any:
        """Take the step as usual, and see whether the list computes the same."""
        before, kept = _copies(stack), self.problem.lists[key]
        try:
            listed = _everything(stack, _run(stack, kept, given))
        except Exception as error:
            listed, self.refused = [], f"{type(error).__name__}: {error}"
        _put_back(stack, before)
        found = usual()
        computed = _everything(stack, found)
        if len(listed) == len(computed) and all(map(same_bits, listed, computed)):
            self.tried[key] = kept
        else:
            del self.problem.lists[key]
            self.refused = self.refused or "the list and the steps compute different numbers"
        return found


def _run(stack: Stack, kept: _List, given: Sequence[Tensor]) -> Any:
    """Run a list, set the gradients that it computes, and return its results."""
    run, form = kept
    with torch.no_grad():
        found = run(*_held(stack), *given)
        for p, g in zip(stack.trained.values(), found[form.num_leaves :], strict=True):
            if stack.turn[0]:
                p.grad = g
            elif g is not None:
                p.grad = g if p.grad is None else p.grad.add_(g)
    return tree_unflatten(found[: form.num_leaves], form)


def _own(p: Tensor, gradient: Tensor | None, taken: set[int]) -> Tensor | None:
    """Return the gradient as autograd stores it: in the parameter's order, in memory that is not `taken`."""
    if gradient is None:
        return None
    if gradient.stride() != p.stride() or memory_of(gradient) in taken:
        gradient = torch.empty_like(p).copy_(gradient)
    taken.add(memory_of(gradient))
    return gradient


def _held(stack: Stack) -> list[Tensor]:
    return [*stack.trained.values(), *stack.frozen.values(), *stack.buffers.values()]


def _copies(stack: Stack) -> list[Tensor]:
    return [t.detach().clone() for t in _held(stack)]


@torch.no_grad()
def _put_back(stack: Stack, copies: Sequence[Tensor]) -> None:
    for tensor, copy in zip(_held(stack), copies, strict=True):
        tensor.copy_(copy)


def _everything(stack: Stack, results: Any) -> list[Tensor]:
    """Return copies of a step's results, its gradients and all weights after it."""
    found = [*tree_leaves(results), *(p.grad for p in stack.trained.values() if p.grad is not None), *_held(stack)]
    return [t.detach().clone() for t in found]


def _kept_by_python(stack: Stack, problem: Problem) -> str | None:
    """Return a hash of what Python keeps between steps: in the model, in the loss, and in numbers of their modules.

    None if it cannot be computed.
    """
    losses = [part for part in (problem.objective.own, problem.objective.criterion) if part is not None]
    names = {type(module).__module__ for module in stack.skeleton.modules()}
    names |= {str(getattr(loss, "__module__", "")) for loss in losses}
    globals_of = [vars(sys.modules[n]) for n in sorted(names) if n in sys.modules and n.partition(".")[0] != "torch"]
    counts = [{k: _count(v) for k, v in sorted(found.items())} for found in globals_of]
    try:
        return own_code([stack.skeleton, losses, counts])
    except Exception:
        return None


def _count(value: Any) -> Any:
    """Return a number itself, and the length of a list, a dictionary or a set."""
    return value if isinstance(value, int | float) else len(value) if isinstance(value, list | dict | set) else None
