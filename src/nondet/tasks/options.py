"""What a command may say of a built-in task besides its recipe."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Options:
    """data: the folder of the official files; None fetches them into a cache. model: a network by name.
    train_examples, test_examples: take only the first so many examples. broken: what to do about images that cannot
    be decoded, "stop" or "skip".
    """

    data: Path | None = None
    model: str | None = None
    train_examples: int | None = None
    test_examples: int | None = None
    broken: str = "stop"
