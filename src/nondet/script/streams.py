"""One stream of random numbers for each source, in a process whose script draws them all from the global generators.

Inside `source("init")`, the global generators of Python, numpy and torch are those of that source; outside all sources,
those of "other". A stream is named by the source, its seed, the script's own seeds, and perhaps a place (an example and
its epoch, or a training step). So it is the same in every process, and draws of one source do not change another's.
"""

from __future__ import annotations

import hashlib
import operator
import random
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

FIXED = 1
"""The seed of a source that does not vary."""


_SLOTS = {"random": 0, "numpy": 1, "torch": 2, "cuda": 3}
"""Which 64 bits of a place's 256 seed which library."""

_LOW = (1 << 63) - 1
"""The bits of a number that seed torch."""


def words_of(number: int) -> list[int]:
    """128 bits as four words of 32."""
    return [number >> shift & 0xFFFFFFFF for shift in (0, 32, 64, 96)]


@dataclass(frozen=True)
class Library:
    """The global generator of one library: how to read and set its state.

    seed: seeds it with 128 bits. reseed: with 64, where 128 would take too long: for each of many examples. same:
    compares two states.
    """

    name: str
    get: Callable[[], Any]
    put: Callable[[Any], object]
    seed: Callable[[int], object]
    reseed: Callable[[int], object]
    same: Callable[[Any, Any], bool] = operator.eq


def python() -> Library:
    return Library("random", random.getstate, random.setstate, random.seed, random.seed)


def numpy_of(numpy: Any) -> Library:
    get, put, seed = numpy.random.get_state, numpy.random.set_state, numpy.random.seed
    return Library(
        "numpy",
        get,
        put,
        lambda number: seed(words_of(number)),
        lambda number: seed(number & 0xFFFFFFFF),  # seven times as fast as by several words
        lambda one, other: one[2:] == other[2:] and one[1].tobytes() == other[1].tobytes(),
    )


def torch_of(torch: Any) -> Library:
    generator = torch.default_generator

    def seed(number: int) -> None:
        generator.manual_seed(number & _LOW)

    return Library("torch", generator.get_state, generator.set_state, seed, seed, lambda one, other: one.equal(other))


def cuda_of(torch: Any) -> Library:
    """Return the generators of the CUDA devices, once one of them is used."""
    cuda, seed_all, waiting = torch.cuda, torch.cuda.manual_seed_all, [0]
    if cuda.is_available():  # seeded once a device is used: until then torch would queue every call
        cuda._lazy_call(lambda: seed_all(waiting[0]))

    def get() -> Any:
        return cuda.get_rng_state_all() if cuda.is_initialized() else []

    def put(state: Any) -> None:
        if state:
            cuda.set_rng_state_all(state)

    def seed(number: int) -> None:
        waiting[0] = number & _LOW
        if cuda.is_initialized():
            seed_all(waiting[0])

    def same(one: Any, other: Any) -> bool:
        return len(one) == len(other) and all(a.equal(b) for a, b in zip(one, other, strict=True))

    return Library("cuda", get, put, seed, seed, same)


class _Block:
    """A source in use: its name and place, and the generators' states of the block around it."""

    def __init__(self, name: str, place: tuple[object, ...]) -> None:
        self.name, self.place = name, place
        self.states: dict[str, Any] = {}
        self.moved = b""  # what seeds it at its latest place


