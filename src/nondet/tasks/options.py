"""What a command can set for a built-in task besides its recipe."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nondet.errors import BadInput

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Options:
    """data: the folder of the official files; None fetches them into a cache. model: a network by name.
    train_examples, test_examples: use only this many examples, from the start. broken: what to do with images that
    cannot be decoded, "stop" or "skip".
    """

    data: Path | None = None
    model: str | None = None
    train_examples: int | None = None
    test_examples: int | None = None
    broken: str = "stop"

    def first(self, part: str, data: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Return this many examples of "train" or "test", or all of them; BadInput if there are fewer."""
        count = getattr(self, f"{part}_examples")
        if count is not None and not 1 <= count <= len(data[1]):
            raise BadInput(
                f"{part}_examples must be from 1 to {len(data[1])} (got {count}); choose fewer, or leave it out"
            )
        return data[0][:count], data[1][:count]
