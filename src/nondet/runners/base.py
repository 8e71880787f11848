"""What makes runs: one object a way. Subclass `Runner` for another, and give it to `nondet.run`."""

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
    """Where half-trained states stand, for a runner that keeps any.

    snapshot: of these very runs, to go on from and to write now and then. fork: the trunk that all of them start from.
    trunks: epoch -> file of the states that the run in `trunk_slot` leaves. seal: what names all of these.
    folder: the study's, for a runner whose runs have folders of their own. onset: the epoch from which on their sources
        vary, for a runner that makes each run from its beginning.
    """

    snapshot: Path | None = None
    fork: Path | None = None
    trunks: Mapping[int, Path] = field(default_factory=dict[int, Path])
    trunk_slot: int = 0
    seal: Seal = NAMELESS
    folder: Path | None = None
    onset: int = 0


class Enough(Exception):
    """What `on_epoch` raises where runs are wanted no further; a runner lets it pass."""


class TooWide(BadInput):
    """What `produce` raises where the memory ends and the same runs can be made in narrower stacks, bit for bit."""


class Runner:
    """A way to make runs, each from one seed for each source.

    name: of the task, in tables and as a folder. sources: the names of the sources that can vary.
    labels: of the test set, `(n, ...)`. epochs: how many a run has, the last onset.
    recipe: what a reader should know of the training; part of the identity.
    resumes: why a run cannot start from a stored state; empty if it can, and then conditions may have a late onset.
    repeats: whether equal seeds give equal bits, so that a repeated run proves that this process is as others were.
    order: what another process needs to make the same runner; empty if no other process can.
    levels: of sources that have so many values and no more: a condition that varies one has no more runs.
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
        """What names the runs of this runner besides their seeds; plain JSON, with the fields `name` and `recipe`."""
        return {"name": self.name, "recipe": {"epochs": self.epochs, **self.recipe}}

    @property
    def kind(self) -> Kind:
        """The kind of the task, which the identity names."""
        return kind_of(self.identity)

    def width(self, asked: int | None) -> tuple[int, str]:
        """How many runs are made together; and, where that is not as asked, a sentence that says why."""
        return asked or 1, ""

    def fastest(self, most: int) -> tuple[int, str]:
        """How many runs are made together fastest, at most so many; and a sentence on it, if it is measured."""
        return self.width(None)

    def check_onsets(self, vary: Sequence[str], onsets: Sequence[int]) -> None:
        """Refuse, by BadInput, epochs from which on these cannot vary in its runs; those beyond its last one are."""

    def check(self, conditions: Sequence[Condition], crossed: Crossed | None) -> None:
        """Refuse, by BadInput, a design whose runs cannot be made, before the first is."""

    def environment(self, width: int) -> dict[str, Any]:
        """Everything besides the seeds that can change a run's last bit; runs of two environments are never pooled."""
        return {**environment_of_machine(), "device": "cpu", "stack": width}

    def produce(self, seeds: Sequence[Mapping[str, int]], places: Places, on_epoch: OnEpoch) -> list[Outcome]:
        """Make one run for each of these, source -> seed, and return their outcomes in that order.

        Args:
            on_epoch: to be called with the number of epochs that are done of all of them, as often as you like.
        """
        raise NotImplementedError