class Streams:
    """The streams of one process.

    seeds: of each source; a source without one has the fixed seed.
    draws: how many blocks of each source have drawn from a generator: constructors, passes of a sampler, batches whose
        last example drew, steps. own: the last seed that the script itself gave each library.
    """

    def __init__(self, seeds: Mapping[str, int]) -> None:
        self.seeds = dict(seeds)
        self.draws: Counter[str] = Counter()
        self.own: dict[str, int] = {}
        self.noted = False  # whether the script itself drew outside all sources
        self.libraries: dict[str, Library] = {}
        self._blocks = [_Block("other", ())]
        self._left: dict[str, dict[str, Any]] = {}  # for each source without a place, its generators' states
        self._unread: dict[str, Any] = {}  # the states when the current block began or was resumed

    def add(self, library: Library) -> None:
        """Take over a library's generator, as soon as it exists."""
        self.libraries[library.name] = library
        self._fresh(library)

    def number(self, name: str, *place: object) -> int:
        """Return the 128 bits that seed a source at a place."""
        parts = (name, self.seeds.get(name, FIXED), *place)
        return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:16], "little")

    @property
    def inside(self) -> str:
        """The source in use."""
        return self._blocks[-1].name

    @contextmanager
    def source(self, name: str, *place: object) -> Generator[None]:
        """Make the generators those of this source inside the block, at this place if one is given."""
        outer = self._blocks[-1]
        outer.states = self.read()
        self._blocks.append(block := _Block(name, place))
        self._go_on({} if place else self._left.get(name, {}))
        try:
            yield
        finally:
            left = self._read_moved() if block.moved else self.read()
            if not place:
                self._left[name] = left
            self._blocks.pop()
            self._go_on(outer.states)

    def move(self, *place: object) -> None:
        """Move the source in use to another place, which is cheaper than a block for each of many examples."""
        block = self._blocks[-1]
        parts = (block.name, self.seeds.get(block.name, FIXED), sorted(self.own.items()), *place)
        block.moved = hashlib.sha256(repr(parts).encode()).digest()
        self._reseed()

    def seeded(self, library: str, seed: object) -> None:
        """Restart every stream of a library, because the script seeds it; the streams stay different."""
        self.own[library] = int(hashlib.sha256(repr(seed).encode()).hexdigest()[:16], 16)
        for states in (*self._left.values(), *(block.states for block in self._blocks)):
            states.pop(library, None)
        if library in self.libraries:
            self._fresh(self.libraries[library])

    def seeded_here(self, library: str, seed: object) -> None:
        """Seed a library for the current block alone, because the script seeds it there, in whatever process."""
        if library in self.libraries:
            self.libraries[library].seed(self.number(self.inside, library, repr(seed)))

    def go_back(self, library: Library, state: Any) -> None:
        """Restore a library's generator; one of a device that was not in use yet starts at the beginning."""
        if isinstance(state, list) and not state:
            self._fresh(library)
        else:
            library.put(state)

    def _reseed(self) -> None:
        for name, library in self.libraries.items():
            at = 8 * _SLOTS[name]
            library.reseed(int.from_bytes(self._blocks[-1].moved[at : at + 8], "little"))

    def _states(self) -> dict[str, Any]:
        return {name: library.get() for name, library in self.libraries.items()}

    def _read_moved(self) -> dict[str, Any]:
        """Like `read`, but the state that the last place began with is not known, so it is seeded again for that."""
        states = self._states()
        self._reseed()
        self.draws[self.inside] += not all(one.same(states[name], one.get()) for name, one in self.libraries.items())
        return states

    def _go_on(self, states: Mapping[str, Any]) -> None:
        """Restore the generators' states in the current block, or else put them at its beginning."""
        self._unread = {}
        for name, library in self.libraries.items():
            if name in states:
                library.put(states[name])
                self._unread[name] = states[name]
            else:
                self._fresh(library)

    def _fresh(self, library: Library) -> None:
        """Put a generator at the beginning of the current block."""
        block = self._blocks[-1]
        library.seed(self.number(block.name, library.name, self.own.get(library.name, 0), *block.place))
        self._unread[library.name] = library.get()

    def read(self) -> dict[str, Any]:
        """Return the generators' states, and note whether anything was drawn since they were set."""
        states, outside = self._states(), self.inside == "other"
        looked = {**self.libraries}
        if outside:
            looked.pop("random", None)  # modules draw from it while they are imported
        if (outside and self.noted) or not all(one.same(states[n], self._unread[n]) for n, one in looked.items()):
            self.draws[self.inside] += 1
        self.noted = False
        self._unread = states
        return states
