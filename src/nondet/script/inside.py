"""One process of a run: whose random numbers it is, what was seen of them, and what the script leaves."""

from __future__ import annotations

import functools
import os
import random
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from os import getpid  # its own, whatever a run's is held at
from pathlib import Path
from types import FrameType
from typing import Any

from nondet.script import left, machine
from nondet.script.passes import Passes
from nondet.script.sites import Site, Sites, is_of_python
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
"""What may be imported before a fork. JAX and TensorFlow start threads, so scripts that import them do not fork."""

THREADED = ("jax", "tensorflow")


class Inside:
    """One process of a run.

    seeds: of each source. record: expressions in the script's names, to be kept at its end. folder: where what is left
    goes. bit: the parameter and the elements that the bit source chooses from, where they are known. onset: the epoch
    at whose start it moves one.
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
        self.told, self.trained = False, False
        self.streams = Streams(self.seeds)
        self.sites = Sites(self.streams)
        self.named: dict[tuple[str, str], str] = {}  # generators of the script's own: what is said of those of a place
        self.made: Counter[tuple[object, ...]] = Counter()  # generators that nothing seeds, by place
        self.ledger: dict[str, Any] = {
            "explicit": {},
            "sites": {},
            "steps": 0,
            "built": 0,
            "batches": 0,
            "epochs": 0,
            "shuffled": 0,
        }

    @property
    def is_worker(self) -> bool:
        """Whether this process reads examples for another: started for that, or forked."""
        return self.worker or getpid() != self.main

    def reads(self) -> None:
        """This process reads examples for another: what its script seeded as it was imported anew does not count."""
        if not self.is_worker:
            self.worker = True
            self.streams.own.clear()

    def refuse_ranks(self, ranks: object) -> None:
        """End a process that is one of several ranks, which would have to draw the same numbers in step."""
        if str(ranks) not in ("", "1"):
            why = f"a run must be trained by one process, and this command starts {ranks} ranks; train on one device"
            (self.folder / "refused").write_text(why, encoding="utf-8")
            os._exit(2)

    def seeded(self, library: str, seed: object) -> None:
        """The script seeds a library: all of its streams begin anew, but while an example is read, its own alone.

        A loader seeds its workers as well, outside of all examples: what they draw is by example.
        """
        if self.streams.inside == "augment":
            self.streams.seeded_here(library, seed)
        elif not self.is_worker:
            self.streams.seeded(library, seed)
            self.sites.begin(library)

    def explicit(self, what: str) -> None:
        """Note a generator that the script makes or seeds by itself, and where; a library's are its own business.

        Of those that are made in one place the first is named, with its seed.
        """
        place = self.sites.of(sys._getframe(1))  # pyright: ignore[reportPrivateUsage]
        if place is None:
            return
        name = self.named.setdefault((what.partition("(")[0], place.where), f"{what} ({place.where})")
        self.ledger["explicit"][name] = self.ledger["explicit"].get(name, 0) + 1

    def unseeded(self, what: str, draw: Callable[[], int]) -> int:
        """What seeds a generator that the script makes and does not seed: all that it draws is of the source in use.

        draw: 128 bits from the library's global generator, which is that source's. One that Python makes for its own
        use, as for the names of files, takes none from there: it may do so in a thread beside the script's.
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
        """The place in the script that draws outside all sources, if it is one, which is noted."""
        if self.streams.inside != "other" or self.is_worker:
            return None
        found = self.sites.of(frame)
        if found is not None:
            self.sites.note(found)
        return found

    def sited(self, library: str, draw: Callable[..., Any], made: Callable[[int], Any]) -> Callable[..., Any]:
        """A function that draws from a library's global generator; outside all sources, from that of its place.

        made: a generator of this seed, which has a method of the function's name.
        """
        name, in_order = draw.__name__, self.sites.in_order

        @functools.wraps(draw)
        def wrapped(*args: Any, **words: Any) -> Any:
            frame = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
            place = self.site(frame)
            if place is None and self.sites.is_import(frame):  # what a library draws then, no source may move
                return getattr(made(0), name)(*args, **words)
            if place is None or library in in_order:
                return draw(*args, **words)
            return getattr(self.sites.generator(library, place, made), name)(*args, **words)

        return wrapped

    def looked_at(self, library: str, look: Callable[..., Any]) -> Callable[..., Any]:
        """A function that reads a generator's state: the script's own draws are in order from then on, as it is."""

        @functools.wraps(look)
        def wrapped(*args: Any, **words: Any) -> Any:
            if self.sites.of(sys._getframe(1)) is not None:  # pyright: ignore[reportPrivateUsage]
                self.sites.in_order.add(library)
            return look(*args, **words)

        return wrapped

    def worker_drew(self) -> None:
        """Let the process that trains know that examples draw random numbers when they are read."""
        if self.is_worker and self.streams.draws["augment"] and not self.told:
            self.told = True
            (self.folder / "augmented").touch()

    def trains_elsewhere(self) -> None:
        """Let the script's own process know that another one trains, whose random numbers are not sorted."""
        if not self.trained:
            self.trained = True
            (self.folder / "trained").touch()

    def end(self) -> None:
        """Keep what the script has left, once it has come to its end."""
        if self.is_worker:
            return
        self.streams.settle()
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


