"""Passes over loaders in the training process, and which of them are epochs."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class _Pass:
    """number: of the pass among all passes of the process, from 1. loader: the number of its loader."""

    number: int
    loader: int
    iterator: weakref.ref[Any]

    @property
    def open(self) -> bool:
        """Whether the script may still take batches from it."""
        iterator = self.iterator()
        return iterator is not None and iterator._nondet_pass is self


class Passes:
    """An epoch is a pass over a loader from which a training step takes its batch.

    A pass over another loader at the same time, as in `zip(a, b)`, is not one, and neither is an evaluation in between.
    """

    def __init__(self) -> None:
        self.begun, self.loaders = 0, 0
        self.giving: list[_Pass] = []  # the open ones; the last of them gave the latest batch
        self.last: _Pass | None = None
        self.epoch: _Pass | None = None

    def begin(self, iterator: Any, loader: Any) -> None:
        """Note that this iterator begins a pass over a loader."""
        if "_nondet_loader" not in loader.__dict__:
            self.loaders += 1
            object.__setattr__(loader, "_nondet_loader", self.loaders)
        self.begun += 1
        iterator._nondet_pass = _Pass(self.begun, loader._nondet_loader, weakref.ref(iterator))

    def gave(self, iterator: Any) -> None:
        """Note that it gave a batch."""
        self.last = iterator._nondet_pass
        if not self.giving or self.giving[-1] is not self.last:
            self.giving = [*(one for one in self.giving if one.open and one is not self.last), iterator._nondet_pass]

    def end(self, iterator: Any) -> None:
        """Note that it has ended. The next step may train on an earlier batch, from the pass that gave one before."""
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
