"""Images that stay in their files until a mini-batch needs them; worker processes decode them.

Importing this module imports neither torch nor Pillow, so that workers start fast and stay small.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from nondet.data.decode import DRAWS, decode
from nondet.data.decoders import Decoders

if TYPE_CHECKING:
    import torch

    from nondet.data.trees import Tree

JOB = 8
"""Images in one job for a worker: few enough to share a batch evenly, enough to hide the cost of a message."""


@dataclass(frozen=True, eq=False)
class _Batch:
    """A mini-batch being decoded: its parts, joined in order, have its examples at `places` (m,)."""

    index: np.ndarray
    draws: np.ndarray | None
    places: np.ndarray
    parts: list[Callable[[], np.ndarray]]

    def answers(self, index: np.ndarray, draws: np.ndarray | None) -> bool:
        if not np.array_equal(index, self.index):
            return False
        return draws is self.draws or (
            draws is not None and self.draws is not None and np.array_equal(draws, self.draws)
        )


@dataclass(eq=False)
class Streamed:
    """The images of a tree as a task's inputs, normalised, n x 3 x size x size, never all in memory.

    size: the side of what `batch` returns, in pixels. resize: the short side of a test image before its central crop.
    mean, std: of the three channels of pixels scaled to [0, 1].
    """

    tree: Tree
    decoders: Decoders
    size: int = 224
    resize: int = 256
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    _ahead: _Batch | None = field(default=None, init=False, repr=False)

    def __len__(self) -> int:
        return len(self.tree.files)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(n, C, H, W) of all examples."""
        return len(self), 3, self.size, self.size

    @cached_property
    def identity(self) -> str:
        """The SHA-256 of what identifies the data: the settings, the classes, and each image's path, size and class.

        It does not cover the pixels: reading ImageNet's 150 GB for each command would cost too much. So a file that
        is replaced by another of equal length is not noticed. Broken images that were left out are not in the list,
        so leaving them out changes the identity.
        """
        tree = self.tree
        return tree.digest(repr((tree.classes, self.size, self.resize, self.mean, self.std)), tree.labels)

    def draw(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Draw the crops and flips of a run for one epoch, a row for each of n examples: (n, DRAWS), uniform in [0, 1).

        That is 184 bytes per example, so 236 MB for ImageNet.
        """
        return rng.random((n, DRAWS))

    def batch(self, index: np.ndarray, draws: np.ndarray | None) -> torch.Tensor:
        """Return the examples index (m,), in order: (m, 3, size, size) float32.

        They are cropped and flipped by their rows of draws (m, DRAWS), or as test images if draws is None. The bits
        do not depend on the number of workers.
        """
        import torch

        if self._ahead is not None and self._ahead.answers(index, draws):
            batch, self._ahead = self._ahead, None
        else:
            batch = self._start(index, draws)
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (self.mean, self.std))
        images = torch.empty((len(index), *self.shape[1:]))
        begin = 0
        for part in batch.parts:
            pixels = torch.from_numpy(part())  # (k, C, H, W)
            inside = (batch.places >= begin) & (batch.places < begin + len(pixels))
            for row in np.flatnonzero(inside).tolist():  # one image at a time: it stays in the processor's cache
                images[row].copy_(pixels[batch.places[row] - begin]).div_(255).sub_(mean).div_(std)
            begin += len(pixels)
        return images

    def prefetch(self, index: np.ndarray, draws: np.ndarray | None) -> None:
        """Let the workers begin what a later `batch` with equal arguments will need, instead of any earlier one."""
        self._ahead = self._start(index, draws) if self.decoders.workers else None

    def close(self) -> None:
        """Stop the workers."""
        self._ahead = None
        self.decoders.close()

    def _start(self, index: np.ndarray, draws: np.ndarray | None) -> _Batch:
        images, places, counts = np.unique(index, return_inverse=True, return_counts=True)
        rows: Sequence[np.ndarray | None] = [None] * len(images)
        if draws is not None:  # an image that several runs need is decoded once, and cropped for each
            order = np.argsort(index, kind="stable")
            places = np.argsort(order, kind="stable")
            rows = np.split(draws[order], np.cumsum(counts)[:-1])
        jobs = [(self.tree.files[image], row) for image, row in zip(images, rows, strict=False)]
        parts = [
            self.decoders.submit(decode, self.tree.root, jobs[first : first + JOB], self.size, self.resize)
            for first in range(0, len(jobs), JOB)
        ]
        return _Batch(index.copy(), None if draws is None else draws.copy(), places, parts)
