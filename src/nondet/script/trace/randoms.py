"""Watch random numbers without a seed: unseeded global generators, generators made without a seed, os.urandom."""

from __future__ import annotations

import functools
import hashlib
import os
import random
import sys
from collections.abc import Iterable
from typing import Any

from nondet.script.trace.outside import Outside, grad_enabled
from nondet.script.trace.places import above, asking, caller
from nondet.script.trace.values import digest

TORCH_SEED = 67_280_421_310_721
"""The seed of torch's generator if nobody sets one."""

_QUIET = ("seed", "getstate", "setstate", "get_state", "set_state", "get_bit_generator", "set_bit_generator")


def take_urandom(outside: Outside) -> None:
    plain = os.urandom

    def urandom(size: int, /) -> bytes:
        site = caller(above())
        if not site or outside.busy:
            return plain(size)
        if outside.pinned:
            seed = outside.drawn("urandom", site).to_bytes(8, "little")
            value = b"".join(hashlib.sha256(seed + bytes([n % 256])).digest() for n in range(size // 32 + 1))[:size]
        else:
            value = plain(size)
        outside.note("urandom", site, value, "os.urandom")
        return value

    os.urandom = urandom
    setattr(random, "_urandom", urandom)  # noqa: B010 - used by SystemRandom and secrets


def take_python(outside: Outside) -> None:
    if outside.pinned:
        random.seed(outside.number("python", ""))
    names = [n for n in random.__all__ if isinstance(getattr(getattr(random, n), "__self__", None), random.Random)]
    _watch_global(outside, "python", random, names, (random.getstate, random.setstate, random.seed))
    plain = random.Random.__init__

    def init(self: random.Random, x: Any = None) -> None:
        site = "" if isinstance(self, random.SystemRandom) else caller(above())
        if site and x is None:
            plain(self, outside.drawn("generator", site) if outside.pinned else None)
            outside.made[id(self)] = site
            outside.note("generator", site, self, "random.Random()")
        else:
            plain(self, x)
            if site:
                outside.generator(self, site, x, "random.Random")

    random.Random.__init__ = init  # pyright: ignore[reportAttributeAccessIssue]


def _watch_global(outside: Outside, kind: str, module: Any, names: Iterable[str], state: tuple[Any, Any, Any]) -> None:
    """Record each draw from a library's global generator until the program seeds it."""
    get, put, seed = state
    first = digest(repr(get())) if kind == "numpy" else ""  # modules draw from Python's generator as they are imported

    def wrap(name: str) -> None:
        plain = getattr(module, name)

        @functools.wraps(plain)
        def draw(*args: Any, **words: Any) -> Any:
            if outside.seeded[kind] or outside.busy:
                return plain(*args, **words)
            site = caller(above())
            if not site:
                return plain(*args, **words)
            outside.busy = True
            try:
                before = get()
                if outside.pinned:
                    seed(outside.drawn(kind, site) & 0xFFFFFFFF)
                value = plain(*args, **words)
                if outside.pinned:
                    put(before)
                shown = [value, args[0]] if name == "shuffle" else value
                outside.note(kind, site, shown, f"{module.__name__}.{name}")
            finally:
                outside.busy = False
            return value

        draw.__dict__["__self__"] = plain.__self__  # as the wrapped function has it
        setattr(module, name, draw)

    for name in names:
        if name not in _QUIET:
            wrap(name)

    @functools.wraps(seed)
    def seeding(*args: Any, **words: Any) -> Any:
        given = [*args, *words.values()]
        site = caller(above())
        if given and given[0] is not None:
            where = caller(asking(above()))
            if first and not outside.seeded[kind] and digest(repr(get())) != first:
                outside.write(["late", kind, where])
            outside.seeded[kind] = True
            outside.write(["s", kind, where, digest(given[0]), grad_enabled()])
            outside.on_seed(kind, where, given[0])
            return seed(*args, **words)
        outside.busy, busy = True, outside.busy
        try:
            if outside.pinned and site:
                seed(outside.drawn(kind, site) & 0xFFFFFFFF)
            else:
                seed(*args, **words)
        finally:
            outside.busy = busy
        if site:
            outside.seeded[kind] = True
            outside.note(kind, site, [str(get())], f"{module.__name__}.seed()")

    module.seed = seeding


def take_numpy(outside: Outside) -> None:
    """Take over NumPy's generators, once it is imported."""
    module: Any = sys.modules["numpy.random"]
    if outside.pinned:
        module.seed(outside.number("numpy", ""))
    names = [n for n in module.__all__ if isinstance(getattr(getattr(module, n), "__self__", None), module.RandomState)]
    _watch_global(outside, "numpy", module, names, (module.get_state, module.set_state, module.seed))
    _take_entropy(outside, module.bit_generator)
    plain = module.default_rng

    @functools.wraps(plain)
    def default_rng(seed: Any = None) -> Any:
        found, site = plain(seed), caller(above())
        if site and seed is None:
            outside.made[id(found)] = site
        elif site and not isinstance(seed, module.Generator):
            outside.generator(found, site, seed, "numpy.random.default_rng")
        return found

    module.default_rng = default_rng
    state = module.RandomState

    class Kind(type):
        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, state)

    class RandomState(state, metaclass=Kind):
        def __init__(self, seed: Any = None) -> None:
            busy, outside.busy = outside.busy, outside.busy or seed is not None  # NumPy makes it first, then seeds it
            try:
                super().__init__(seed)
            finally:
                outside.busy = busy
            site = caller(above())
            if site and seed is None:
                outside.made[id(self)] = site
            elif site:
                outside.generator(self, site, seed, "numpy.random.RandomState")

    module.RandomState = RandomState


def _take_entropy(outside: Outside, module: Any) -> None:
    """Take over what seeds NumPy's unseeded generators, in anybody's code."""
    plain = module.randbits

    def randbits(size: int) -> int:
        site = "" if outside.busy else caller(above(), far=True)
        if not site:
            return plain(size)
        value = outside.drawn("generator", site) if outside.pinned else plain(size)
        outside.note("generator", site, value, "numpy.random, without a seed")
        return value

    module.randbits = randbits


def take_torch(outside: Outside) -> None:
    """Take over torch's own seeding, and the places that seed it."""
    torch: Any = sys.modules["torch"]
    for module in (torch, torch.random):
        _seeds_from_nowhere(outside, torch, module)
    plain_seed = torch.manual_seed
    if outside.pinned:  # to torch's default: earlier imports may have drawn
        torch.default_generator.manual_seed(TORCH_SEED)
    first = torch.default_generator.get_state()

    @functools.wraps(plain_seed)
    def manual_seed(seed: Any) -> Any:
        where = caller(asking(above()))
        if not outside.seeded["torch"] and not torch.default_generator.get_state().equal(first):
            outside.write(["late", "torch", where])
        outside.seeded["torch"] = True
        outside.write(["s", "torch", where, digest(int(seed)), grad_enabled()])
        outside.on_seed("torch", where, seed)
        return plain_seed(seed)

    torch.manual_seed = torch.random.manual_seed = manual_seed
    torch.Generator = torch.random.Generator = _generator_of(outside, torch.Generator)


def _seeds_from_nowhere(outside: Outside, torch: Any, module: Any) -> None:
    plain = module.seed

    def seed() -> int:
        site = caller(above())
        value = int(plain())
        if site and outside.pinned:
            value = outside.drawn("torch", site) >> 1
            torch.default_generator.manual_seed(value)
        if site:
            outside.note("torch", site, value, "torch.seed()")
        return value

    module.seed = seed


def _generator_of(outside: Outside, plain: Any) -> Any:
    kind: Any = type(plain)

    class Kind(kind):
        def __instancecheck__(self, instance: object) -> bool:
            return isinstance(instance, plain)

    class Generator(plain, metaclass=Kind):
        def manual_seed(self, seed: Any) -> Any:
            super().manual_seed(seed)
            site = caller(above())
            if site:
                outside.generator(self, site, seed, "torch.Generator")
            return self

        def seed(self) -> int:
            value, site = int(super().seed()), caller(above())
            if site and outside.pinned:
                value = outside.drawn("generator", site) >> 1
                super().manual_seed(value)
            if site:
                outside.made[id(self)] = site
                outside.note("generator", site, value, "torch.Generator.seed()")
            return value

    return Generator
