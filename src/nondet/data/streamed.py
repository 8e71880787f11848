"""Images that stay in their files: decoded when a mini-batch asks for them, in worker processes.

Importing this file imports neither torch nor Pillow, so that a worker starts fast and stays small.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from nondet.data.decode import DRAWS, decode
from nondet.errors import BadInput
from nondet.io import signals as stopping
from nondet.io.cores import available_cores

if TYPE_CHECKING:
    import torch

    from nondet.data.trees import Tree

JOB = 8
"""Images in one job of a worker: few enough to share a batch evenly, enough to hide the cost of a message."""
WORTH_WORKERS = 512
"""Fewer images than this are decoded sooner than workers start."""
MOST_WORKERS = 512

T = TypeVar("T")


def decoder_count(images: int) -> int:
    """How many worker processes decode so many images: NONDET_DECODERS, or one less than the cores; none for few."""
    text = os.environ.get("NONDET_DECODERS")
    if text is None:
        return available_cores() - 1 if images >= WORTH_WORKERS else 0
    if not (text.isascii() and text.isdigit() and int(text[:9]) <= MOST_WORKERS):
        raise BadInput(f"NONDET_DECODERS must be a whole number from 0 to {MOST_WORKERS} (got {text!r}); unset it")
    return int(text)


class Decoders:
    """Worker processes, started when first needed; with workers = 0 this process does the work itself.

    They end with `close`, with this object, or with this process, however that ends.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._pool: ProcessPoolExecutor | None = None

    def submit(self, function: Callable[..., T], *arguments: Any) -> Callable[[], T]:
        """Start a call of a module's function; the answer waits for its result. BadInput if a worker was killed."""
        if self.workers == 0:
            return partial(function, *arguments)
        if self._pool is None:
            # not forked: a copy of a process that runs torch's threads may hang
            stopping.unwind_from_now_on()  # Python's own helper of these processes complains if it is left alone
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self.workers, mp_context=context, initializer=_begin_worker)
        try:
            future = self._pool.submit(function, *arguments)
        except BrokenProcessPool as error:
            raise self._broken() from error
        return partial(self._result, future)

    def map(self, function: Callable[..., T], items: Iterable[Any]) -> Iterator[T]:
        """The function's results for the items, in their order, with few of them under way at a time."""
        waiting: deque[Callable[[], T]] = deque()
        for item in items:
            waiting.append(self.submit(function, item))
            if len(waiting) > 4 * self.workers:
                yield waiting.popleft()()
        while waiting:
            yield waiting.popleft()()

    def close(self) -> None:
        """End the workers; the next call starts new ones."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def _result(self, future: Future[T]) -> T:
        try:
            return future.result()
        except (BrokenProcessPool, CancelledError) as error:  # cancelled: closed by another user of these workers
            raise self._broken() from error

    def _broken(self) -> BadInput:
        self.close()
        return BadInput(
            f"all of the {self.workers} decoding processes must live, and one did not start or was killed, perhaps for "
            "its memory; give the command again, with fewer by NONDET_DECODERS=1, or with none by NONDET_DECODERS=0"
        )


def _begin_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process of the terminal; the main one speaks
    threading.Thread(target=_end_with_main, daemon=True).start()


def _end_with_main() -> None:
    main = multiprocessing.parent_process()
    if main is not None:
        main.join()
    os._exit(1)


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
