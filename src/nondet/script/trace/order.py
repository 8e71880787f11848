"""Watch the order of files, the number of cores, and the order in which threads and processes of a pool end."""

from __future__ import annotations

import functools
import os
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from typing import Any

from nondet.script.instead import instead_of
from nondet.script.trace.outside import Outside
from nondet.script.trace.places import above, caller, is_own

PATIENCE = 0.25
"""Seconds to wait for a thread, where threads run one after another."""

LONG = 5.0
"""Seconds to wait for a task of a pool: a task that waits for a later one would never end."""

_sleep = time.sleep


def take_listing(outside: Outside) -> None:
    scandir = os.scandir

    def listed(site: str, plain: Any, path: Any = ".") -> list[Any]:
        return _in_order(sorted(plain(path), key=str), outside.number("listing", site))

    outside.take("listing", os, "listdir", listed, "os.listdir")

    class Entries(ExitStack):  # which can be closed and used in `with`, too
        """What os.scandir returns."""

        def __init__(self, entries: list[Any]) -> None:
            super().__init__()
            self.entries = iter(entries)

        def __iter__(self) -> Iterator[Any]:
            return self.entries

        def __next__(self) -> Any:
            return next(self.entries)

    @instead_of(os, "scandir")
    def scanning(path: Any = ".") -> Any:
        site = caller(above())
        if not site:
            return scandir(path)
        with scandir(path) as entries:
            found = list(entries)
        if outside.pinned:
            found = _in_order(sorted(found, key=lambda entry: str(entry.name)), outside.number("listing", site))
        outside.note("listing", site, [entry.name for entry in found], "os.scandir")
        return Entries(found)


def _in_order(items: list[Any], number: int) -> list[Any]:
    """Return items as they are, or in another order that depends on a number."""
    return items if not number else random.Random(number).sample(items, len(items))


def take_cores(outside: Outside) -> None:
    """Take over the number of cores: a script that uses that many threads computes differently on another machine."""

    def fewer(site: str, plain: Any, *args: Any) -> Any:
        found = plain(*args)
        if not outside.number("cores", site):
            return found
        if isinstance(found, set):
            return {*sorted(found)[1:]} or {0, 1}
        return found - 1 if found and found > 1 else 2

    for name in ("cpu_count", "process_cpu_count", "sched_getaffinity"):
        outside.take("cores", os, name, fewer, f"os.{name}")


def take_threads(outside: Outside) -> None:
    """Take over threads and tasks of pools: pinned, they run one after another; given a number, they wait first."""
    _take_executors(outside)
    _take_pools(outside)
    plain = threading.Thread.start

    @instead_of(threading.Thread, "start")
    def start(thread: threading.Thread) -> None:
        frame = above()
        if not is_own(frame.f_code.co_filename):
            return plain(thread)

        def begin(run: Callable[..., Any]) -> None:
            if run != thread.run:
                setattr(thread, "run", run)  # noqa: B010
            plain(thread)

        return _in_turn(outside, caller(frame), "threading.Thread", thread.run, begin, lambda _: thread.join(PATIENCE))

    _take_queues(outside)


def _in_turn(
    outside: Outside,
    site: str,
    what: str,
    function: Callable[..., Any],
    begin: Callable[[Callable[..., Any]], Any],
    wait: Callable[[Any], object],
) -> Any:
    """Have a function called at the same time, and note that, if the user's code asks for it.

    If that is pinned, wait for its end; given a number, have it wait first. begin: has it called, and returns what to
    wait for.
    """
    if not site:
        return begin(function)
    late = outside.pinned and outside.number("threads", site)
    begun = begin(functools.partial(_later, _wait(outside, site), function) if late else function)
    if outside.pinned and not late:
        wait(begun)
    outside.note("threads", site, 0, what)
    return begun


def _take_queues(outside: Outside) -> None:
    """Take over what threads put into queues: given a number, they wait first, so that others come before them."""
    if not outside.says(r"(?<!\w)Queue(?!\w)"):
        return
    from queue import Queue

    plain = Queue.put

    @instead_of(Queue, "put")
    def put(queue: Any, *args: Any, **words: Any) -> None:
        site = "" if threading.current_thread() is threading.main_thread() else caller(above())
        if site:
            outside.note("threads", site, 0, "Queue.put")
            if outside.pinned and outside.number("threads", site):
                _sleep(_wait(outside, site))
        plain(queue, *args, **words)


def _wait(outside: Outside, site: str) -> float:
    return (outside.drawn("threads", site) % 8) * 4e-3


def _later(wait: float, function: Callable[..., Any], /, *args: Any, **words: Any) -> Any:
    _sleep(wait)
    return function(*args, **words)


def _take_executors(outside: Outside) -> None:
    from concurrent import futures

    numbers = iter(range(1 << 62))
    completed = futures.as_completed

    def wrap(kind: Any) -> None:
        plain = kind.submit

        @instead_of(kind, "submit")
        def submit(pool: Any, function: Any, /, *args: Any, **words: Any) -> Any:
            site, number = caller(above()), next(numbers)

            def begin(function: Callable[..., Any]) -> Any:
                return plain(pool, function, *args, **words)

            future = _in_turn(outside, site, kind.__name__, function, begin, lambda one: futures.wait([one], LONG))
            future._nondet_order = number
            return future

    @instead_of(futures, "as_completed")
    def as_completed(fs: Any, timeout: float | None = None) -> Iterator[Any]:
        site = caller(above())
        found = sorted(set(fs), key=lambda one: getattr(one, "_nondet_order", 0))
        first = getattr(found[0], "_nondet_order", 0) if found else 0
        come: Iterable[Any] = completed(found, timeout)
        if outside.pinned and site:
            futures.wait(found, timeout)
            come = _in_order(found, outside.number("threads", site))
        seen: list[int] = []
        for one in come:
            seen.append(getattr(one, "_nondet_order", first) - first)
            yield one
        if site:
            outside.note("threads", site, seen, "as_completed")

    wrap(futures.ThreadPoolExecutor)
    if outside.says("ProcessPoolExecutor"):
        wrap(futures.ProcessPoolExecutor)


def _take_pools(outside: Outside) -> None:
    """Take over multiprocessing's pools, whose results come as they are ready."""
    if not outside.says(r"imap_unordered|apply_async|map_async"):
        return
    from multiprocessing.pool import Pool

    asynchronous: Any = Pool.apply_async

    def in_order(site: str, plain: Any, pool: Any, *args: Any, **words: Any) -> Any:
        return iter(_in_order(list(pool.imap(*args, **words)), outside.number("threads", site)))

    outside.take("threads", Pool, "imap_unordered", in_order, "imap_unordered", shown=lambda *_, **words: 0)

    @instead_of(Pool, "apply_async")
    def apply_async(pool: Any, function: Any, *args: Any, **words: Any) -> Any:
        def begin(function: Callable[..., Any]) -> Any:
            return asynchronous(pool, function, *args, **words)

        return _in_turn(outside, caller(above()), "apply_async", function, begin, lambda found: found.wait(LONG))
