"""Helpers for trying a CUDA graph: restore all that a step changes, and forbid waiting."""

from __future__ import annotations

import warnings
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from nondet.training.stack import Stack


class Kept:
    """Everything that a step of a stack changes, so that the same objects can be restored with the same numbers."""

    def __init__(self, stack: Stack, others: Sequence[Tensor]) -> None:
        skeleton = [*stack.skeleton.parameters(), *stack.skeleton.buffers()] if stack.own else []
        optimizer = stack.optimizer
        self.holders: list[dict[Any, Any]] = [
            *(stack.trained, stack.frozen, stack.buffers, stack.updated, stack.averages),
            *(optimizer.state[p] for p in list(optimizer.state)),
            *optimizer.param_groups,
        ]
        self.before = [dict(holder) for holder in self.holders]
        held = [value for holder in self.before for value in holder.values() if isinstance(value, Tensor)]
        found = {id(t): t for t in [*skeleton, *held, *others]}
        self.tensors = list(found.values())
        self.copies = [t.detach().clone() for t in self.tensors]

    def replaced(self) -> bool:
        """Whether a dictionary now has another object, or another plain number, under some key."""
        return any(
            holder.keys() != before.keys() or any(not _unchanged(holder[key], value) for key, value in before.items())
            for holder, before in zip(self.holders, self.before, strict=True)
        )

    @torch.no_grad()
    def put_back(self) -> None:
        for holder, before in zip(self.holders, self.before, strict=True):
            holder.clear()
            holder.update(before)
        for tensor, copy in zip(self.tensors, self.copies, strict=True):
            tensor.copy_(copy)


def _unchanged(now: Any, before: Any) -> bool:
    """Whether this is the same object or, for a plain number, the same value."""
    return now is before or (type(now) is type(before) and isinstance(now, int | float | bool) and now == before)


def has_hooks(model: nn.Module) -> bool:
    """Whether the user's hooks run with the model's forward or backward pass."""
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    tensors = ("_backward_hooks", "_post_accumulate_grad_hooks")
    return any(getattr(module, kind, None) for module in model.modules() for kind in kinds) or any(
        getattr(p, kind, None) for p in model.parameters() for kind in tensors
    )


@contextmanager
def no_waiting() -> Generator[None]:
    """Make it an error, in this block, to wait for the device; torch detects most such waits."""
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns that the mode is a prototype
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)
