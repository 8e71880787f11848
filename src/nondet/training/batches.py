"""Inputs as people have them: a tensor, or a dictionary or tuple of tensors with the examples as first axis."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map


def leaves(inputs: Any) -> list[Tensor]:
    """The tensors of inputs, in order."""
    return [inputs] if isinstance(inputs, Tensor) else tree_leaves(inputs)


def each(change: Callable[[Tensor], Tensor], inputs: Any) -> Any:
    """The inputs with every tensor changed."""
    return change(inputs) if isinstance(inputs, Tensor) else tree_map(change, inputs)


def count(inputs: Any) -> int:
    """How many examples these are."""
    return len(leaves(inputs)[0]) if isinstance(inputs, Tensor | Mapping | tuple) else len(inputs)


def shapes(inputs: Any) -> tuple[tuple[int, ...], ...]:
    """The shapes of the inputs' tensors."""
    return tuple(tuple(t.shape) for t in leaves(inputs))


def typed(inputs: Any, dtype: torch.dtype) -> Any:
    """The inputs with real numbers of this type."""
    return each(lambda t: t.to(dtype) if t.is_floating_point() else t, inputs)


def copied(inputs: Any) -> Any:
    """A copy of the inputs: a model may change them in place."""
    return each(lambda t: t.clone(), inputs)


def stacked(inputs: list[Any]) -> Any:
    """The inputs of R runs as one, each tensor (R, B, ...)."""
    first = inputs[0]
    return torch.stack(inputs) if isinstance(first, Tensor) else tree_map(lambda *t: torch.stack(t), *inputs)


def in_memory(inputs: Any) -> bool:
    """Whether inputs are tensors here, and not read while training."""
    return isinstance(inputs, Tensor | dict | tuple)


def called(call: Callable[..., Any], inputs: Any, by_name: bool = True) -> Any:
    """What a model returns for a mini-batch: call(tensor), call(*tuple), call(**dictionary).

    by_name: whether it takes the tensors of a dictionary by their names, and not the dictionary as a whole.
    """
    if isinstance(inputs, Mapping) and by_name:
        return call(**inputs)
    return call(*inputs) if isinstance(inputs, tuple) else call(inputs)
