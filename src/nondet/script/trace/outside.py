"""What comes from outside a program: the clock, unseeded generators, the order of files and threads, and memory.

Each kind is recorded with the user's line that asks for it. A pinned value depends only on its kind, its line, how
often that line has asked, and a number, as if it were a source with a seed. So two processes get the same value, and
another number gives a different one.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import Any

from nondet.script.instead import instead_of
from nondet.script.trace.places import above, asking, caller, own_modules
from nondet.script.trace.values import digest


def grad_enabled() -> bool:
    """Whether torch, if it is imported, keeps gradients, as it does in training and mostly not in evaluation."""
    torch = sys.modules.get("torch")
    return bool(torch is None or not hasattr(torch, "is_grad_enabled") or torch.is_grad_enabled())


def as_it_is(value: Any, *args: Any, **words: Any) -> Any:
    return value


class Outside:
    """What the wrappers of clocks, generators, listings, pools and memory have in common.

    pins: a number for each kind, or None if nothing is pinned. sites: other numbers, by KIND@FILE:LINE.
    write: takes a record. made: the line of each generator that the user's code has made, by its `id`.
    """

    def __init__(self, pins: Mapping[str, int] | None, sites: Mapping[str, int], write: Callable[[list[Any]], None]):
        self.pins, self.sites, self.write = pins, sites, write
        self.count: Counter[str] = Counter()
        self.seeded = {"python": False, "numpy": False, "torch": False}
        self.busy = False
        self.made: dict[int, str] = {}
        self.on_seed: Callable[[str, str, Any], None] = lambda kind, site, seed: None

    @property
    def pinned(self) -> bool:
        return self.pins is not None

    def number(self, kind: str, site: str) -> int:
        """Return the number of a kind at a line."""
        return self.sites.get(f"{kind}@{site}", (self.pins or {}).get(kind, 0))

    def drawn(self, kind: str, site: str) -> int:
        """Return 64 bits of a kind for this call of a line."""
        self.count[kind + site] += 1
        text = f"{kind} {site} {self.count[kind + site]} {self.number(kind, site)}"
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")

    def note(self, kind: str, site: str, value: Any, what: str) -> None:
        self.write(["o", kind, site, digest(value), what])

    def take(
        self,
        kind: str,
        home: Any,
        name: str,
        held: Callable[..., Any],
        what: str,
        shown: Callable[..., Any] = as_it_is,
        skips: Callable[..., bool] = lambda *args, **words: False,
        far: bool = False,
    ) -> None:
        """Take over a function, if there is one of this name, that asks for something of a kind.

        held: returns its value if it is pinned, from the line, the function itself, and its arguments. shown: returns
        what is noted of a value and the arguments. skips: whether a call with these arguments does not ask. far: as for
        `caller`.
        """
        plain = getattr(home, name, None)
        if plain is None:
            return

        @instead_of(home, name)
        def asked(*args: Any, **words: Any) -> Any:
            site = "" if skips(*args, **words) else caller(above(), far)
            if not site:
                return plain(*args, **words)
            value = held(site, plain, *args, **words) if self.pinned else plain(*args, **words)
            self.note(kind, site, shown(value, *args, **words), what)
            return value

    @contextmanager
    def unheard(self, really: bool = True) -> Generator[None]:
        """Let `busy` be true inside the block: nondet itself asks there."""
        before, self.busy = self.busy, self.busy or really
        try:
            yield
        finally:
            self.busy = before

    def generator(self, made: Any, seed: Any, what: str) -> None:
        """Note a generator that the user's code makes, perhaps from a seed."""
        site = caller(above())
        if site:
            self.made[id(made)] = site
        if site and seed is not None:
            self.write(["g", site, what, digest(seed), grad_enabled()])
            self.on_seed("generator", site, seed)

    def sets_seed(self, kind: str, seed: Any, drawn: Callable[[], bool]) -> None:
        """Note that a library's global generator is given a seed, perhaps after numbers were drawn from it."""
        where = caller(asking(above()))
        if not self.seeded[kind] and drawn():
            self.write(["late", kind, where])
        self.seeded[kind] = True
        self.write(["s", kind, where, digest(seed), grad_enabled()])
        self.on_seed(kind, where, seed)

    @cached_property
    def text(self) -> str:
        """The text of the script and of the modules next to it."""
        words = [*getattr(sys, "argv", []), *sys.orig_argv[1:]]  # a forked process has its own argv
        found: list[str] = []
        for path in own_modules(words):
            with suppress(OSError, ValueError):
                found.append(path.read_text(encoding="utf-8"))
        return "\n".join(found)

    def says(self, pattern: str) -> bool:
        """Whether the user's own code contains this pattern, for what is costly to wrap."""
        return re.search(pattern, self.text) is not None
