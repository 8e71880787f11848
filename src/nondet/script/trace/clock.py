"""Watch the clock, process numbers and addresses in memory, as a script asks for them."""

from __future__ import annotations

import builtins
import ctypes
import datetime
import gc
import os
import threading
import time
from collections.abc import Callable
from itertools import count
from typing import Any

from nondet.script.trace.outside import Outside
from nondet.script.trace.places import above, caller, is_own

_BEGAN = 1_700_000_000_000_000_000
_TICK = 1_000_003
_OTHER = 7_919_311_573_319
"""Nanoseconds: when a pinned clock begins, how far it moves each time it is read, and how far off another clock is.

The last number is odd in seconds, milliseconds, microseconds and nanoseconds, and in none of them a multiple of 3, 5 or
7. So whatever is computed as a remainder of the clock differs too.
"""


def take_clock(outside: Outside) -> None:
    """Take over the functions of time, datetime and uuid that read the clock."""
    ticks = count(1)

    def now(site: str) -> int:
        """Return nanoseconds of a pinned clock."""
        pace = 1 + 2 * (outside.pins or {}).get("clock", 0)  # what takes long on one machine is quick on another
        return _BEGAN + next(ticks) * _TICK * pace + outside.number("clock", site) * _OTHER

    for name in ("time", "perf_counter", "monotonic", "process_time", "thread_time", "clock_gettime"):
        outside.take("clock", time, name, lambda site, plain, *_: now(site) / 1e9, f"time.{name}")
        outside.take("clock", time, f"{name}_ns", lambda site, plain, *_: now(site), f"time.{name}_ns")
    localtime = time.localtime
    for name, given in (("localtime", 0), ("gmtime", 0), ("ctime", 0), ("strftime", 1), ("asctime", 0)):

        def held(site: str, plain: Any, *args: Any, name: str = name, given: int = given) -> Any:
            seconds = now(site) / 1e9
            return plain(*args[:given], localtime(seconds) if name in ("strftime", "asctime") else seconds)

        def is_given(*args: Any, given: int = given) -> bool:
            return len(args) > given and args[given] is not None

        outside.take("clock", time, name, held, f"time.{name}", shown=lambda value, *_: [*value], skips=is_given)
    _take_datetime(outside, now)
    if outside.pinned and outside.says("uuid"):  # so that `uuid1` reads the clock in Python, and not in C
        import uuid

        setattr(uuid, "_generate_time_safe", None)  # noqa: B010 - a private name


def _take_datetime(outside: Outside, now: Callable[[str], int]) -> None:
    """Take over the methods in the class itself.

    A class of ours in its place would be another class to compiled code, to `pickle` and to `type(...) is`: pandas, for
    one, crashes if it is imported then.
    """
    kind = datetime.datetime
    methods: Any = gc.get_referents(kind.__dict__)[0]  # the class is written in C, so its attributes cannot be set
    plain = {"now": methods["now"], "utcnow": methods["utcnow"], "today": methods["now"]}  # `today` is the date's own
    methods |= {name: classmethod(_method(outside, now, name, method)) for name, method in plain.items()}
    ctypes.pythonapi.PyType_Modified(ctypes.py_object(kind))  # which forgets what it knew of its attributes


def _method(outside: Outside, now: Callable[[str], int], name: str, plain: Any) -> Callable[..., Any]:
    """Return what to call for a method of `datetime.datetime`."""

    def asked(cls: Any, *args: Any, **kwargs: Any) -> Any:
        site, method = caller(above()), plain.__get__(None, cls)
        if not site:
            return method(*args, **kwargs)
        if outside.pinned:
            zone = datetime.UTC if name == "utcnow" else kwargs.get("tz", *args[:1] or (None,))
            found = cls.fromtimestamp(now(site) / 1e9, zone)
            found = found.replace(tzinfo=None) if name == "utcnow" else found
        else:
            found = method(*args, **kwargs)
        outside.note("clock", site, found, f"datetime.{name}")
        return found

    asked.__name__ = name
    return asked


def take_process(outside: Outside) -> None:
    """Take over numbers of processes and threads, and addresses in memory."""

    def number(site: str, plain: Any) -> int:
        return 2 + outside.drawn("process", site) % 30_000

    for home, name in ((os, "getpid"), (os, "getppid"), (threading, "get_ident"), (threading, "get_native_id")):
        outside.take("process", home, name, number, f"{home.__name__}.{name}")
    if outside.pinned and outside.number("address", ""):
        _moved(outside.number("address", ""))
    if outside.says(r"(?<![\w.])id\("):
        known: dict[int, int] = {}

        def identity(site: str, plain: Any, value: object) -> int:
            """Return a number by the order in which objects are asked for."""
            number = known.setdefault(plain(value), len(known))
            return (1 << 46) + 16 * number + 48 * 131_071 * outside.number("address", site)

        outside.take(
            "address", builtins, "id", identity, "id", skips=lambda value: not is_own(above(2).f_code.co_filename)
        )


_IN_THE_WAY: list[bytes] = []


def _moved(number: int) -> None:
    """Shift what is made from here on to other places in memory, in the pools of small objects."""
    for size in range(16, 512, 16):
        _IN_THE_WAY.extend(bytes(size - 40) for _ in range(number * 5 % 17) if size > 40)
