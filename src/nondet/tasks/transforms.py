"""Transforms of others as augmentations: of one example, such as those of torchvision, or of a whole mini-batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nondet.errors import BadInput
from nondet.sources import seeded_globals

OF_BATCHES = ("MixUp", "CutMix", "RandomMixup", "RandomCutmix")
"""Transforms that mix the examples of a mini-batch, by their names in torchvision and its references."""


@dataclass(frozen=True)
class Transform:
    """A function of one example that draws from the global generators: they are seeded for each from its draw."""

    transform: Any

    def draw(self, rng: np.random.Generator, n: int) -> np.ndarray:
        return rng.integers(2**63, size=(n, 1))

    def apply(self, inputs: Tensor, draws: Tensor) -> Tensor:
        changed: list[Tensor] = []
        for example, seed in zip(inputs, draws[:, 0].tolist(), strict=True):
            with seeded_globals(np.random.default_rng(seed)):
                changed.append(torch.as_tensor(self.transform(example)))
        return torch.stack(changed)


@dataclass(frozen=True)
class BatchTransform:
    """A function (inputs, labels) -> (inputs, labels) of a mini-batch; the draw of its first example seeds it."""

    transform: Any

    def draw(self, rng: np.random.Generator, n: int) -> np.ndarray:
        return rng.integers(2**63, size=(n, 1))

    def apply(self, inputs: Tensor, draws: Tensor) -> Tensor:
        return inputs

    def mix(self, inputs: Tensor, labels: Tensor, draws: np.ndarray) -> tuple[Tensor, Tensor]:
        """A mini-batch (B, ...) of one run, changed; draws (B, 1)."""
        with seeded_globals(np.random.default_rng(int(draws[0, 0]))):
            return self.transform(inputs, labels)


@dataclass(frozen=True)
class Mixup:
    """Each example mixed with another of its mini-batch, and their labels alike (Zhang et al., ICLR 2018).

    The weight of the example is drawn from Beta(alpha, alpha), once for each mini-batch. classes: the number of
    classes, whose labels become shares; 0 where labels are real numbers, which are mixed as they are.
    """

    alpha: float = 0.2
    classes: int = 0

    def draw(self, rng: np.random.Generator, n: int) -> np.ndarray:
        return rng.integers(2**63, size=(n, 1))

    def apply(self, inputs: Tensor, draws: Tensor) -> Tensor:
        return inputs

    def mix(self, inputs: Tensor, labels: Tensor, draws: np.ndarray) -> tuple[Tensor, Tensor]:
        """A mini-batch (B, ...) of one run, mixed; draws (B, 1), of which the first seeds it."""
        if not labels.is_floating_point() and self.classes < 2:
            raise BadInput(
                f"Mixup mixes class numbers as shares of the classes (got classes={self.classes}); say how many there "
                "are: nondet.Mixup(0.2, classes=10)"
            )
        rng = np.random.default_rng(int(draws[0, 0]))
        weight, other = rng.beta(self.alpha, self.alpha), torch.from_numpy(rng.permutation(len(inputs)))
        if not labels.is_floating_point():
            labels = torch.nn.functional.one_hot(labels, self.classes).to(inputs.dtype)
        other = other.to(inputs.device)
        return (
            weight * inputs + (1 - weight) * inputs[other],
            weight * labels + (1 - weight) * labels[other],
        )


def adapted(augmentation: Any) -> Any:
    """An augmentation as it is; a transform as one."""
    if hasattr(augmentation, "draw") and hasattr(augmentation, "apply"):
        return augmentation
    mixes = type(augmentation).__name__ in OF_BATCHES
    return BatchTransform(augmentation) if mixes else Transform(augmentation)
