"""Watch random numbers without a seed: unseeded global generators, generators made without a seed, os.urandom."""

from __future__ import annotations

import hashlib
import os
import random
import sys
from typing import Any

from nondet.script.instead import draws_of, instead_of, posing_as
from nondet.script.trace.outside import Outside, as_it_is
from nondet.script.trace.places import above, caller
from nondet.script.trace.values import digest

TORCH_SEED = 67_280_421_310_721
"""The seed of torch's generator if nobody sets one."""


def take_urandom(outside: Outside) -> None:
    def held(site: str, plain: Any, size: int) -> bytes:
        seed = outside.drawn("urandom", site).to_bytes(8, "little")
        return b"".join(hashlib.sha256(seed + bytes([n % 256])).digest() for n in range(size // 32 + 1))[:size]

    outside.take("urandom", os, "urandom", held, "os.urandom", skips=lambda size: outside.busy)
    setattr(random, "_urandom", os.urandom)  # noqa: B010 - used by SystemRandom and secrets


def take_python(outside: Outside) -> None:
    if outside.pinned:
        random.seed(outside.number("python", ""))
    _watch_global(outside, "python", random, random.Random, random.getstate, random.setstate)
    plain = random.Random.__init__

    @instead_of(random.Random, "__init__")
    def init(self: random.Random, x: Any = None) -> None:
        site = "" if isinstance(self, random.SystemRandom) else caller(above())
        plain(self, outside.drawn("generator", site) if site and x is None and outside.pinned else x)
        if site:
            outside.generator(self, x, "random.Random")
        if site and x is None:
            outside.note("generator", site, self, "random.Random()")


def _watch_global(outside: Outside, kind: str, module: Any, generator: type, get: Any, put: Any) -> None:
    """Record each draw from a library's global generator until the program seeds it."""
    seed = module.seed
    first = digest(repr(get())) if kind == "numpy" else ""  # modules draw from Python's generator as they are imported

    def held(site: str, plain: Any, *args: Any, **words: Any) -> Any:
        with outside.unheard():
            before = get()
            seed(outside.drawn(kind, site) & 0xFFFFFFFF)
            value = plain(*args, **words)
            put(before)
        return value

    def skips(*args: Any, **words: Any) -> bool:
        return outside.seeded[kind] or outside.busy

    def shuffled(value: Any, x: Any) -> Any:
        return [value, x]

    for name in draws_of(module, generator):
        plain, shown = getattr(module, name), shuffled if name == "shuffle" else as_it_is
        outside.take(kind, module, name, held, f"{module.__name__}.{name}", shown, skips)
        getattr(module, name).__dict__["__self__"] = plain.__self__  # as the wrapped function has it

    @instead_of(module, "seed")
    def seeding(*args: Any, **words: Any) -> Any:
        given = next(iter([*args, *words.values()]), None)
        if given is not None:
            outside.sets_seed(kind, given, lambda: bool(first) and digest(repr(get())) != first)
            return seed(*args, **words)
        site = caller(above())
        with outside.unheard():
            if outside.pinned and site:
                seed(outside.drawn(kind, site) & 0xFFFFFFFF)
            else:
                seed(*args, **words)
        if site:
            outside.seeded[kind] = True
            outside.note(kind, site, [str(get())], f"{module.__name__}.seed()")


def take_numpy(outside: Outside) -> None:
    """Take over NumPy's generators, once it is imported."""
    module: Any = sys.modules["numpy.random"]
    if outside.pinned:
        module.seed(outside.number("numpy", ""))
    _watch_global(outside, "numpy", module, module.RandomState, module.get_state, module.set_state)
    outside.take(  # what seeds unseeded generators, in anybody's code
        "generator",
        module.bit_generator,
        "randbits",
        lambda site, plain, size: outside.drawn("generator", site),
        "numpy.random, without a seed",
        skips=lambda size: outside.busy,
        far=True,
    )
    plain, state = module.default_rng, module.RandomState

    @instead_of(module, "default_rng")
    def default_rng(seed: Any = None) -> Any:
        found = plain(seed)
        if not isinstance(seed, module.Generator):
            outside.generator(found, seed, "numpy.random.default_rng")
        return found

    class RandomState(state, metaclass=posing_as(state)):
        def __init__(self, seed: Any = None) -> None:
            with outside.unheard(seed is not None):  # NumPy makes it first, then seeds it
                super().__init__(seed)
            outside.generator(self, seed, "numpy.random.RandomState")

    module.RandomState = RandomState


def take_torch(outside: Outside) -> None:
    """Take over torch's own seeding, and the places that seed it."""
    torch: Any = sys.modules["torch"]
    plain_seed, plain_generator = torch.manual_seed, torch.Generator

    def held(site: str, plain: Any) -> int:
        plain()
        value = outside.drawn("torch", site) >> 1
        torch.default_generator.manual_seed(value)
        return value

    for module in (torch, torch.random):
        outside.take("torch", module, "seed", held, "torch.seed()")
    if outside.pinned:  # to torch's default: earlier imports may have drawn
        torch.default_generator.manual_seed(TORCH_SEED)
    first = torch.default_generator.get_state()

    @instead_of(torch, "manual_seed", torch.random)
    def manual_seed(seed: Any) -> Any:
        outside.sets_seed("torch", int(seed), lambda: not torch.default_generator.get_state().equal(first))
        return plain_seed(seed)

    class Generator(plain_generator, metaclass=posing_as(plain_generator)):
        def manual_seed(self, seed: Any) -> Any:
            super().manual_seed(seed)
            outside.generator(self, seed, "torch.Generator")
            return self

        def seed(self) -> int:
            value, site = int(super().seed()), caller(above())
            if site and outside.pinned:
                value = outside.drawn("generator", site) >> 1
                super().manual_seed(value)
            outside.generator(self, None, "torch.Generator")
            if site:
                outside.note("generator", site, value, "torch.Generator.seed()")
            return value

    torch.Generator = torch.random.Generator = Generator
