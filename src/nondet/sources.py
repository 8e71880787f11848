"""What can vary between two trainings, and the random numbers that belong to each.

A random number here belongs to (source, seed, place), never to a position in a stack, a thread or a global state. So
drawing a run again gives the same run, and changing one source's seed changes no other source.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from nondet.errors import BadInput

FIXED_SEED = 1
"""The seed of every source that a condition keeps fixed (the protocol's choice)."""


def is_name(name: str) -> bool:
    """Whether this may name a source; names appear in commands, in names of conditions and in tables."""
    return bool(re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]*", name))


@dataclass(frozen=True)
class Source:
    """Something that can vary between two trainings. Your own needs only a name: `nondet.Source("labelnoise")`.

    name: as in tables and in `--vary`. text: what varies, in words. causes: why it may reach no output.
    in_all: whether `all` varies it too. seeded: whether it has random numbers; a source without them cannot be crossed,
        because its numbers only tell runs apart. at_start: whether it acts only before training, so that a later onset
        comes too late for it.
    """

    name: str
    text: str = ""
    causes: str = "nothing is drawn from it, nothing depends on what is drawn, or the learning rate is 0"
    in_all: bool = True
    seeded: bool = True
    at_start: bool = False

    def __post_init__(self) -> None:
        if not is_name(self.name) or self.name in ("all", "crossed", "deterministic"):
            raise BadInput(
                "a source's name must consist of letters, digits, _, . and -, begin with a letter, and not be all, "
                f"crossed or deterministic (got {self.name!r}); choose another"
            )

    def __str__(self) -> str:
        return self.text or self.name


SOURCES: Mapping[str, Source] = MappingProxyType(
    {
        source.name: source
        for source in (
            Source(
                "init",
                "the model's initial parameters",
                "the model's constructor seeds the generators itself (torch.manual_seed), draws from its own "
                "generator, or loads fixed weights",
                at_start=True,
            ),
            Source(
                "shuffle",
                "the order of the training examples in each epoch",
                "the learning rate is 0, or there is only one training example",
            ),
            Source(
                "augment",
                "the random crops and flips of the training images",
                "the augmentation draws from its own generator instead of the one it is given, it changes nothing "
                "(such as a crop without padding), or the learning rate is 0",
            ),
            Source(
                "dropout",
                "the masks of the model's dropout layers",
                "the dropout layers reach no output, their probability is so small that nothing is dropped, or the "
                "learning rate is 0",
            ),
            Source(
                "order",
                "the order of the examples inside each mini-batch: the same update, summed in another order",
                "a mini-batch has only one example, its sums are exact in any order, or the learning rate is 0",
            ),
            Source(
                "selection",
                "the validation examples that choose the epoch a run ends with: a bootstrap sample of them",
                "every sample of the validation examples chooses the same epoch",
            ),
            Source(
                "kernels",
                "CUDA's nondeterministic kernels in place of the deterministic ones",
                "no operation of this training has a nondeterministic kernel",
                seeded=False,
            ),
            Source(
                "other",
                "what a script draws outside the other sources: splits, negative samples, mixup in the training loop",
                "what is drawn reaches no output, or the learning rate is 0",
            ),
            Source(
                "bit",
                "one weight, moved to the next float up or down before training or at the onset",
                "the changed weights reach no output (the recipe's bit chooses another parameter), or the change is "
                "rounded away",
                in_all=False,
            ),
            Source(
                "threads",
                "how many threads torch and NumPy use: the values you declare, as in threads=1,2",
                "the script sets the number itself (torch.set_num_threads), or no sum is split among threads",
                in_all=False,
                seeded=False,
            ),
            Source(
                "isa",
                "which instructions of the processor the libraries may use, as in isa=avx2,baseline",
                "no operation has a different kernel for these instructions",
                in_all=False,
                seeded=False,
            ),
            Source(
                "precision",
                "the precision of float32 products, as in precision=highest,medium; or float64 throughout",
                "this processor has no faster product, or the script sets the precision itself",
                in_all=False,
                seeded=False,
            ),
            Source(
                "versions",
                "another environment's Python with its libraries, given by its path, as in "
                "versions=../other/bin/python",
                "the two environments compute the same",
                in_all=False,
                seeded=False,
            ),
        )
    }
)
"""Sources by name, in the order of every table. With the fixed seed, `order` and `bit` change nothing.

`kernels` has no random numbers: its fixed seed means the deterministic kernels, and every other seed means those that
the libraries choose. The number only tells runs apart."""


OF_THE_MACHINE = ("threads", "isa", "precision", "versions")
"""Sources whose seeds number the values that the user declares; see `nondet.runners.machine`."""


def source_called(name: str) -> Source:
    """Return the source of this name; a name that nondet does not know is a task's own source."""
    return SOURCES[name] if name in SOURCES else Source(name if is_name(name) else "unnamed")


def in_all(sources: Sequence[str]) -> tuple[str, ...]:
    """Return the ones of a task's sources that `all` varies."""
    return tuple(name for name in sources if source_called(name).in_all)


def stream(source: str, seed: int, *place: int) -> np.random.Generator:
    """Return the random generator of one source, seed and place (an epoch, then perhaps a step).

    numpy's SeedSequence spreads (seed; source, place) over the Philox generator's key, so streams that differ in any of
    these are independent. The source is represented by 32 bits of its name's SHA-256.
    """
    number = int.from_bytes(hashlib.sha256(source.encode()).digest()[:4], "little")
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=(number, *place))))


@contextmanager
def globals_drawn() -> Generator[Callable[[], tuple[str, ...]]]:
    """Yield a function that tells which global generators of torch (CPU), numpy and Python the block drew from.

    Call it in the block or after it. The generators' states are restored at the end.
    """
    import torch

    before = torch.get_rng_state(), random.getstate(), np.random.get_state()
    found: list[tuple[str, ...]] = []

    def drawn() -> tuple[str, ...]:
        if found:
            return found[0]
        numbers: Any = np.random.get_state()
        mine: Any = before[2]
        moved = {
            "torch": not torch.equal(torch.get_rng_state(), before[0]),
            "numpy": numbers[2] != mine[2] or not np.array_equal(numbers[1], mine[1]),
            "Python": random.getstate() != before[1],
        }
        return tuple(name for name in moved if moved[name])

    try:
        yield drawn
    finally:
        found.append(drawn())
        if found[0]:
            torch.set_rng_state(before[0])
            random.setstate(before[1])
            np.random.set_state(before[2])


@contextmanager
def seeded_globals(rng: np.random.Generator) -> Generator[None]:
    """Seed the global generators of torch (CPU), numpy and Python inside the block, and restore them after it.

    Model constructors draw from them; nothing else in nondet does.
    """
    import torch

    before = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        number = int(rng.integers(2**63))
        if torch.accelerator.is_available():
            torch.random.manual_seed(number)
        else:  # the same, without recording a stack trace for each device that might exist
            torch.default_generator.manual_seed(number)
        random.seed(int(rng.integers(2**63)))
        np.random.seed(rng.integers(2**32, size=4, dtype=np.uint32))
        try:
            yield
        finally:
            random.setstate(before[0])
            np.random.set_state(before[1])
