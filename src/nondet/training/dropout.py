"""Dropout inside a stack: every run takes its masks from its own stream.

Under vmap a model cannot draw its own random numbers, and torch's global generator would tie the runs together. So
each call of a dropout function in the model's forward pass is met by a function mode, and answered with uniform
numbers drawn beforehand. How many calls there are, and of which shapes, one trial run of the model tells.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

_ELEMENTS: dict[Any, bool] = {F.dropout: True, F.dropout1d: False, F.dropout2d: False, F.dropout3d: False}
"""Whether the function drops single elements, or else whole channels."""


class _Dropout(TorchFunctionMode):
    def __init__(self, uniforms: Callable[[tuple[int, ...], torch.dtype], Tensor]) -> None:
        super().__init__()
        self.uniforms = uniforms

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func not in _ELEMENTS:
            return func(*args, **(kwargs or {}))
        call = inspect.signature(func).bind(*args, **(kwargs or {}))
        call.apply_defaults()
        x, p = call.arguments["input"], float(call.arguments["p"])
        if not call.arguments["training"] or p == 0:
            return x
        if p == 1:
            return x * 0
        shape = tuple(x.shape) if _ELEMENTS[func] else (*x.shape[:2], *(1 for _ in x.shape[2:]))
        keep = self.uniforms(shape, x.dtype) >= p
        return x * (keep.to(x.dtype) / (1 - p))


@contextmanager
def recorded_dropout() -> Generator[list[tuple[int, ...]]]:
    """Drop nothing, and note the shape of the uniform numbers that each dropout call would take."""
    shapes: list[tuple[int, ...]] = []

    def ones(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        shapes.append(shape)
        return torch.ones((), dtype=dtype)

    with _Dropout(ones):
        yield shapes


@contextmanager
def given_dropout(uniforms: Sequence[Tensor]) -> Generator[None]:
    """Answer each dropout call with the next of these uniform numbers in [0, 1)."""
    rest = iter(uniforms)
    with _Dropout(lambda shape, dtype: next(rest)):
        yield


def draw_uniforms(
    rngs: Sequence[np.random.Generator], shapes: Sequence[tuple[int, ...]], places: np.ndarray, device: torch.device
) -> list[Tensor]:
    """The uniform numbers of one step for every run of a stack, one tensor (R, *shape) for each dropout call.

    places (R, B) is the permutation inside each run's mini-batch: an example takes its mask with it.
    """
    drawn: list[Tensor] = []
    for shape in shapes:
        rows = [rng.random(shape, dtype=np.float32) for rng in rngs]
        if shape and shape[0] == places.shape[1]:
            rows = [row[place] for row, place in zip(rows, places, strict=True)]
        drawn.append(torch.from_numpy(np.stack(rows)).to(device))
    return drawn
