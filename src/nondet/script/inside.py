"""One process of a run: its random numbers, what was seen of them, and what the script leaves."""

from __future__ import annotations

import os
import random
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from os import getpid  # the real one, even where a run's is pinned
from pathlib import Path
from types import FrameType
from typing import Any

from nondet.script import left, machine
from nondet.script.instead import draws_of, instead_of, posing_as
from nondet.script.passes import Passes
from nondet.script.sites import HERE, Site, Sites, is_library, is_of_python
from nondet.script.streams import Streams, words_of

PACKAGES = (
    "accelerate",
    "datasets",
    "lightning",
    "numpy",
    "pandas",
    "pytorch_lightning",
    "scipy",
    "sklearn",
    "timm",
    "torch",
    "torchvision",
    "transformers",
)
"""Packages to import before a fork. JAX and TensorFlow start threads, so scripts that import them are not forked."""

THREADED = ("jax", "tensorflow")


class Inside:
    """One process of a run.

    seeds: of each source. record: expressions in the script's names, to be kept when it ends. folder: where the results
    go. bit: the parameter and the elements that the bit source chooses from, if they are known. onset: the epoch at
    whose start it moves one.
    ledger: what was seen of the script's random numbers. worker: whether this process only reads examples for another.
    """

    def __init__(self, order: Mapping[str, Any], worker: bool) -> None:
        self.seeds: dict[str, int] = order["seeds"]
        self.record: str = order.get("record") or ""
        self.folder = Path(order["folder"])
        self.bit: dict[str, Any] | None = order.get("bit")
        self.onset: int = order.get("onset", 0)
        self.machine: Mapping[str, str] | None = order.get("machine")
        self.passes = Passes()
        self.worker = worker
        self.main = getpid()
        self.told: set[str] = set()
        self.streams = Streams(self.seeds)
        self.sites = Sites(self.streams)
        self.named: dict[tuple[str, str], str] = {}  # the script's own generators: how those of a place are described
        self.made: Counter[tuple[object, ...]] = Counter()  # unseeded generators, by place
        self.ledger: dict[str, Any] = dict.fromkeys(("steps", "built", "batches", "epochs", "shuffled"), 0)
        self.ledger["explicit"] = {}

    @property
    def is_worker(self) -> bool:
        """Whether this process reads examples for another: started for that, or forked."""
        return self.worker or getpid() != self.main

    def reads(self) -> None:
        """Mark this process as one that reads examples: what its script seeded on being imported again is ignored."""
        if not self.is_worker:
            self.worker = True
            self.streams.own.clear()

    def refuse_ranks(self, ranks: object) -> None:
        """End a process that is one of several ranks: they would have to draw the same numbers in step."""
        if str(ranks) not in ("", "1"):
            why = f"a run must be trained by one process, but this command starts {ranks} ranks; train on one device"
            (self.folder / "refused").write_text(why, encoding="utf-8")
            os._exit(2)

    def seeded(self, library: str, seed: object) -> None:
        """Restart a library's streams, because the script seeds it; while an example is read, only the example's own.

        A loader also seeds its workers outside of all examples. That is ignored, because workers draw by example.
        """
        if self.streams.inside == "augment":
            self.streams.seeded_here(library, seed)
        elif not self.is_worker:
            self.streams.seeded(library, seed)
            self.sites.begin(library)

    def explicit(self, what: str) -> None:
        """Note a generator that the script itself makes or seeds, and where; those of libraries are ignored.

        If several are made in one place, the first is named, with its seed.
        """
        place = self.sites.of(sys._getframe(1))  # pyright: ignore[reportPrivateUsage]
        if place is None:
            return
        name = self.named.setdefault((what.partition("(")[0], place.where), f"{what} ({place.where})")
        self.ledger["explicit"][name] = self.ledger["explicit"].get(name, 0) + 1

    def unseeded(self, what: str, draw: Callable[[], int]) -> int:
        """Return a seed for a generator that the script leaves unseeded: its draws belong to the source in use.

        draw: returns 128 bits from the library's global generator, which is that source's. Generators that Python makes
        for its own use, as for the names of files, do not use it, because another thread may make them.
        """
        frame = sys._getframe(2)  # pyright: ignore[reportPrivateUsage]
        if self.streams.inside != "other" and not is_of_python(frame.f_code.co_filename):
            return draw()
        place = self.site(frame)
        if place is None and not self.sites.is_import(frame):
            self.streams.noted = self.streams.noted or what != "Random"  # Python makes some of these for its own use
        name = (what, *(place.name if place else ("library",)))
        self.made[name] += 1
        return self.streams.number("other", *name, self.made[name])

    def site(self, frame: FrameType | None) -> Site | None:
        """Return and note the place in the script that draws outside all sources, if it is one."""
        if self.streams.inside != "other" or self.is_worker:
            return None
        found = self.sites.of(frame)
        if found is not None:
            self.sites.note(found)
        return found

    def sited(self, library: str, home: Any, name: str, made: Callable[[int], Any]) -> None:
        """Take over a function that draws from a library's global generator: each place has its own.

        made: returns a generator with a given seed, which has a method of the function's name.
        """
        draw, in_order = getattr(home, name), self.sites.in_order

        @instead_of(home, name)
        def drawing(*args: Any, **words: Any) -> Any:
            frame = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
            place = self.site(frame)
            if place is None and self.sites.is_import(frame):  # no source may affect a library's draws here
                return getattr(made(0), name)(*args, **words)
            if place is None or library in in_order:
                return draw(*args, **words)
            return getattr(self.sites.generator(library, place, made), name)(*args, **words)

    def looked_at(self, library: str, home: Any, name: str, *others: Any) -> None:
        """Take over a function that reads a generator's state: then the script's draws come in order from one."""
        look = getattr(home, name)

        @instead_of(home, name, *others)
        def looking(*args: Any, **words: Any) -> Any:
            if self.sites.of(sys._getframe(1)) is not None:  # pyright: ignore[reportPrivateUsage]
                self.sites.in_order.add(library)
            return look(*args, **words)

    def tell(self, what: str) -> None:
        """Let the script's own process know what this one does.

        It may have `augmented`, that is drawn random numbers while reading examples, or `trained`, with random numbers
        that are not sorted.
        """
        if what not in self.told:
            self.told.add(what)
            (self.folder / what).touch()

    def end(self) -> None:
        """Keep what the script leaves, once it has ended."""
        if self.is_worker:
            return
        self.streams.read()
        if (self.folder / "augmented").exists():
            self.streams.draws["augment"] = max(1, self.streams.draws["augment"])
        self.ledger["elsewhere"] = not self.ledger["steps"] and (self.folder / "trained").exists()
        if self.record:
            names = getattr(sys.modules.get("__main__"), "__dict__", {})
            self.ledger["record"] = left.evaluate(self.record, names)
        self.ledger["sites"] = dict(self.sites.drawn)
        self.ledger["draws"] = {name: n for name, n in self.streams.draws.items() if name != "loader"}
        self.ledger.setdefault("early", self.streams.draws["other"])
        self.ledger["modules"] = _local_modules()
        self.ledger["imports"] = [name for name in sys.modules if name.partition(".")[0] in PACKAGES]
        self.ledger["threaded"] = any(name in sys.modules for name in THREADED)
        torch = sys.modules.get("torch")
        if self.machine is not None:
            self.ledger["machine"] = machine.seen()
        self.ledger["cuda"] = bool(torch is not None and torch.cuda.is_initialized())
        left.write(self.folder, self.ledger)


