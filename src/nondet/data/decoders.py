"""Worker processes that decode images."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from typing import Any, TypeVar

from nondet.errors import BadInput
from nondet.io import signals as stopping
from nondet.io.cores import available_cores

WORTH_WORKERS = 512
"""Decoding fewer images than this takes less time than starting workers."""
MOST_WORKERS = 512

T = TypeVar("T")


def decoder_count(images: int) -> int:
    """Return how many workers to use: NONDET_DECODERS, or one less than the cores; none for few images."""
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
        """Start a call of a module's function, and return a function that waits for the result.

        BadInput if a worker was killed.
        """
        if self.workers == 0:
            return partial(function, *arguments)
        if self._pool is None:
            # not forked: a fork of a process with torch's threads may hang
            stopping.unwind_from_now_on()  # Python's helper for these processes complains if it is left behind
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self.workers, mp_context=context, initializer=_begin_worker)
        try:
            future = self._pool.submit(function, *arguments)
        except BrokenProcessPool as error:
            raise self._broken() from error
        return partial(self._result, future)

    def map(self, function: Callable[..., T], items: Iterable[Any]) -> Iterator[T]:
        """Yield the function's results for the items in order, with only a few calls running at a time."""
        waiting: deque[Callable[[], T]] = deque()
        for item in items:
            waiting.append(self.submit(function, item))
            if len(waiting) > 4 * self.workers:
                yield waiting.popleft()()
        while waiting:
            yield waiting.popleft()()

    def close(self) -> None:
        """Stop the workers; the next call starts new ones."""
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
            f"all of the {self.workers} decoding processes must stay alive, but one did not start or was killed, "
            "perhaps for lack of memory; give the command again with NONDET_DECODERS=1, or NONDET_DECODERS=0 for none"
        )


def _begin_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process of the terminal; the main one prints
    threading.Thread(target=_end_with_main, daemon=True).start()


def _end_with_main() -> None:
    main = multiprocessing.parent_process()
    if main is not None:
        main.join()
    os._exit(1)
