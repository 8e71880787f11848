"""What a study is: a task, an environment, the conditions asked for so far, and the runs that these need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from nondet.io.files import sha256_of_json
from nondet.study.design import Condition, Crossed, Stopping, control
from nondet.study.spec import RunSpec
from nondet.study.store import Store

RECORDED = "recorded"
"""The key that marks an identity whose runs were made elsewhere, and are only kept here."""

EPOCHS = "epochs"
"""The key in an identity for the number of epochs seen in a run; such runs start at epoch 0, whatever their onset."""


@dataclass(frozen=True)
class Study:
    """What `study.json` says.

    identity: what names the task in every run's key; its "recipe" is the flat recipe.
    sources: the task's sources. environment: where its runs are trained; "stack" is the stack width.
    labels: the test labels (n,), kept here so that a study can be read without its task.
    command: the words of the command that last added to it, without its --study, since a study can be moved.
    request, asked: what that command asked to be trained, and how many runs of it, as dictionaries.
    crossed: the crossed design, if one was asked for.
    until: the stopping rule of the last command that had one, and what came of it.
    finished: keys of the runs that a completed command has left; one that is no longer there has been lost.
    """

    folder: Path
    identity: Mapping[str, Any]
    sources: tuple[str, ...]
    environment: Mapping[str, Any]
    labels: np.ndarray
    command: tuple[str, ...] = ()
    conditions: tuple[Condition, ...] = ()
    finished: frozenset[str] = frozenset()
    request: Mapping[str, Any] = field(default_factory=dict[str, Any])
    crossed: Crossed | None = None
    until: Stopping | None = None
    asked: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def store(self) -> Store:
        return Store(self.folder)

    @property
    def epochs(self) -> int:
        """How many epochs a run has; nothing can vary after the end of the last one."""
        return int(self.identity.get(EPOCHS, self.identity["recipe"]["epochs"]))

    @property
    def width(self) -> int:
        return int(self.environment["stack"])

    @property
    def width_free(self) -> bool:
        """Whether a run has the same bits in a stack of any width."""
        return bool(self.environment.get("kernels", {}).get("width_free"))

    @property
    def designs(self) -> list[Condition | Crossed]:
        """The conditions, and the crossed design if there is one."""
        return [*self.conditions, *([self.crossed] if self.crossed else [])]

    @cached_property
    def _plan(self) -> tuple[dict[str, RunSpec], dict[str, RunSpec], dict[str, RunSpec]]:
        """The runs of the designs by key, those of the control, and all of them."""
        specs = {spec.key: spec for design in self.designs for spec in self.specs_of(design)}
        reference = next(iter(specs.values()))
        if RECORDED in self.identity:  # nothing is trained here, so there is no control
            return specs, {reference.key: reference}, specs
        beside = sum(spec.family == reference.family for spec in specs.values())
        repeats = {s.key: s for s in control(reference, beside, self.width)}
        return specs, repeats, specs | repeats

    @cached_property
    def _by_design(self) -> dict[Condition | Crossed, list[RunSpec]]:
        return {design: design.specs(self.identity, self.sources) for design in self.designs}

    def specs_of(self, design: Condition | Crossed) -> list[RunSpec]:
        """Return the runs of a design of this task, in order; those of the study's own designs are cached."""
        return self._by_design.get(design) or design.specs(self.identity, self.sources)

    def specs(self) -> Mapping[str, RunSpec]:
        """Return every distinct run of the designs, by key, in the order of the tables; the reference run is first."""
        return self._plan[0]

    def control_specs(self) -> Mapping[str, RunSpec]:
        """Return the control's runs by key; the first is the reference run."""
        return self._plan[1]

    @property
    def reference(self) -> RunSpec:
        """The run with the fixed seed of every source, which all conditions share."""
        return next(iter(self._plan[0].values()))

    def planned(self) -> Mapping[str, RunSpec]:
        """Return all runs of the study, with the control's repeats after the others."""
        return self._plan[2]

    @cached_property
    def _onsets(self) -> list[int]:
        if EPOCHS in self.identity:  # no run starts from another's state
            return []
        return sorted({spec.onset for spec in self._plan[0].values() if spec.onset})

    @property
    def trunk_key(self) -> str:
        """The name under which a process claims the training of trunks."""
        return sha256_of_json(["trunk", self.reference.key])

    def trunk_path(self, onset: int) -> Path:
        """Return the file of the reference run's state after so many epochs, from which runs with this onset fork."""
        return self.folder / "trunks" / f"{self.reference.key}.{onset}.snapshot"

    def lacking_trunks(self) -> dict[int, Path]:
        """Return onset -> file for each missing trunk: not trained yet, or lost."""
        paths = {onset: self.trunk_path(onset) for onset in self._onsets}
        return {onset: path for onset, path in paths.items() if not path.exists()}
