"""Runs that are known only by their outputs or scores: those of scripts, commands and functions."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from nondet.errors import BadInput
from nondet.kinds.scores import ARRAY
from nondet.runners.base import OnEpoch, Places, Runner
from nondet.sources import FIXED_SEED
from nondet.study import choices
from nondet.study.provenance import environment_of_machine
from nondet.study.spec import Outcome


@dataclass(frozen=True)
class Made:
    """What a run's process left.

    failure: why the run does not count; empty if it does. last: the last lines of its output. log: the file of the
    whole output, in the study's folder. curves: all values, in order, of each score that was reported more than once.
    """

    arrays: Mapping[str, np.ndarray]
    scores: Mapping[str, float]
    ledger: Mapping[str, Any]
    failure: str = ""
    last: Sequence[str] = ()
    curves: Mapping[str, Sequence[float]] = field(default_factory=dict[str, Sequence[float]])
    log: str = ""


FACTS = ("start", "data", "draws", "bit", "outside", "machine")
"""What is kept from a run's ledger: digests of its first weights and of its batches, how often each source was drawn
from, which bit was moved, the files that it wrote outside its folder, and what it was made with, where that varies."""

CURVES = "curves"
"""The identity's field for scores with a value for each epoch, and the prefix of their arrays' names."""

_LONGEST = 500
"""How many characters of a line are kept."""


class Observed(Runner):
    """A runner that sees only what a run leaves. `make` makes one run.

    known: runs that were made before the study existed, by the names that `varied` gives them.
    """

    def __init__(
        self,
        name: str,
        identity: Mapping[str, Any],
        sources: Sequence[str],
        labels: np.ndarray,
        *,
        device: str = "cpu",
        known: Mapping[str, Made] | None = None,
        repeats: bool = True,
    ) -> None:
        self.name, self._identity, self.sources, self.labels = name, dict(identity), tuple(sources), labels
        self.recipe, self.device, self.repeats, self.known = identity["recipe"], device, repeats, dict(known or {})

    @property
    def identity(self) -> dict[str, Any]:
        return dict(self._identity)

    def width(self, asked: int | None) -> tuple[int, str]:
        return 1, ""

    def environment(self, width: int) -> dict[str, Any]:
        found = {**environment_of_machine(), "device": self.device, "stack": width}
        found["threads"] = int(os.environ.get("OMP_NUM_THREADS", "1"))
        return found | {"variables": choices.variables(self.device != "cpu")}

    def make(self, seeds: Mapping[str, int], folder: Path | None, onset: int = 0) -> Made:
        """Make one run. folder: the study's. onset: the epoch from which its sources vary."""
        raise NotImplementedError

    def produce(self, seeds: Sequence[Mapping[str, int]], places: Places, on_epoch: OnEpoch) -> list[Outcome]:
        found: list[Outcome] = []
        for run in seeds:
            known = self.known.pop(varied(run, places.onset), None)
            found.append(self.outcome(known or self.make(run, places.folder, places.onset)))
            on_epoch(self.epochs)
        return found

    def outcome(self, made: Made) -> Outcome:
        failure = made.failure or self.misfit(made)
        arrays: dict[str, np.ndarray] = {}
        if not failure:
            arrays |= {"outputs": made.arrays["outputs"]} if "outputs" in made.arrays else {}
            if names := self._identity.get("scores", ()):
                arrays[ARRAY] = np.array([made.scores[name] for name in names], dtype=np.float64)
            if not all(np.isfinite(array).all() for array in arrays.values()):
                failure = "not all numbers that it left are finite"
        facts = {name: made.ledger[name] for name in FACTS if made.ledger.get(name)}
        if failure:
            said = {"last": [line[:_LONGEST] for line in made.last], "log": made.log}
            return Outcome({}, 1, {**facts, "failure": failure, **{name: one for name, one in said.items() if one}})
        for name in self._identity.get(CURVES, ()):
            arrays[f"{CURVES}.{name}"] = np.array(made.curves.get(name, [made.scores[name]]), dtype=np.float64)
        return Outcome(arrays, None, facts)

    def misfit(self, made: Made) -> str:
        """Say why a run does not match the first one; empty if it does."""
        shape = self._identity.get("shape")
        if shape is not None:
            if "outputs" not in made.arrays:
                return "it left no outputs, but the first run did"
            outputs = made.arrays["outputs"]
            if list(outputs.shape) != shape:
                return f"it left outputs of shape {tuple(outputs.shape)}, but the first run left {tuple(shape)}"
            if outputs.dtype.kind not in "iuf":
                return f"it left outputs that are not numbers ({outputs.dtype})"
            if "labels" in made.arrays and not np.array_equal(made.arrays["labels"], self.labels):
                return "its labels differ from the first run's: it is another test set"
        lacking = [name for name in self._identity.get("scores", ()) if name not in made.scores]
        return f"it left no {', '.join(lacking)}, but the first run did" if lacking else ""


def varied(seeds: Mapping[str, int], onset: int = 0) -> str:
    """Name a run by the sources that vary in it and their seeds.

    For example "init=2", "bit=2@3" from epoch 3 on, or "reference" if none varies.
    """
    name = ",".join(f"{name}={seed}" for name, seed in seeds.items() if seed != FIXED_SEED)
    return (f"{name}@{onset}" if onset else name) if name else "reference"


def described(
    name: str, recipe: Mapping[str, Any], code: Mapping[str, str] | str, made: Made, way_out: str
) -> tuple[dict[str, Any], np.ndarray]:
    """Return the identity of runs like this one, and the test labels.

    Raises:
        BadInput: it left nothing that can be measured.
    """
    kind, labels, shape = _kind(made)
    scores = list(made.scores)
    if not kind and not scores:
        raise BadInput(f"a run must leave outputs or scores, but the first one left neither; {way_out}")
    identity: dict[str, Any] = {"name": name, "kind": kind or "scores", "recipe": dict(recipe), "code": code}
    more = {"scores": scores, "shape": shape, CURVES: list(made.curves)}
    return identity | {field: value for field, value in more.items() if value}, labels


def _kind(made: Made) -> tuple[str, np.ndarray, list[int]]:
    """Return the kind's name, the labels and the outputs' shape; the name is empty if there are no outputs."""
    if "outputs" not in made.arrays:
        return "", np.empty(0, np.int64), []
    outputs = made.arrays["outputs"]
    if "labels" not in made.arrays:
        raise BadInput("outputs need labels (the run left only outputs); add <<labels=FILE>>")
    labels = made.arrays["labels"]
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or labels.shape != outputs.shape[:1]:
        raise BadInput(
            f"labels must be whole class numbers, one for each output (got {labels.dtype} of shape {labels.shape} with "
            f"outputs of shape {outputs.shape}); leave scores instead, with <<metrics>> or nondet.record(score=...)"
        )
    whole = outputs.dtype.kind in "iu"
    if outputs.ndim != (1 if whole else 2) or not (whole or outputs.dtype.kind == "f"):
        raise BadInput(
            f"outputs must be logits (examples, classes), or predicted classes (examples,) as whole numbers (got "
            f"{outputs.dtype} of shape {outputs.shape}); leave one of these"
        )
    return "predictions" if whole else "classification", labels.astype(np.int64), list(outputs.shape)
