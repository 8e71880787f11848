"""What the operations of a stack, on any device, share with the mode that intercepts them.

A batch norm waits for what follows it: an addition and a ReLU may join it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Waiting:
    """A batch norm, perhaps with an addition, that is not computed yet: its arguments, by name.

    moments: the mean and 1 / standard deviation of all runs, once known; copies of this object share the list.
    """

    arguments: Mapping[str, Any]
    moments: list[tuple[Tensor, Tensor]]
    residual: Tensor | None = None


class Meeting(Protocol):
    """What the operations need from the mode that intercepted them: see `mode.Mode`."""

    door: Any
    sums: dict[int, tuple[Tensor, Any]]
    links: dict[int, tuple[Tensor, Any]]
    copies: dict[int, Tensor]

    def normalised(self, waiting: Waiting, relu: bool) -> Tensor: ...
    def each(self, operation: Callable[..., Any], *given: Any) -> Any: ...
    def wait(self, x: Tensor, waiting: Waiting) -> Tensor: ...
    def keep(self, stand_in: Tensor, waiting: Waiting) -> None: ...
    def waits(self, t: Any) -> Waiting | None: ...
    def settle(self, stand_in: Tensor, result: Tensor) -> Tensor: ...
    def settled(self, t: Any) -> Any: ...


class Operations(NamedTuple):
    """The stacked operations of one kind of device.

    table: what replaces a torch function. It takes the mode and torch's own arguments, and returns a text if it cannot,
        with the reason; None if torch's own is as good.
    normalised: computes a waiting batch norm, followed by a ReLU or not.
    """

    table: Mapping[Any, Callable[..., Any]]
    normalised: Callable[[Any, Waiting, bool], Tensor]


def pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value * 2 if len(value) == 1 else tuple(value))


def viewed(mode: Meeting, input: Tensor, *shape: Any) -> Any:
    """Reshape where torch cannot view, since the channels are last in memory and flattening needs a copy."""
    if not shape or isinstance(shape[0], torch.dtype):
        return None
    try:
        return input.view(*shape)
    except RuntimeError:
        return input.reshape(*shape)


def _relu(mode: Meeting, input: Tensor, inplace: bool = False) -> Tensor | None:
    waiting = mode.waits(input)
    if waiting is None:
        return None
    found = mode.normalised(waiting, relu=True)
    return mode.settle(input, found) if inplace else found


def _relu_in_place(mode: Meeting, input: Tensor) -> Tensor | None:
    return _relu(mode, input, inplace=True)


def _add(mode: Meeting, input: Any, other: Any, *, alpha: float = 1, out: Any = None) -> Tensor | None:
    if alpha != 1 or out is not None or not isinstance(input, Tensor) or not isinstance(other, Tensor):
        return None
    for waits, added in ((other, input), (input, other)):
        waiting = mode.waits(waits)
        if waiting is not None and waiting.residual is None and added is not waits and added.shape == waits.shape:
            residual = mode.settled(added)
            if residual.dtype == waits.dtype:
                return mode.wait(waits, replace(waiting, residual=residual))
    return None


def _add_in_place(mode: Meeting, input: Any, other: Any, *, alpha: float = 1) -> Tensor | None:
    waiting = mode.waits(input)
    if waiting is None or waiting.residual is not None or alpha != 1 or not isinstance(other, Tensor):
        return None
    residual = mode.settled(other) if other is not input and other.shape == input.shape else None
    if residual is None or residual.dtype != input.dtype:
        return None
    mode.keep(input, replace(waiting, residual=residual))
    return input


FOLLOWING: Mapping[Any, Callable[..., Tensor | None]] = {
    F.relu: _relu,
    torch.relu: _relu,
    torch.Tensor.relu: _relu,
    torch.relu_: _relu_in_place,
    torch.Tensor.relu_: _relu_in_place,
    torch.add: _add,
    torch.Tensor.add: _add,
    torch.Tensor.__add__: _add,
    torch.Tensor.__radd__: _add,
    torch.Tensor.add_: _add_in_place,
    torch.Tensor.__iadd__: _add_in_place,
}
"""What may join a waiting batch norm; it returns None if it does not."""
