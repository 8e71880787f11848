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
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from nondet.script.trace.places import own_modules
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
    "cores",
    "memory",
    "address",
)
"""In this order they are tested for reaching the training."""


def grad_enabled() -> bool:
    """Whether torch, if it is imported, keeps gradients, as it does in training and mostly not in evaluation."""
    torch = sys.modules.get("torch")
    return bool(torch is None or not hasattr(torch, "is_grad_enabled") or torch.is_grad_enabled())


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

    def generator(self, made: Any, site: str, seed: Any, what: str) -> None:
        """Record a generator that the user's code makes from a seed."""
        self.made[id(made)] = site
        self.write(["g", site, what, digest(seed), grad_enabled()])
        self.on_seed("generator", site, seed)

    @cached_property
    def text(self) -> str:
        """The text of the script and of the modules next to it."""
        words = [*getattr(sys, "argv", []), *sys.orig_argv[1:]]  # a forked process has its own argv
        return "\n".join(filter(None, map(_text, own_modules(words, Path.cwd()))))

    def says(self, pattern: str) -> bool:
        """Whether the user's own code contains this pattern, for what is costly to wrap."""
        return re.search(pattern, self.text) is not None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""
