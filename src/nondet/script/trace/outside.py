"""What comes from outside of a program: the clock, unseeded generators, the order of files, of threads, of memory.

Each kind is noted with the user's line that asks for it. Where it is pinned, it is a function of its kind, its line,
how often that line has asked, and a number, as if it were a source with a seed: two processes get the same, and another
number gives another.
"""

from __future__ import annotations

import datetime
import functools
import hashlib
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from nondet.script.trace.places import above, caller, is_own
from nondet.script.trace.values import digest

KINDS = (
    "clock",
    "process",
    "python",
    "numpy",
    "torch",
    "generator",
    "urandom",
    "listing",
    "threads",
    "memory",
)
"""In this order they are asked whether they reach the training."""

TORCH_SEED = 67_280_421_310_721
"""What torch seeds its generator with if nobody does."""

_BEGAN = 1_700_000_000.0
_TICK = 1e-3
"""A pinned clock begins then, and moves so many seconds with each look at it."""


class Outside:
    """Wraps what asks the world outside, and notes it.

    pins: of each kind a number, or none where nothing is pinned. sites: of KIND@FILE:LINE another number.
    write: takes a record.
    """

    def __init__(self, pins: Mapping[str, int] | None, sites: Mapping[str, int], write: Callable[[list[Any]], None]):
        self.pins, self.sites, self.write = pins, sites, write
        self.count: Counter[str] = Counter()
        self.seeded = {"python": False, "numpy": False, "torch": False}
        self.ticks = 0
        self.busy = False
        self.on_seed: Callable[[str, str, Any], None] = lambda kind, site, seed: None
        self._first: Any = None  # torch's state as it is imported

    @property
    def pinned(self) -> bool:
        return self.pins is not None

    def number(self, kind: str, site: str) -> int:
        """The number of a kind at a line."""
        return self.sites.get(f"{kind}@{site}", (self.pins or {}).get(kind, 0))

    def drawn(self, kind: str, site: str) -> int:
        """64 bits of a kind for this call of a line."""
        self.count[kind + site] += 1
        text = f"{kind} {site} {self.count[kind + site]} {self.number(kind, site)}"
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")

    def note(self, kind: str, site: str, value: Any, what: str) -> None:
        self.write(["o", kind, site, digest(value), what])

    def take_over(self) -> None:
        self._clock()
        self._process()
        self._urandom()
        self._python()
        self._listing()
        self._pools()

    # --- the clock and the process

    def now(self, site: str) -> float:
        """Seconds of a pinned clock."""
        self.ticks += 1
        number = self.number("clock", site)
        return _BEGAN + self.ticks * _TICK + (number * 7_919.317 if number else 0.0)

    def _clock(self) -> None:
        for name in ("time", "perf_counter", "monotonic", "process_time"):
            for suffix, unit in (("", 1.0), ("_ns", 1e9)):
                self._clock_function(name + suffix, unit)
        outer, plain = self, datetime.datetime

        class Kind(type):
            def __instancecheck__(cls, instance: object) -> bool:
                return isinstance(instance, plain)

        class Datetime(plain, metaclass=Kind):
            @classmethod
            def now(cls, tz: Any = None) -> Any:
                site = caller(above())
                if not site:
                    return plain.now(tz)
                found = plain.fromtimestamp(outer.now(site), tz) if outer.pinned else plain.now(tz)
                outer.note("clock", site, found, "datetime.now")
                return found

            utcnow = today = now

        for name in ("__name__", "__qualname__", "__module__"):  # so that it prints and is found by its own name
            setattr(Datetime, name, getattr(plain, name))
        datetime.datetime = Datetime

    def _clock_function(self, name: str, unit: float) -> None:
        plain = getattr(time, name)

        @functools.wraps(plain)
        def asked() -> Any:
            frame = above()
            if not is_own(frame.f_code.co_filename):
                return plain()
            site = caller(frame)
            found = self.now(site) if self.pinned else None
            value = plain() if found is None else (int(found * 1e9) if unit > 1 else found)
            self.note("clock", site, value, f"time.{name}")
            return value

        setattr(time, name, asked)

    def _process(self) -> None:
        plain = os.getpid

        def getpid() -> int:
            site = caller(above())
            if not site:
                return plain()
            value = 2 + self.drawn("process", site) % 30_000 if self.pinned else plain()
            self.note("process", site, value, "os.getpid")
            return value

        os.getpid = getpid

    # --- random numbers from nowhere

    def _urandom(self) -> None:
        plain = os.urandom

        def urandom(size: int, /) -> bytes:
            site = caller(above())
            if not site or self.busy:
                return plain(size)
            if self.pinned:
                seed = self.drawn("urandom", site).to_bytes(8, "little")
                value = b"".join(hashlib.sha256(seed + bytes([n % 256])).digest() for n in range(size // 32 + 1))[:size]
            else:
                value = plain(size)
            self.note("urandom", site, value, "os.urandom")
            return value

        os.urandom = urandom
        setattr(random, "_urandom", urandom)  # noqa: B010 - of SystemRandom and secrets

    def _python(self) -> None:
        if self.pinned:
            random.seed(self.number("python", ""))
        self._watch_global(
            "python",
            random,
            [
                name
                for name in random.__all__
                if isinstance(getattr(getattr(random, name), "__self__", None), random.Random)
            ],
            (random.getstate, random.setstate, random.seed),
        )
        plain, outer = random.Random.__init__, self

        def init(self: random.Random, x: Any = None) -> None:
            site = caller(above()) if x is None else ""
            if site and type(self) is random.Random:
                plain(self, outer.drawn("generator", site) if outer.pinned else None)
                outer.note("generator", site, self, "random.Random()")
            else:
                plain(self, x)

        random.Random.__init__ = init  # pyright: ignore[reportAttributeAccessIssue]

    def _watch_global(self, kind: str, module: Any, names: Iterable[str], state: tuple[Any, Any, Any]) -> None:
        """Note each draw from a library's global generator until the program seeds it."""
        get, put, seed = state
        quiet = ("seed", "getstate", "setstate", "get_state", "set_state", "get_bit_generator", "set_bit_generator")

        def wrap(name: str) -> None:
            plain = getattr(module, name)

            @functools.wraps(plain)
            def draw(*args: Any, **words: Any) -> Any:
                if self.seeded[kind] or self.busy:
                    return plain(*args, **words)
                site = caller(above())
                if not site:
                    return plain(*args, **words)
                self.busy = True
                try:
                    before = get()
                    if self.pinned:
                        seed(self.drawn(kind, site) & 0xFFFFFFFF)
                    value = plain(*args, **words)
                    if self.pinned:
                        put(before)
                    shown = [value, args[0]] if name == "shuffle" else value
                    self.note(kind, site, shown, f"{module.__name__}.{name}")
                finally:
                    self.busy = False
                return value

            draw.__dict__["__self__"] = plain.__self__  # as what it wraps has it, for those who look
            setattr(module, name, draw)

        for name in names:
            if name not in quiet:
                wrap(name)

        @functools.wraps(seed)
        def seeding(*args: Any, **words: Any) -> Any:
            given = [*args, *words.values()]
            site = caller(above())
            if given and given[0] is not None:
                where = caller(above(), far=True)
                self.seeded[kind] = True
                self.write(["s", kind, where, digest(given[0])])
                self.on_seed(kind, where, given[0])
                return seed(*args, **words)
            if self.pinned and site:
                seed(self.drawn(kind, site) & 0xFFFFFFFF)
            else:
                seed(*args, **words)
            if site:
                self.seeded[kind] = True
                self.note(kind, site, [str(get())], f"{module.__name__}.seed()")

        if seed is not None:
            module.seed = seeding

    def numpy(self) -> None:
        """numpy's generators, once it is imported."""
        module: Any = sys.modules["numpy.random"]
        if self.pinned:
            module.seed(self.number("numpy", ""))
        names = [
            n for n in module.__all__ if isinstance(getattr(getattr(module, n), "__self__", None), module.RandomState)
        ]
        self._watch_global("numpy", module, names, (module.get_state, module.set_state, module.seed))
        self._maker(module, "default_rng")

    def _maker(self, module: Any, name: str) -> None:
        plain = getattr(module, name)

        @functools.wraps(plain)
        def make(seed: Any = None) -> Any:
            site = caller(above())
            if seed is not None or not site:
                if site and not isinstance(seed, module.Generator):
                    self.write(["g", site, f"numpy.random.{name}", digest(seed)])
                    self.on_seed("generator", site, seed)
                return plain(seed)
            self.busy = True
            try:
                found = plain(self.drawn("generator", site) if self.pinned else None)
            finally:
                self.busy = False
            self.note("generator", site, found, f"numpy.random.{name}()")
            return found

        setattr(module, name, make)

    # --- order

    def _listing(self) -> None:
        listdir, scandir = os.listdir, os.scandir

        def ordered(names: list[Any], site: str, name: Callable[[Any], str]) -> list[Any]:
            number = self.number("listing", site)
            if not self.pinned:
                return names
            names = sorted(names, key=name)
            return names if not number else random.Random(number).sample(names, len(names))

        def listing(path: Any = ".") -> list[Any]:
            found = listdir(path)
            site = caller(above())
            if site:
                found = ordered(found, site, str)
                self.note("listing", site, found, "os.listdir")
            return found

        class Entries:
            """As os.scandir gives them."""

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
            self.note("listing", site, [entry.name for entry in found], "os.scandir")
            return Entries(found)

        os.listdir, os.scandir = listing, scanning

    def _pools(self) -> None:
        """Tasks of thread pools: pinned they run one after the other; with another number they wait before they run."""
        from concurrent import futures

        numbers = iter(range(1 << 62))
        outer = self
        plain_submit, plain_completed = futures.ThreadPoolExecutor.submit, futures.as_completed

        def submit(pool: Any, function: Any, /, *args: Any, **words: Any) -> Any:
            site = caller(above())
            order = next(numbers)
            if outer.pinned and site:
                if not outer.number("threads", site):
                    future: Any = futures.Future()
                    future.set_running_or_notify_cancel()
                    try:
                        future.set_result(function(*args, **words))
                    except BaseException as error:
                        future.set_exception(error)
                else:
                    wait = (outer.drawn("threads", site) % 8) * 4e-3

                    def later(*given: Any, **more: Any) -> Any:
                        _sleep(wait)
                        return function(*given, **more)

                    future = plain_submit(pool, later, *args, **words)
            else:
                future = plain_submit(pool, function, *args, **words)
            future._nondet_order = order
            if site:
                outer.note("threads", site, 0, "ThreadPoolExecutor")
            return future

        def as_completed(fs: Any, timeout: float | None = None) -> Iterator[Any]:
            site = caller(above())
            found = sorted(set(fs), key=lambda one: getattr(one, "_nondet_order", 0))
            first = found[0]._nondet_order if found and hasattr(found[0], "_nondet_order") else 0
            if outer.pinned and site:
                futures.wait(found, timeout)
                number = outer.number("threads", site)
                come: Iterable[Any] = found if not number else random.Random(number).sample(found, len(found))
            else:
                come = plain_completed(found, timeout)
            seen: list[int] = []
            for one in come:
                seen.append(getattr(one, "_nondet_order", first) - first)
                yield one
            if site:
                outer.note("threads", site, seen, "as_completed")

        futures.ThreadPoolExecutor.submit = submit
        futures.as_completed = as_completed

    # --- memory

    def torch(self) -> None:
        """What torch leaves as it finds it, and its own seeding from nowhere."""
        import torch

        for name in ("empty", "empty_like"):
            self._memory(torch, name)
        self._memory(torch.Tensor, "new_empty")
        seeders: list[Any] = [torch, torch.random]
        for module in seeders:
            plain = module.seed

            def seed(plain: Any = plain) -> int:
                site = caller(above())
                value = int(plain())
                if site and self.pinned:
                    value = self.drawn("torch", site) >> 1
                    torch.manual_seed(value)
                if site:
                    self.note("torch", site, value, "torch.seed()")
                return value

            module.seed = seed
        plain_seed = torch.manual_seed

        if self.pinned:  # to torch's own: what was imported before may have drawn
            torch.default_generator.manual_seed(TORCH_SEED)
        self._first = torch.default_generator.get_state()

        @functools.wraps(plain_seed)
        def manual_seed(seed: Any) -> Any:
            where = caller(above(), far=True)
            if not self.seeded["torch"] and not torch.default_generator.get_state().equal(self._first):
                self.write(["late", "torch", where])
            self.seeded["torch"] = True
            self.write(["s", "torch", where, digest(int(seed))])
            self.on_seed("torch", where, seed)
            return plain_seed(seed)

        torch.manual_seed = torch.random.manual_seed = manual_seed

    def _memory(self, home: Any, name: str) -> None:
        plain = getattr(home, name)

        @functools.wraps(plain)
        def empty(*args: Any, **words: Any) -> Any:
            found = plain(*args, **words)
            frame = above()
            if not is_own(frame.f_code.co_filename):
                return found
            site = caller(frame)
            if self.pinned and found.is_floating_point() and found.numel():
                number = self.number("memory", site)
                torch: Any = sys.modules["torch"]
                with torch.no_grad():
                    found.fill_(0.0 if not number else (self.drawn("memory", site) % 1000) / 500 - 1)
            self.note("memory", site, 0, f"torch.{name}")
            return found

        setattr(home, name, empty)


_sleep = time.sleep
