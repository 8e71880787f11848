"""Other packages' transforms as augmentations: of one example, as in torchvision, or of a whole mini-batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nondet.errors import BadInput
from nondet.sources import seeded_globals

OF_BATCHES = ("MixUp", "CutMix", "RandomMixup", "RandomCutmix")
"""Transforms that mix the examples of a mini-batch, by their names in torchvision and its reference scripts."""


class _Seeded:
    """An augmentation that draws a seed for each example; alone, it leaves the inputs as they are."""

    def draw(self, rng: np.random.Generator, n: int) -> np.ndarray:
        return rng.integers(2**63, size=(n, 1))

    def apply(self, inputs: Tensor, draws: Tensor) -> Tensor:
        return inputs


@dataclass(frozen=True)
class Transform(_Seeded):
    """A function of one example that draws from the global generators, which each example's draw seeds."""

    transform: Any

    def apply(self, inputs: Tensor, draws: Tensor) -> Tensor:
        changed: list[Tensor] = []
        for example, seed in zip(inputs, draws[:, 0].tolist(), strict=True):
            with seeded_globals(np.random.default_rng(seed)):
                changed.append(torch.as_tensor(self.transform(example)))
        return torch.stack(changed)


@dataclass(frozen=True)
class BatchTransform(_Seeded):
    """A function (inputs, labels) -> (inputs, labels) of a mini-batch, seeded by the draw of its first example."""

    transform: Any

    def mix(self, inputs: Tensor, labels: Tensor, draws: np.ndarray) -> tuple[Tensor, Tensor]:
        """Change one run's mini-batch (B, ...); draws (B, 1)."""
        with seeded_globals(np.random.default_rng(int(draws[0, 0]))):
            return self.transform(inputs, labels)


@dataclass(frozen=True)
class Mixup(_Seeded):
    """Mix each example with another of its mini-batch, and their labels in the same way (Zhang et al., ICLR 2018).

    The weight of the example is drawn from Beta(alpha, alpha), once for each mini-batch. classes: the number of
    classes, since class labels become shares; 0 if labels are real numbers, which are mixed as they are.
    """

    alpha: float = 0.2
    classes: int = 0

    def mix(self, inputs: Tensor, labels: Tensor, draws: np.ndarray) -> tuple[Tensor, Tensor]:
        """Mix one run's mini-batch (B, ...); the first of its draws (B, 1) seeds it."""
        if not labels.is_floating_point() and self.classes < 2:
            raise BadInput(
                f"Mixup must know the number of classes to mix class labels (got classes={self.classes}); pass it, as "
                "in nondet.Mixup(0.2, classes=10)"
            )
        rng = np.random.default_rng(int(draws[0, 0]))
        weight, other = rng.beta(self.alpha, self.alpha), torch.from_numpy(rng.permutation(len(inputs)))
        if not labels.is_floating_point():
            labels = torch.nn.functional.one_hot(labels, self.classes).to(inputs.dtype)
        other = other.to(inputs.device)
        return weight * inputs + (1 - weight) * inputs[other], weight * labels + (1 - weight) * labels[other]


def adapted(augmentation: Any) -> Any:
    """Return an augmentation unchanged, and a transform wrapped as an augmentation."""
    if hasattr(augmentation, "draw") and hasattr(augmentation, "apply"):
        return augmentation
    mixes = type(augmentation).__name__ in OF_BATCHES
    return BatchTransform(augmentation) if mixes else Transform(augmentation)
