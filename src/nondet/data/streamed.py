"""Images that stay in their files: decoded when a mini-batch asks for them, in worker processes.

Importing this file imports neither torch nor Pillow, so that a worker starts fast and stays small.
"""

from __future__ import annotations

import hashlib
import os
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
"""Images in one job of a worker: few enough to share a batch evenly, enough to hide the cost of a message."""


@dataclass(frozen=True, eq=False)
class _Batch:
    """A mini-batch in the making: its parts, one after the other, hold its examples at `places` (m,)."""

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
        """The SHA-256 of what names the data: classes, each image's path, size in bytes and class, in their order, and
        the settings. Not of the pixels: reading the 150 GB of ImageNet for each command would cost more than it tells,
        so a file that is replaced by another of equal length is not noticed. Broken images that were left out are not
        in the list, so leaving out is part of the name.
        """
        tree = self.tree
        digest = hashlib.sha256(repr((tree.classes, self.size, self.resize, self.mean, self.std)).encode())
        for name, size, label in zip(tree.files, tree.sizes.tolist(), tree.labels.tolist(), strict=True):
            digest.update(os.fsencode(name) + f"\0{size}\0{label}\0".encode())
        return digest.hexdigest()

    def draw(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """The crops and flips of one epoch of one run, a row for each of n examples: (n, DRAWS), uniform in [0, 1).

        184 bytes an example, so 236 MB for ImageNet.
        """
        return rng.random((n, DRAWS))

    def batch(self, index: np.ndarray, draws: np.ndarray | None) -> torch.Tensor:
        """The examples of index (m,), in its order, cropped and flipped as their rows of draws (m, DRAWS) say, or as a
        test image is where draws is None: (m, 3, size, size) float32. The same to the last bit with any workers.
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
        """Let the workers begin what a later `batch` of equal arguments will ask for, in place of any earlier wish."""
        self._ahead = self._start(index, draws) if self.decoders.workers else None

    def close(self) -> None:
        """End the workers."""
        self._ahead = None
        self.decoders.close()

    def _start(self, index: np.ndarray, draws: np.ndarray | None) -> _Batch:
        images, places, counts = np.unique(index, return_inverse=True, return_counts=True)
        rows: Sequence[np.ndarray | None] = [None] * len(images)
        if draws is not None:  # an image that several runs ask for is decoded once, and cropped for each
            order = np.argsort(index, kind="stable")
            places = np.argsort(order, kind="stable")
            rows = np.split(draws[order], np.cumsum(counts)[:-1])
        jobs = [(self.tree.files[image], row) for image, row in zip(images, rows, strict=False)]
        parts = [
            self.decoders.submit(decode, self.tree.root, jobs[first : first + JOB], self.size, self.resize)
            for first in range(0, len(jobs), JOB)
        ]
        return _Batch(index.copy(), None if draws is None else draws.copy(), places, parts)
