"""Dropout with numbers of its own: every run takes its masks from its own stream.

Under vmap a model cannot draw its own random numbers, and torch's global generator would tie the runs together. So
each call of a dropout function in the model's forward pass is met by a function mode, and answered with uniform
numbers drawn beforehand. How many calls there are, and of which shapes, one trial run of the model tells.

`torch.compile` traces through the mode, so it is written plainly: what the compiler cannot follow, it leaves out in
silence, and the model with it.
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
"""In place of a shape: a seed for the global generators, of a model that draws from them in its forward pass."""

_SWITCH: Any = torch.Tensor.requires_grad  # a property, whose setter a mode sees


def switches_training(func: Any) -> bool:
    """Whether a function that a mode meets is the switch of a weight's training, on or off."""
    return func == _SWITCH.__set__


class Recorded(list[tuple[int, ...]]):
    """Shapes of uniform numbers. generators: the global ones that were drawn from, once that is known."""

    generators: tuple[str, ...] = ()


class _Dropout(TorchFunctionMode):
    """stacked: under vmap, where switching a weight's training on or off would do nothing, in silence."""

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
        """Drop single elements, or else whole channels; the arguments are those of torch's own functions."""
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
    """Drop nothing, and note the shape of the uniform numbers that each dropout call would take.

    After a block that drew from a global generator they are [SEED]: the generators are put back, and seed all of it.
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
    """The next of these numbers at each call."""

    def __init__(self, uniforms: Sequence[Tensor]) -> None:
        self.uniforms = list(uniforms)
        self.at = 0

    def __call__(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        uniforms = self.uniforms[self.at]
        self.at += 1
        return uniforms


class _Again:
    """The next of these numbers at each new call, and the same ones again where a call is repeated.

    A checkpointed block runs a second time in the backward pass, from the state of torch's global generator that it
    had the first time. So each call draws a ticket there, and a ticket that was seen before names its numbers.
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

    again: whether the block holds the backward pass of a model that recomputes its dropout there.
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
    """Around one model that draws by itself: from the global generators, which this number seeds."""
    with seeded_globals(np.random.default_rng(number)), row_by_row():
        yield


def row_by_row(stacked: bool = False) -> TorchFunctionMode:
    """A mode in which dropout draws its numbers in the order of a tensor's axes, however it lies in memory."""
    return _Dropout(lambda shape, dtype: torch.rand(shape, dtype=torch.float32), stacked)


def is_seed(uniforms: Sequence[Tensor]) -> bool:
    """Whether these are a seed for the global generators, in place of dropout's numbers."""
    return len(uniforms) == 1 and not uniforms[0].is_floating_point()


def backward(loss: Tensor, again: bool) -> None:
    """The backward pass; with `again`, the function modes around it stay on while it runs parts of the model again.

    torch's own functions take a mode off while they run, so the engine is called as they call it.
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
    """The uniform numbers of one step for every run of a stack, one tensor (R, *shape) for each dropout call.

    places (R, B) is the permutation inside each run's mini-batch: an example takes its mask with it.
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