_NO_DRAW = ("seed", "getstate", "setstate", "get_state", "set_state")


def take_python(here: Inside) -> None:
    unseeded = iter(range(sys.maxsize))

    def seed(a: object = None, version: int = 2) -> None:
        here.seeded("random", ("unseeded", next(unseeded)) if a is None else a)

    random.seed = seed  # pyright: ignore[reportAttributeAccessIssue]
    plain, bits = random.Random.__init__, random.getrandbits

    def init(self: random.Random, x: Any = None) -> None:
        if x is not None:
            here.explicit(f"random.Random({_short(x)})")
        plain(self, here.unseeded("Random", lambda: bits(128)) if x is None else x)

    random.Random.__init__ = init  # pyright: ignore[reportAttributeAccessIssue]
    for name in random.__all__:
        if isinstance(getattr(getattr(random, name), "__self__", None), random.Random) and name not in _NO_DRAW:
            setattr(random, name, here.sited("random", getattr(random, name), random.Random))
    random.getstate = here.looked_at("random", random.getstate)


def take_numpy(here: Inside, numpy: Any) -> None:
    unseeded = iter(range(sys.maxsize))
    default_rng, plain, draw_bytes = numpy.random.default_rng, numpy.random.RandomState, numpy.random.bytes

    def bits() -> int:
        return int.from_bytes(draw_bytes(16), "little")

    def seed(seed: object = None) -> None:
        here.seeded("numpy", ("unseeded", next(unseeded)) if seed is None else numpy.asarray(seed).tolist())

    def rng(seed: object = None) -> Any:
        if seed is None:
            return default_rng(here.unseeded("default_rng", bits))
        here.explicit(f"numpy.random.default_rng({_short(seed)})")
        return default_rng(seed)

    def _seeded(number: int) -> Any:
        return plain(words_of(number))

    def is_one(cls: type, instance: object) -> bool:
        return isinstance(instance, plain)

    kind: Any = type("_Kind", (type(plain),), {"__instancecheck__": is_one})  # that of a trace may be there already

    class RandomState(plain, metaclass=kind):
        def __init__(self, seed: Any = None) -> None:
            if seed is None:
                seed = words_of(here.unseeded("RandomState", bits))
            else:
                here.explicit(f"numpy.random.RandomState({_short(seed)})")
            super().__init__(seed)

    numpy.random.seed, numpy.random.default_rng = seed, rng
    numpy.random.RandomState = RandomState
    for name in numpy.random.__all__:
        draw = getattr(numpy.random, name)
        if isinstance(getattr(draw, "__self__", None), numpy.random.RandomState) and name not in _NO_DRAW:
            setattr(numpy.random, name, here.sited("numpy", draw, _seeded))
    numpy.random.get_state = here.looked_at("numpy", numpy.random.get_state)


def take_jax(here: Inside) -> None:
    """JAX has no global generator: its keys are the script's own."""
    random = sys.modules["jax"].random

    def named(make: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(make)
        def wrapped(seed: Any, *args: Any, **words: Any) -> Any:
            here.explicit(f"jax.random.{make.__name__}({_short(seed)})")
            return make(seed, *args, **words)

        return wrapped

    random.PRNGKey, random.key = named(random.PRNGKey), named(random.key)


def _short(seed: Any) -> str:
    """A seed as it is written, if it is a number."""
    return str(int(seed)) if hasattr(seed, "__index__") and not isinstance(seed, bool) else "..."


def _local_modules() -> dict[str, str]:
    """The SHA-256 of each file of the user's own that the script has imported, by its path."""
    import hashlib

    found: dict[str, str] = {}
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if not isinstance(file, str) or "-packages" in file or file.startswith((sys.base_prefix, _HERE)):
            continue
        try:
            if Path(file).stat().st_size <= LARGEST:
                found[os.path.abspath(file)] = hashlib.sha256(Path(file).read_bytes()).hexdigest()  # noqa: PTH100
        except OSError:
            continue
    return found


LARGEST = 16 * 2**20
"""Bytes of a module: a larger one is no code that somebody wrote."""

_HERE = str(Path(__file__).resolve().parents[1])
