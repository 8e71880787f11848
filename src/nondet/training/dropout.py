"""Dropout with numbers from outside the model: every run draws its masks from its own stream.

Under vmap a model cannot draw its own random numbers, and torch's global generator would tie the runs together. So
a function mode intercepts each call of a dropout function in the model's forward pass, and uses uniform numbers drawn
beforehand. One trial run of the model shows how many calls there are, and of which shapes.

`torch.compile` traces through the mode, so its code is simple: the compiler silently skips what it cannot follow, and
the model with it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from nondet.sources import globals_drawn, seeded_globals

SEED: tuple[int, ...] = (-1,)
"""Stands in place of a shape if a model's forward pass draws from the global generators, which then get a seed."""

_SWITCH: Any = torch.Tensor.requires_grad  # a property, whose setter a mode sees


def switches_training(func: Any) -> bool:
    """Whether a function that a mode intercepts switches a weight's training on or off."""
    return func == _SWITCH.__set__


class Recorded(list[tuple[int, ...]]):
    """Shapes of uniform numbers. generators: the global generators that were drawn from, once this is known."""

    generators: tuple[str, ...] = ()


class _Dropout(TorchFunctionMode):
    """stacked: whether it runs under vmap, where switching a weight's training on or off silently does nothing."""

    def __init__(self, uniforms: Callable[[tuple[int, ...], torch.dtype], Tensor], stacked: bool = False) -> None:
        super().__init__()
        self.uniforms = uniforms
        self.stacked = stacked

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is F.dropout:
            return self._drop(True, *args, **(kwargs or {}))
        if func is F.dropout1d or func is F.dropout2d or func is F.dropout3d:
            return self._drop(False, *args, **(kwargs or {}))
        if self.stacked and switches_training(func):
            raise RuntimeError("the forward pass changes whether a weight is trained")
        return func(*args, **(kwargs or {}))

    def _drop(
        self, elements: bool, input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
    ) -> Tensor:
        """Drop single elements, or else whole channels; the other arguments are those of torch's functions."""
        if not training or p == 0:
            return input
        if p == 1:
            return input.mul_(0) if inplace else input * 0
        shape = tuple(input.shape) if elements else (*input.shape[:2], *(1 for _ in input.shape[2:]))
        keep = self.uniforms(shape, input.dtype) >= p
        mask = keep.to(input.dtype) / (1 - p)
        return input.mul_(mask) if inplace else input * mask


@contextmanager
def recorded_dropout() -> Generator[Recorded]:
    """Drop nothing, and record the shape of the uniform numbers that each dropout call would use.

    After a block that drew from a global generator, the result is [SEED]: one seed will replace all of the numbers.
    The generators are restored.
    """
    shapes = Recorded()

    def ones(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        shapes.append(shape)
        return torch.ones((), dtype=dtype)

    with globals_drawn() as drawn, _Dropout(ones):
        yield shapes
    shapes.generators = drawn()
    if shapes.generators:
        shapes[:] = [SEED]


class _InTurn:
    """Return the next of these tensors at each call."""

    def __init__(self, uniforms: Sequence[Tensor]) -> None:
        self.uniforms = list(uniforms)
        self.at = 0

    def __call__(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        uniforms = self.uniforms[self.at]
        self.at += 1
        return uniforms


class _Again:
    """Return the next of these tensors at each new call, and the same one again when a call is repeated.

    A checkpointed block runs a second time in the backward pass, with torch's global generator in the same state as the
    first time. So each call draws a ticket from it, and a ticket seen before identifies the tensor to repeat.
    """

    def __init__(self, uniforms: Sequence[Tensor]) -> None:
        self.rest = iter(uniforms)
        self.seen: dict[float, Tensor] = {}

    def __call__(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        ticket = float(torch.rand((), dtype=torch.float64))
        if ticket not in self.seen:
            self.seen[ticket] = next(self.rest)
        return self.seen[ticket]


@contextmanager
def given_dropout(uniforms: Sequence[Tensor], again: bool = False, stacked: bool = False) -> Generator[None]:
    """Answer each dropout call with the next of these uniform numbers in [0, 1).

    again: whether the block contains the backward pass of a model that recomputes its dropout there.
    stacked: whether it is under vmap.
    """
    if is_seed(uniforms):
        with drawn_alone(int(uniforms[0])):
            yield
        return
    if not again:
        with _Dropout(_InTurn(uniforms), stacked):
            yield
        return
    with torch.random.fork_rng(devices=[]), _Dropout(_Again(uniforms)):
        yield


@contextmanager
def drawn_alone(number: int) -> Generator[None]:
    """Around one model that draws from the global generators itself: this number seeds them."""
    with seeded_globals(np.random.default_rng(number)), row_by_row():
        yield


def row_by_row(stacked: bool = False) -> TorchFunctionMode:
    """Return a mode in which dropout draws its numbers in the order of a tensor's axes, whatever its memory layout."""
    return _Dropout(lambda shape, dtype: torch.rand(shape, dtype=torch.float32), stacked)


def is_seed(uniforms: Sequence[Tensor]) -> bool:
    """Whether this is a seed for the global generators instead of dropout's numbers."""
    return len(uniforms) == 1 and not uniforms[0].is_floating_point()


def backward(loss: Tensor, again: bool) -> None:
    """Run the backward pass; with `again`, keep the function modes on while it runs parts of the model again.

    torch's own functions turn a mode off while they run, so the engine is called directly, as they call it.
    """
    if not again:
        loss.backward()
        return
    engine: Any = torch.autograd.Variable
    ones = torch.ones_like(loss)
    engine._execution_engine.run_backward(
        (loss,), (ones,), False, False, (), allow_unreachable=True, accumulate_grad=True
    )


def draw_uniforms(
    rngs: Sequence[np.random.Generator], shapes: Sequence[tuple[int, ...]], places: np.ndarray, device: torch.device
) -> list[Tensor]:
    """Draw one step's uniform numbers for every run of a stack: one tensor (R, *shape) for each dropout call.

    places (R, B) is the permutation inside each run's mini-batch: an example keeps its mask.
    """
    drawn: list[Tensor] = []
    if list(shapes) == [SEED]:
        return [torch.tensor([int(rng.integers(2**63)) for rng in rngs])]
    for shape in shapes:
        rows = [rng.random(shape, dtype=np.float32) for rng in rngs]
        if shape and shape[0] == places.shape[1]:
            rows = [row[place] for row, place in zip(rows, places, strict=True)]
        drawn.append(torch.from_numpy(np.stack(rows)).to(device))
    return drawn
