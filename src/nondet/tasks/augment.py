"""Random augmentations whose draws belong to the example and the epoch, not to the position in a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from nondet.errors import BadInput
from nondet.sources import SOURCES, Source


class Augmentation(Protocol):
    """One random change of the training inputs. Write your own as a frozen dataclass with these two methods.

    It may also have `source`, a `Source` to draw from instead of `augment`, and a method `label(labels, draws)` that
    returns the changed training labels (m,).
    """

    def draw(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Draw one row of whole numbers for each of n examples: (n, k)."""
        ...

    def apply(self, inputs: Tensor, draws: Tensor) -> Tensor:
        """Return the inputs (m, ...), each changed according to its row of draws (m, k)."""
        ...


def source_of(augmentation: object) -> Source:
    """Return the source that an augmentation draws from."""
    return getattr(augmentation, "source", SOURCES["augment"])


@dataclass(frozen=True)
class Crop:
    """A random crop to the original size, after `padding` pixels of padding; every offset is equally likely.

    fill: the padding's value for each channel; zeros if left out. For normalised images, use a black pixel's value.
    """

    padding: int
    fill: tuple[float, ...] = ()

    def draw(self, rng: np.random.Generator, n: int) -> np.ndarray:
        return rng.integers(2 * self.padding + 1, size=(n, 2))

    def apply(self, inputs: Tensor, draws: Tensor) -> Tensor:
        _check_images(inputs, "Crop")
        m, channels, height, width = inputs.shape
        padded = padded_images(inputs, self.padding, self.fill)
        rows = draws[:, :1] + torch.arange(height, device=inputs.device)  # (m, H)
        columns = draws[:, 1:] + torch.arange(width, device=inputs.device)  # (m, W)
        pixels = rows[:, :, None] * padded.shape[3] + columns[:, None, :]  # (m, H, W): places in a padded plane
        pixels = pixels.view(m, 1, height * width).expand(-1, channels, -1)
        return padded.flatten(2).gather(2, pixels).view(m, channels, height, width)


def padded_images(inputs: Tensor, padding: int, fill: Sequence[float] = ()) -> Tensor:
    """Pad images (m, C, H, W) with p = `padding` pixels of value `fill` on every side: (m, C, H + 2p, W + 2p)."""
    padded = F.pad(inputs, (padding,) * 4)
    if fill and padding:
        values = [torch.full((), value, dtype=inputs.dtype, device=inputs.device) for value in fill]  # no waiting
        padded = torch.stack(values)[:, None, None].expand_as(padded).clone()  # (m, C, H, W)
        padded[:, :, padding:-padding, padding:-padding] = inputs
    return padded


@dataclass(frozen=True)
class Flip:
    """A horizontal flip with probability 1/2."""

    def draw(self, rng: np.random.Generator, n: int) -> np.ndarray:
        return rng.integers(2, size=(n, 1))

    def apply(self, inputs: Tensor, draws: Tensor) -> Tensor:
        _check_images(inputs, "Flip")
        return torch.where(draws.view(-1, 1, 1, 1) == 1, inputs.flip(-1), inputs)


def _check_images(inputs: Tensor, name: str) -> None:
    if inputs.dim() != 4:
        raise BadInput(
            f"{name} is for images of shape (n, channels, height, width) (got inputs of shape (n, "
            f"{', '.join(map(str, inputs.shape[1:]))})); leave it out, or write an augmentation for such inputs"
        )
