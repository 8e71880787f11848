"""Helpers for inputs of any form: a tensor, or a dictionary or tuple of tensors, with the examples as first axis."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map


def leaves(inputs: Any) -> list[Tensor]:
    """Return all tensors of the inputs, in order."""
    return tree_leaves(inputs)


def each(change: Callable[[Tensor], Tensor], inputs: Any) -> Any:
    """Apply `change` to every tensor of the inputs."""
    return change(inputs) if isinstance(inputs, Tensor) else tree_map(change, inputs)


def count(inputs: Any) -> int:
    """Return the number of examples."""
    return len(leaves(inputs)[0]) if isinstance(inputs, Tensor | Mapping | tuple) else len(inputs)


def shapes(inputs: Any) -> tuple[tuple[int, ...], ...]:
    """Return the shape of every tensor of the inputs."""
    return tuple(tuple(t.shape) for t in leaves(inputs))


def typed(inputs: Any, dtype: torch.dtype) -> Any:
    """Convert the real numbers in the inputs to this type."""
    return each(lambda t: t.to(dtype) if t.is_floating_point() else t, inputs)


def copied(inputs: Any) -> Any:
    """Copy the inputs, since a model may change them in place."""
    return each(lambda t: t.clone(), inputs)


def stacked(inputs: list[Any]) -> Any:
    """Stack the inputs of R runs: each tensor becomes (R, B, ...)."""
    return tree_map(lambda *t: torch.stack(t), *inputs)


def in_memory(inputs: Any) -> bool:
    """Whether the inputs are tensors in memory, rather than read during training."""
    return isinstance(inputs, Tensor | dict | tuple)


def some(inputs: Any, index: np.ndarray) -> Any:
    """Return the inputs of these examples, without augmentation."""
    places = torch.from_numpy(index)
    return each(lambda t: t[places], inputs) if in_memory(inputs) else inputs.batch(index, None)


def called(call: Callable[..., Any], inputs: Any, by_name: bool = True) -> Any:
    """Call a model on a mini-batch: call(tensor), call(*tuple) or call(**dictionary).

    by_name: whether the model takes the tensors of a dictionary as named arguments, rather than the whole dictionary.
    """
    if isinstance(inputs, Mapping) and by_name:
        return call(**inputs)
    return call(*inputs) if isinstance(inputs, tuple) else call(inputs)
