"""What can vary between two trainings, and the random numbers that belong to each.

A random number here belongs to (source, seed, place): never to a position in a stack, a thread or a global state.
So a run drawn again is the same run, and changing one source's seed changes nothing of another's.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from types import MappingProxyType

import numpy as np

FIXED_SEED = 1
"""The seed of every source that a condition holds fixed (the protocol's choice)."""

SOURCES: Mapping[str, str] = MappingProxyType(
    {
        "init": "the model's initial parameters",
        "shuffle": "the order of the training examples in each epoch",
        "augment": "the random crops and flips of the training images",
        "dropout": "the masks of the model's dropout layers",
        "order": "the place of the examples inside each mini-batch: the same update, summed in another order",
        "kernels": "CUDA's nondeterministic kernels in place of the deterministic ones",
        "bit": "one weight, moved to the next float up or down before training or at the onset",
    }
)
"""Sources by name, in the order of every table. With the fixed seed, `order` and `bit` change nothing.

`kernels` has no random numbers of its own: its fixed seed means the deterministic kernels, every other seed those that
the libraries choose, and the number only tells runs apart."""


def stream(source: str, seed: int, *place: int) -> np.random.Generator:
    """The random numbers of one source, seed and place (an epoch, then perhaps a step).

    numpy's SeedSequence spreads (seed; source, place) over the Philox generator's key, so that streams that differ
    in any of them are independent. The source enters by 32 bits of its name's SHA-256: a name is its own number.
    """
    number = int.from_bytes(hashlib.sha256(source.encode()).digest()[:4], "little")
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=(number, *place))))


@contextmanager
def seeded_globals(rng: np.random.Generator) -> Generator[None]:
    """Seed the global generators of torch (CPU), numpy and Python inside the block, and restore them after it.

    Model constructors draw from them; nothing else in nondet does.
    """
    import torch

    before = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        torch.random.manual_seed(int(rng.integers(2**63)))
        random.seed(int(rng.integers(2**63)))
        np.random.seed(rng.integers(2**32, size=4, dtype=np.uint32))
        try:
            yield
        finally:
            random.setstate(before[0])
            np.random.set_state(before[1])
