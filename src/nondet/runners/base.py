"""Runners: each makes runs in one way. Subclass `Runner` to add another way, and pass it to `nondet.run`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from nondet.errors import BadInput
from nondet.kinds import Kind, kind_of
from nondet.study.design import Condition, Crossed
from nondet.study.provenance import environment_of_machine
from nondet.study.spec import Outcome
from nondet.study.states import NAMELESS, Seal

OnEpoch = Callable[[int], None]


@dataclass(frozen=True)
class Places:
    """Where half-trained states are kept, for a runner that keeps them.

    snapshot: of exactly these runs, to resume from and to write now and then. fork: the trunk that all of them start
        from.
    trunks: epoch -> file for the state of the run in `trunk_slot` at that epoch. seal: what identifies all of these.
    folder: the study's, for a runner whose runs have their own folders. onset: the epoch from which their sources vary,
        for a runner that makes each run from the beginning.
    """

    snapshot: Path | None = None
    fork: Path | None = None
    trunks: Mapping[int, Path] = field(default_factory=dict[int, Path])
    trunk_slot: int = 0
    seal: Seal = NAMELESS
    folder: Path | None = None
    onset: int = 0


class Enough(Exception):
    """Raised by `on_epoch` when the runs need not go any further; a runner must not catch it."""


class TooWide(BadInput):
    """Raised by `produce` when memory runs out and narrower stacks would give the same runs, bit for bit."""


class Runner:
    """A way to make runs, each from one seed per source.

    name: the task's, in tables and as a folder. sources: the names of the sources that can vary.
    labels: of the test set, `(n, ...)`. epochs: how many a run has, and the latest onset.
    recipe: what a reader should know about the training; part of the identity.
    resumes: why a run cannot start from a stored state; empty if it can, and then conditions may have a late onset.
    repeats: whether equal seeds give equal bits, so that a repeated run proves that this process trains as others did.
    order: what another process needs to make the same runner; empty if no other process can.
    levels: how many values a source has, where that is limited; a condition that varies it has no more runs than that.
    """

    name: str = "runs"
    sources: tuple[str, ...] = ("init",)
    labels: np.ndarray
    epochs: int = 1
    recipe: Mapping[str, Any] = {}
    resumes: str = "its runs keep no states"
    repeats: bool = True
    order: Mapping[str, Any] = {}
    levels: Mapping[str, int] = {}

    @property
    def identity(self) -> dict[str, Any]:
        """What identifies this runner's runs besides their seeds: plain JSON, with the fields `name` and `recipe`."""
        return {"name": self.name, "recipe": {"epochs": self.epochs, **self.recipe}}

    @property
    def kind(self) -> Kind:
        """The kind of the task, as named in the identity."""
        return kind_of(self.identity)

    def width(self, asked: int | None) -> tuple[int, str]:
        """Return how many runs are made together and, if that is not `asked`, a sentence that says why."""
        return asked or 1, ""

    def fastest(self, most: int) -> tuple[int, str]:
        """Return how many runs, up to `most`, train fastest together, and a sentence about it if that was measured."""
        return self.width(None)

    def check_onsets(self, vary: Sequence[str], onsets: Sequence[int]) -> None:
        """Raise BadInput for onsets from which these sources cannot vary; those after the last epoch fail anyway."""

    def check(self, conditions: Sequence[Condition], crossed: Crossed | None) -> None:
        """Raise BadInput for a design whose runs cannot be made, before the first one is."""

    def environment(self, width: int) -> dict[str, Any]:
        """Return everything besides the seeds that can change a run's last bit.

        Runs from different environments are never pooled.
        """
        return {**environment_of_machine(), "device": "cpu", "stack": width}

    def produce(self, seeds: Sequence[Mapping[str, int]], places: Places, on_epoch: OnEpoch) -> list[Outcome]:
        """Make one run for each mapping source -> seed, and return the outcomes in the same order.

        Args:
            on_epoch: call it, as often as you like, with the number of epochs that all runs have finished.
        """
        raise NotImplementedError
