"""One stream of random numbers for each source, in a process whose script draws them all from the global generators.

Inside `source("init")`, the global generators of Python, numpy and torch are those of that source; outside all sources,
those of "other". A stream is named by the source, its seed, the script's own seeds, and perhaps a place (an example and
its epoch, or a training step). So it is the same in every process, and draws of one source do not change another's.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

FIXED = 1
"""The seed of a source that does not vary."""


_SLOTS = {"random": 0, "numpy": 1, "torch": 2, "cuda": 3}
"""Which 64 bits of a place's 256 seed which library."""


def words_of(number: int) -> list[int]:
    """128 bits as four words of 32."""
    return [number >> shift & 0xFFFFFFFF for shift in (0, 32, 64, 96)]


class Library:
    """The global generator of one library: how to read and set its state, and how to seed it."""

    name = ""

    def get(self) -> Any:
        raise NotImplementedError

    def put(self, state: Any) -> None:
        raise NotImplementedError

    def seed(self, number: int) -> None:
        """Seed it with 128 bits."""
        raise NotImplementedError

    def reseed(self, number: int) -> None:
        """Seed it with 64 bits, where 128 would take too long: for each of many examples."""
        self.seed(number)

    def same(self, one: Any, other: Any) -> bool:
        return bool(one == other)


class Python(Library):
    name = "random"

    def __init__(self) -> None:
        self._seed = random.seed
        self.get, self.put = random.getstate, random.setstate

    def seed(self, number: int) -> None:
        self._seed(number)


class Numpy(Library):
    name = "numpy"

    def __init__(self, numpy: Any) -> None:
        self._seed, self._get, self.put = numpy.random.seed, numpy.random.get_state, numpy.random.set_state

    def get(self) -> Any:
        return self._get()

    def seed(self, number: int) -> None:
        self._seed(words_of(number))

    def reseed(self, number: int) -> None:
        self._seed(number & 0xFFFFFFFF)  # seven times as fast as by several words

    def same(self, one: Any, other: Any) -> bool:
        return one[2:] == other[2:] and one[1].tobytes() == other[1].tobytes()


class Torch(Library):
    name = "torch"

    def __init__(self, torch: Any) -> None:
        self.generator = torch.default_generator
        self.get, self.put = self.generator.get_state, self.generator.set_state

    def seed(self, number: int) -> None:
        self.generator.manual_seed(number & (1 << 63) - 1)

    def same(self, one: Any, other: Any) -> bool:
        return bool(one.equal(other))


class Cuda(Library):
    """The generators of the CUDA devices, once one of them is used."""

    name = "cuda"

    def __init__(self, torch: Any) -> None:
        self.cuda, self._seed = torch.cuda, torch.cuda.manual_seed_all
        self._waiting = 0
        if self.cuda.is_available():  # seeded once a device is used: until then torch would queue every call
            self.cuda._lazy_call(lambda: self._seed(self._waiting))

    def get(self) -> Any:
        return self.cuda.get_rng_state_all() if self.cuda.is_initialized() else []

    def put(self, state: Any) -> None:
        if state:
            self.cuda.set_rng_state_all(state)

    def seed(self, number: int) -> None:
        self._waiting = number & (1 << 63) - 1
        if self.cuda.is_initialized():
            self._seed(self._waiting)

    def same(self, one: Any, other: Any) -> bool:
        return len(one) == len(other) and all(a.equal(b) for a, b in zip(one, other, strict=True))


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
        self.libraries: list[Library] = []
        self._blocks = [_Block("other", ())]
        self._left: dict[str, dict[str, Any]] = {}  # for each source without a place, its generators' states
        self._unread: dict[str, Any] = {}  # the states when the current block began or was resumed

    def add(self, library: Library) -> None:
        """Take over a library's generator, as soon as it exists."""
        self.libraries.append(library)
        self._fresh(library, self._blocks[-1])
        self._unread[library.name] = library.get()

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
        outer.states = self._read()
        self._blocks.append(block := _Block(name, place))
        self._go_on(block, {} if place else self._left.get(name, {}))
        try:
            yield
        finally:
            left = self._read() if not block.moved else self._read_moved(block)
            if not place:
                self._left[name] = left
            self._blocks.pop()
            self._go_on(outer, outer.states)

    def move(self, *place: object) -> None:
        """Move the source in use to another place, which is cheaper than a block for each of many examples."""
        block = self._blocks[-1]
        parts = (block.name, self.seeds.get(block.name, FIXED), sorted(self.own.items()), *place)
        block.moved = hashlib.sha256(repr(parts).encode()).digest()
        self._reseed(block)

    def seeded(self, library: str, seed: object) -> None:
        """Restart every stream of a library, because the script seeds it; the streams stay different."""
        self.own[library] = int(hashlib.sha256(repr(seed).encode()).hexdigest()[:16], 16)
        for states in (*self._left.values(), *(block.states for block in self._blocks)):
            states.pop(library, None)
        for one in self.libraries:
            if one.name == library:
                self._fresh(one, self._blocks[-1])
                self._unread[library] = one.get()

    def seeded_here(self, library: str, seed: object) -> None:
        """Seed a library for the current block alone, because the script seeds it there, in whatever process."""
        for one in self.libraries:
            if one.name == library:
                one.seed(self.number(self.inside, library, repr(seed)))

    def go_back(self, library: Library, state: Any) -> None:
        """Restore a library's generator; one of a device that was not in use yet starts at the beginning."""
        if isinstance(state, list) and not state:
            self._fresh(library, self._blocks[-1])
            self._unread[library.name] = library.get()
        else:
            library.put(state)

    def settle(self) -> None:
        """Count what was drawn last."""
        self._read()

    def _reseed(self, block: _Block) -> None:
        for library in self.libraries:
            at = 8 * _SLOTS[library.name]
            library.reseed(int.from_bytes(block.moved[at : at + 8], "little"))

    def _read_moved(self, block: _Block) -> dict[str, Any]:
        """Like `_read`, but the state that the last place began with is not known, so it is seeded again for that."""
        states = {library.name: library.get() for library in self.libraries}
        self._reseed(block)
        self.draws[block.name] += not all(one.same(states[one.name], one.get()) for one in self.libraries)
        return states

    def _go_on(self, block: _Block, states: Mapping[str, Any]) -> None:
        """Restore the generators' states in a block, or else put them at its beginning."""
        self._unread = {}
        for library in self.libraries:
            state = states.get(library.name)
            if state is None:
                self._fresh(library, block)
                state = library.get()
            else:
                library.put(state)
            self._unread[library.name] = state

    def _fresh(self, library: Library, block: _Block) -> None:
        library.seed(self.number(block.name, library.name, self.own.get(library.name, 0), *block.place))

    def _read(self) -> dict[str, Any]:
        """Return the generators' states, and note whether anything was drawn since they were set."""
        states = {library.name: library.get() for library in self.libraries}
        outside = self.inside == "other"  # where modules draw from Python's generator while they are imported
        looked = [one for one in self.libraries if not (outside and one.name == "random")]
        if (outside and self.noted) or not all(one.same(states[one.name], self._unread[one.name]) for one in looked):
            self.draws[self.inside] += 1
        self.noted = False
        self._unread = states
        return states