def take_python(here: Inside) -> None:
    unseeded = iter(range(sys.maxsize))
    plain, bits = random.Random.__init__, random.getrandbits

    @instead_of(random, "seed")
    def seed(a: object = None, version: int = 2) -> None:
        here.seeded("random", ("unseeded", next(unseeded)) if a is None else a)

    @instead_of(random.Random, "__init__")
    def init(self: random.Random, x: Any = None) -> None:
        if x is not None:
            here.explicit(f"random.Random({_short(x)})")
        plain(self, here.unseeded("Random", lambda: bits(128)) if x is None else x)

    for name in draws_of(random, random.Random):
        here.sited("random", random, name, random.Random)
    here.looked_at("random", random, "getstate")


def take_numpy(here: Inside, numpy: Any) -> None:
    unseeded = iter(range(sys.maxsize))
    module = numpy.random
    default_rng, plain, draw_bytes = module.default_rng, module.RandomState, module.bytes

    def bits() -> int:
        return int.from_bytes(draw_bytes(16), "little")

    @instead_of(module, "seed")
    def seed(seed: object = None) -> None:
        here.seeded("numpy", ("unseeded", next(unseeded)) if seed is None else numpy.asarray(seed).tolist())

    @instead_of(module, "default_rng")
    def rng(seed: object = None) -> Any:
        if seed is None:
            return default_rng(here.unseeded("default_rng", bits))
        here.explicit(f"numpy.random.default_rng({_short(seed)})")
        return default_rng(seed)

    class RandomState(plain, metaclass=posing_as(plain)):
        def __init__(self, seed: Any = None) -> None:
            if seed is None:
                seed = words_of(here.unseeded("RandomState", bits))
            else:
                here.explicit(f"numpy.random.RandomState({_short(seed)})")
            super().__init__(seed)

    for name in draws_of(module, plain):
        here.sited("numpy", module, name, lambda number: plain(words_of(number)))
    module.RandomState = RandomState
    here.looked_at("numpy", module, "get_state")


def take_jax(here: Inside) -> None:
    """Note JAX keys: JAX has no global generator, so its keys are the script's own."""
    random = sys.modules["jax"].random

    def take(name: str) -> None:
        make = getattr(random, name)

        @instead_of(random, name)
        def named(seed: Any, *args: Any, **words: Any) -> Any:
            here.explicit(f"jax.random.{name}({_short(seed)})")
            return make(seed, *args, **words)

    take("PRNGKey")
    take("key")


def _short(seed: Any) -> str:
    """Return a seed as text, or dots if it is not a number."""
    return str(int(seed)) if hasattr(seed, "__index__") and not isinstance(seed, bool) else "..."


def _local_modules() -> dict[str, str]:
    """Return the SHA-256 of each of the user's own files that the script has imported, by its path."""
    import hashlib

    found: dict[str, str] = {}
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if not isinstance(file, str) or is_library(file) or file.startswith(HERE):
            continue
        try:
            if Path(file).stat().st_size <= LARGEST:
                found[os.path.abspath(file)] = hashlib.sha256(Path(file).read_bytes()).hexdigest()  # noqa: PTH100
        except OSError:
            continue
    return found


LARGEST = 16 * 2**20
"""The most bytes of a module: nobody writes a larger one by hand."""
