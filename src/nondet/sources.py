"""What can vary between two trainings, and the random numbers that belong to each.

A random number here belongs to (source, seed, place): never to a position in a stack, a thread or a global state.
So a run drawn again is the same run, and changing one source's seed changes nothing of another's.
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
"""The seed of every source that a condition holds fixed (the protocol's choice)."""


def is_name(name: str) -> bool:
    """Whether a source may be called so: it stands in commands, in names of conditions and in tables."""
    return bool(re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]*", name))


@dataclass(frozen=True)
class Source:
    """What can vary between two trainings. One of your own needs a name alone: `nondet.Source("labelnoise")`.

    name: as in tables and in `--vary`. text: what varies, in words. causes: why it may reach no output.
    in_all: whether `all` varies it too. seeded: whether it has random numbers: those without cannot be crossed, since
        their numbers only tell runs apart. at_start: whether it has had its effect before a later onset comes.
    """

    name: str
    text: str = ""
    causes: str = "nothing is drawn from it or changed by what is drawn, or the learning rate is 0"
    in_all: bool = True
    seeded: bool = True
    at_start: bool = False

    def __post_init__(self) -> None:
        if not is_name(self.name) or self.name in ("all", "crossed", "deterministic"):
            raise BadInput(
                "a source's name must be letters, digits, _, . and -, beginning with a letter, and not all, crossed or "
                f"deterministic (got {self.name!r}); choose another"
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
                "the model's constructor seeds the generators itself (torch.manual_seed), draws from a generator of "
                "its own, or loads fixed weights",
                at_start=True,
            ),
            Source(
                "shuffle",
                "the order of the training examples in each epoch",
                "the learning rate is 0, or there is one training example",
            ),
            Source(
                "augment",
                "the random crops and flips of the training images",
                "the augmentation draws from a generator of its own and not from the one it is given, it changes "
                "nothing (such as a crop without padding), or the learning rate is 0",
            ),
            Source(
                "dropout",
                "the masks of the model's dropout layers",
                "what the dropout layers change reaches no output, their probability is so small that nothing is "
                "dropped, or the learning rate is 0",
            ),
            Source(
                "order",
                "the place of the examples inside each mini-batch: the same update, summed in another order",
                "a mini-batch is one example, its sums are exact in any order, or the learning rate is 0",
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
                "the weights that are changed reach no output (the recipe's bit chooses another parameter), or the "
                "change is rounded away",
                in_all=False,
            ),
            Source(
                "threads",
                "how many threads torch and NumPy compute with: the values that are declared, as in threads=1,2",
                "the script sets the number itself (torch.set_num_threads), or no sum is split among threads",
                in_all=False,
                seeded=False,
            ),
            Source(
                "isa",
                "which instructions of the processor the libraries may use, as in isa=avx2,baseline",
                "no operation has another kernel for these instructions",
                in_all=False,
                seeded=False,
            ),
            Source(
                "precision",
                "how exact products of float32 are, as in precision=highest,medium; or float64 throughout",
                "this processor has no faster product, or the script sets it itself",
                in_all=False,
                seeded=False,
            ),
            Source(
                "versions",
                "another environment's Python with its own libraries, by its path, as in versions=../other/bin/python",
                "the two environments compute alike",
                in_all=False,
                seeded=False,
            ),
        )
    }
)
"""Sources by name, in the order of every table. With the fixed seed, `order` and `bit` change nothing.

`kernels` has no random numbers of its own: its fixed seed means the deterministic kernels, every other seed those that
the libraries choose, and the number only tells runs apart."""


OF_THE_MACHINE = ("threads", "isa", "precision", "versions")
"""Sources whose numbers are those of values that are declared: see `nondet.runners.machine`."""


def source_called(name: str) -> Source:
    """The source of this name; one that nondet does not know is a task's own."""
    return SOURCES[name] if name in SOURCES else Source(name if is_name(name) else "unnamed")


def in_all(sources: Sequence[str]) -> tuple[str, ...]:
    """Those of a task's sources that `all` varies."""
    return tuple(name for name in sources if source_called(name).in_all)


def stream(source: str, seed: int, *place: int) -> np.random.Generator:
    """The random numbers of one source, seed and place (an epoch, then perhaps a step).

    numpy's SeedSequence spreads (seed; source, place) over the Philox generator's key, so that streams that differ
    in any of them are independent. The source enters by 32 bits of its name's SHA-256: a name is its own number.
    """
    number = int.from_bytes(hashlib.sha256(source.encode()).digest()[:4], "little")
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=(number, *place))))


@contextmanager
def globals_drawn() -> Generator[Callable[[], tuple[str, ...]]]:
    """Which of the global generators of torch (CPU), numpy and Python the block drew from; then they are put back.

    Asked for after the block, or in it.
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
        else:  # the same, without a stack trace noted for each device that might come
            torch.default_generator.manual_seed(number)
        random.seed(int(rng.integers(2**63)))
        np.random.seed(rng.integers(2**32, size=4, dtype=np.uint32))
        try:
            yield
        finally:
            random.setstate(before[0])
            np.random.set_state(before[1])
