"""Watch the order of files, the number of cores, and the order in which threads and processes of a pool end."""

from __future__ import annotations

import functools
import os
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from nondet.script.trace.outside import Outside
from nondet.script.trace.places import above, caller, is_own

PATIENCE = 0.25
"""Seconds to wait for a thread, where threads run one after another."""

LONG = 5.0
"""Seconds to wait for a task of a pool: a task that waits for a later one would never end."""

_sleep = time.sleep


def take_listing(outside: Outside) -> None:
    listdir, scandir = os.listdir, os.scandir

    def ordered(names: list[Any], site: str, name: Callable[[Any], str]) -> list[Any]:
        if not outside.pinned:
            return names
        return _in_order(sorted(names, key=name), outside.number("listing", site))

    def listing(path: Any = ".") -> list[Any]:
        found = listdir(path)
        site = caller(above())
        if site:
            found = ordered(found, site, str)
            outside.note("listing", site, found, "os.listdir")
        return found

    class Entries:
        """What os.scandir returns."""

        def __init__(self, entries: list[Any]) -> None:
            self.entries = iter(entries)

        def __iter__(self) -> Iterator[Any]:
            return self

        def __next__(self) -> Any:
            return next(self.entries)

        def __enter__(self) -> Entries:
            return self

        def __exit__(self, *_: object) -> None:
            self.close()

        def close(self) -> None:
            pass

    def scanning(path: Any = ".") -> Any:
        site = caller(above())
        if not site:
            return scandir(path)
        with scandir(path) as entries:
            found = list(entries)
        found = ordered(found, site, lambda entry: str(entry.name))
        outside.note("listing", site, [entry.name for entry in found], "os.scandir")
        return Entries(found)

    os.listdir, os.scandir = listing, scanning


def _in_order(items: list[Any], number: int) -> list[Any]:
    """Return items as they are, or in another order that depends on a number."""
    return items if not number else random.Random(number).sample(items, len(items))


def take_cores(outside: Outside) -> None:
    """Take over the number of cores: a script that uses that many threads computes differently on another machine."""

    def wrap(home: Any, name: str, other: Callable[[Any], Any]) -> None:
        plain = getattr(home, name, None)
        if plain is None:
            return

        @functools.wraps(plain)
        def asked(*args: Any) -> Any:
            found, site = plain(*args), caller(above())
            if not site:
                return found
            if outside.pinned and outside.number("cores", site):
                found = other(found)
            outside.note("cores", site, found, f"os.{name}")
            return found

        setattr(home, name, asked)

    wrap(os, "cpu_count", lambda n: n - 1 if n and n > 1 else 2)
    wrap(os, "process_cpu_count", lambda n: n - 1 if n and n > 1 else 2)
    wrap(os, "sched_getaffinity", lambda cores: {*sorted(cores)[1:]} or {0, 1})


def take_threads(outside: Outside) -> None:
    """Take over threads and tasks of pools: pinned, they run one after another; given a number, they wait first."""
    _take_executors(outside)
    _take_pools(outside)
    plain = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        frame = above()
        if not is_own(frame.f_code.co_filename):
            return plain(thread)
        site = caller(frame)
        if outside.pinned and outside.number("threads", site):
            setattr(thread, "run", functools.partial(_later, _wait(outside, site), thread.run))  # noqa: B010
        plain(thread)
        if outside.pinned and not outside.number("threads", site):
            thread.join(PATIENCE)
        outside.note("threads", site, 0, "threading.Thread")
        return None

    threading.Thread.start = start  # pyright: ignore[reportAttributeAccessIssue]
    _take_queues(outside)


def _take_queues(outside: Outside) -> None:
    """Take over what threads put into queues: given a number, they wait first, so that others come before them."""
    if not outside.says(r"(?<!\w)Queue(?!\w)"):
        return
    from queue import Queue

    kind: Any = Queue
    plain = kind.put

    @functools.wraps(plain)
    def put(queue: Any, *args: Any, **words: Any) -> None:
        site = "" if threading.current_thread() is threading.main_thread() else caller(above())
        if site:
            outside.note("threads", site, 0, "Queue.put")
            if outside.pinned and outside.number("threads", site):
                _sleep(_wait(outside, site))
        plain(queue, *args, **words)

    kind.put = put


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

        @functools.wraps(plain)
        def submit(pool: Any, function: Any, /, *args: Any, **words: Any) -> Any:
            site = caller(above())
            number = next(numbers)
            if outside.pinned and site and outside.number("threads", site):
                function = functools.partial(_later, _wait(outside, site), function)
            future = plain(pool, function, *args, **words)
            if outside.pinned and site and not outside.number("threads", site):
                futures.wait([future], LONG)
            future._nondet_order = number
            if site:
                outside.note("threads", site, 0, kind.__name__)
            return future

        kind.submit = submit

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
    futures.as_completed = as_completed


def _take_pools(outside: Outside) -> None:
    """Take over multiprocessing's pools, whose results come as they are ready."""
    if not outside.says(r"imap_unordered|apply_async|map_async"):
        return
    from multiprocessing.pool import Pool

    kind: Any = Pool
    unordered, asynchronous = kind.imap_unordered, Pool.apply_async

    def imap_unordered(pool: Any, *args: Any, **words: Any) -> Any:
        site = caller(above())
        if not site:
            return unordered(pool, *args, **words)
        outside.note("threads", site, 0, "imap_unordered")
        if not outside.pinned:
            return unordered(pool, *args, **words)
        return iter(_in_order(list(pool.imap(*args, **words)), outside.number("threads", site)))

    def apply_async(pool: Any, function: Any, *args: Any, **words: Any) -> Any:
        site = caller(above())
        if not site:
            return asynchronous(pool, function, *args, **words)
        number = outside.number("threads", site)
        if outside.pinned and number:
            function = functools.partial(_later, _wait(outside, site), function)
        found: Any = asynchronous(pool, function, *args, **words)
        if outside.pinned and not number:
            found.wait(LONG)
        outside.note("threads", site, 0, "apply_async")
        return found

    kind.imap_unordered, kind.apply_async = imap_unordered, apply_async
