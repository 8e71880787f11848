"""numpy's uniform numbers on a CUDA device: many streams at once, equal to numpy's to the last bit.

A stream of `nondet.sources` is numpy's Philox4x64-10 (Salmon et al. 2011) from counter 0. Its `random(dtype=float32)`
uses one 32-bit word for each number, the low half of a 64-bit output before the high half, and keeps the word's upper
24 bits. So word w of a stream depends only on the stream's key and w, and a kernel computes it where it is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from math import prod

import numpy as np
import torch
from torch import Tensor

BLOCKS = 128
"""The number of blocks of eight words in one program of the kernel."""


def available() -> bool:
    """Whether Triton, in which the kernel is written, is installed."""
    return find_spec("triton") is not None


def keys_of(rngs: Sequence[np.random.Generator]) -> Tensor:
    """Return the keys of streams that nothing has been drawn from: (R, 2), the bits of unsigned numbers as int64."""
    keys = [rng.bit_generator.state["state"]["key"] for rng in rngs]
    return torch.from_numpy(np.array(keys, dtype=np.uint64).view(np.int64))


def words(shapes: Sequence[tuple[int, ...]]) -> int:
    """Return how many words of each stream are used for numbers of these shapes."""
    return sum(prod(shape) for shape in shapes)


def uniforms(keys: Tensor, start: Tensor, count: int) -> Tensor:
    """Return the numbers in [0, 1) from words start to start + count of every stream: (R, count) float32.

    keys: (R, 2), see `keys_of`. start: (1,) int64, on the same device as the keys.
    """
    from nondet.training.philox_kernel import launch

    out = torch.empty(len(keys), count, device=keys.device)
    launch(keys, start, out, BLOCKS)
    return out


def draw(
    keys: Tensor, start: Tensor, shapes: Sequence[tuple[int, ...]], places: Tensor, moved: bool = True
) -> list[Tensor]:
    """Return what `dropout.draw_uniforms` draws on the host from streams with these keys, at word `start`.

    places: (R, B). moved: whether any run's places differ from 0, 1, 2 and so on.
    """
    if not shapes:
        return []
    numbers = uniforms(keys, start, words(shapes))
    drawn: list[Tensor] = []
    at = 0
    for shape in shapes:
        rows = numbers[:, at : at + prod(shape)].view(len(keys), *shape)
        at += prod(shape)
        if moved and shape and shape[0] == places.shape[1]:
            index = places.view(*places.shape, *(1 for _ in shape[1:])).expand(-1, *shape)
            rows = rows.gather(1, index)
        drawn.append(rows)
    return drawn
