"""Passes over loaders, in the process that trains: which of them are epochs."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class _Pass:
    """number: among all passes of the process, from 1. loader: which one's, as a number of its own."""

    number: int
    loader: int
    iterator: weakref.ref[Any]

    @property
    def open(self) -> bool:
        """Whether somebody may still take batches of it."""
        iterator = self.iterator()
        return iterator is not None and iterator._nondet_pass is self


class Passes:
    """An epoch is a pass over a loader from which a training step takes its batch.

    A pass over another loader that is taken beside it, as in `zip(a, b)`, is none, nor is an evaluation in between.
    """

    def __init__(self) -> None:
        self.begun, self.loaders = 0, 0
        self.giving: list[_Pass] = []  # those that are open, the one that gave a batch last at the end
        self.last: _Pass | None = None
        self.epoch: _Pass | None = None

    def begin(self, iterator: Any, loader: Any) -> None:
        """A pass over a loader begins, by this iterator."""
        if "_nondet_loader" not in loader.__dict__:
            self.loaders += 1
            object.__setattr__(loader, "_nondet_loader", self.loaders)
        self.begun += 1
        iterator._nondet_pass = _Pass(self.begun, loader._nondet_loader, weakref.ref(iterator))

    def gave(self, iterator: Any) -> None:
        """It gave a batch."""
        self.last = iterator._nondet_pass
        if not self.giving or self.giving[-1] is not self.last:
            self.giving = [*(one for one in self.giving if one.open and one is not self.last), iterator._nondet_pass]

    def end(self, iterator: Any) -> None:
        """It has come to its end. What is trained on then may have been taken before, from the one that gave before."""
        self.giving = [one for one in self.giving if one.open and one is not iterator._nondet_pass]
        iterator._nondet_pass = None
        if self.giving:
            self.last = self.giving[-1]

    def is_new(self) -> bool:
        """Whether the training step that begins now is the first one of an epoch."""
        now, before = self.last, self.epoch
        if now is None or (before is not None and now.number <= before.number):
            return False
        if before is not None and before.open and before.loader != now.loader:
            return False
        self.epoch = now
        return True
