"""What a study found: its runs read once, checked, and measured condition by condition."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from nondet.analysis.crossing import Crossing, read_crossing
from nondet.analysis.reader import Reader
from nondet.analysis.runs import Failure, Runs
from nondet.errors import BadInput
from nondet.io.nearest import did_you_mean
from nondet.kinds import Kind, kind_of
from nondet.measures.measured import Measures, not_measured
from nondet.measures.similarity import cka_by_run, cka_unbiased_by_run, parameter_distance
from nondet.records import Record, finding, stacked
from nondet.running.until import CAUTION
from nondet.stats.estimate import UNKNOWN, Estimate, listed
from nondet.stats.intervals import mean_estimate, pairwise_estimate
from nondet.study.design import Condition
from nondet.study.form import FORMAT
from nondet.study.study import Study
from nondet.version import __version__

TRACK = "track."


@dataclass(frozen=True)
class Control:
    """The repeats of the reference run, trained apart in different stacks.

    identical: whether all their files are equal to the last bit; None while there are fewer than two.
    slots: the slot of each in its stack, from 1. differing: the numbers, from 1, of those that differ from the first.
    largest: the largest difference between two outputs. failures: number of each that failed, from 1 -> why and when.
    outside: files that a script's runs write outside their folders, where the next run may read them.
    """

    runs: int
    identical: bool | None
    slots: tuple[int, ...] = ()
    differing: tuple[int, ...] = ()
    largest: float = 0.0
    failures: Mapping[int, Failure] = field(default_factory=dict[int, Failure])
    measures: Measures | None = None
    outside: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        apart = {"slots": list(self.slots), "differing": list(self.differing)} if self.differing else {}
        return {"runs": self.runs, "identical": self.identical, **apart, **_failures(self.failures)}


def _failures(found: Mapping[int, Failure]) -> dict[str, Any]:
    return {"failures": [failure.to_dict(number) for number, failure in found.items()]} if found else {}


@dataclass(frozen=True)
class Reach:
    """Whether what varies in a condition reaches its runs' answers; if not, it shows no effect of 0: its seed is dead.

    Weights and curves are not compared: a parameter that no output depends on may well differ.

    runs: its sound runs besides the reference run. unreached: how many of them have the reference run's answers;
        None while there is no sound reference run.
    distinct: how many different answers its sound runs have.
    dead: whether all of them equal the reference run; None if that cannot be known, since a run is not there yet, the
        reference run failed, the control is not zero, or nothing is left that could vary.
    past: whether nothing is left that could vary: init at a late onset, or anything at the end of the last epoch.
    """

    runs: int = 0
    unreached: int | None = None
    distinct: int = 0
    dead: bool | None = None
    past: bool = False

    @property
    def repeated(self) -> int:
        """How many runs equal an earlier one that is not the reference run."""
        return 0 if self.unreached is None else self.runs - self.unreached - (self.distinct - 1)


UNREAD = Reach()
"""The reach before any run is there."""


@dataclass(frozen=True)
class ConditionResult:
    """A condition: how many of its runs are there, which failed, and its measures if at least two did not.

    failures: number of the failed run, from 1 -> why and when it failed.
    similarity: for each tracked layer and epoch, CKA as the mean over pairs of runs.
    distance: for each tracked epoch, the mean distance of the runs' parameters from those of run 1.
    reach: whether what varies reaches the outputs.
    """

    condition: Condition
    runs: int
    failures: Mapping[int, Failure]
    measures: Measures | None
    similarity: tuple[Mapping[str, Any], ...] = ()
    distance: tuple[Mapping[str, Any], ...] = ()
    reach: Reach = UNREAD

    @property
    def dead(self) -> bool:
        """Whether what varies here is known to reach no output; then none of its numbers is a finding."""
        return self.reach.dead is True

    @property
    def effect(self) -> Measures | None:
        """The measures, unless the source is dead."""
        return None if self.dead else self.measures

    def to_dict(self, kind: Kind, tracked: bool) -> dict[str, Any]:
        c, measures = self.condition, self.measures
        figures = measures.as_condition() if measures else not_measured(kind.figures, self.runs, len(self.failures))
        looked = {"similarity": list(self.similarity), "distance": list(self.distance)} if tracked else {}
        return {
            "name": c.name,
            "vary": list(c.vary),
            "onset": c.onset,
            "dead": self.reach.dead,
            "unreached": self.reach.unreached,
            **figures,
            **looked,
            **_failures(self.failures),
        }


@dataclass(frozen=True, repr=False)
class Results(Record):
    """What `nondet show` shows. drawn: whether errors and intervals also allow for other test examples."""

    study: Study
    control: Control
    conditions: tuple[ConditionResult, ...]
    missing: int
    crossing: Crossing | None = None
    drawn: bool = False

    @property
    def kind(self) -> Kind:
        return kind_of(self.study.identity)

    @property
    def dead(self) -> list[str]:
        """The names of the conditions known to be dead."""
        return [c.condition.name for c in self.conditions if c.dead]

    def __getitem__(self, name: str) -> ConditionResult:
        """Return the condition of this name; BadInput if there is none."""
        named = {c.condition.name: c for c in self.conditions}
        if name not in named:
            near = did_you_mean(name, named)
            raise BadInput(
                f"there is no condition {name!r} in {self.study.folder}{near}; choose from {', '.join(named)}"
            )
        return named[name]

    def to_dict(self) -> dict[str, Any]:
        """The JSON of `nondet show --json`."""
        study, kind = self.study, self.kind
        return {
            "format": FORMAT,
            "nondet": __version__,
            "task": study.identity["name"],
            "recipe": dict(study.identity["recipe"]),
            "environment": dict(study.environment),
            "control": self.control.to_dict(),
            "conditions": [c.to_dict(kind, bool(study.identity.get("track"))) for c in self.conditions],
            **(self.crossing.to_dict() if self.crossing else {}),
            **({"until": {**asdict(study.until), "caution": CAUTION}} if study.until else {}),
            **finding(self),
        }

    def tidy(self) -> dict[str, list[Any]]:
        """A row for each measure of each condition, and of the control."""
        named = [("deterministic", self.control.measures), *((c.condition.name, c.measures) for c in self.conditions)]
        parts = [(name, {"runs": [m.sound] * len(m.estimates), **m.tidy()}) for name, m in named if m]
        return stacked("condition", parts or [("", {"runs": []})])


def read_results(study: Study, drawn: bool = False) -> Results:
    """Read and measure all runs that are there; Damaged at the first unsound one, with the way to train it again.

    drawn: whether errors and intervals also allow for other test examples; BadInput if these are not drawn one by one.
    """
    kind = kind_of(study.identity)
    if drawn and not kind.by_example:
        raise BadInput(
            f"<<examples>> is for classifiers, whose test examples are drawn one by one (got a {kind.what}); leave it "
            "out"
        )
    reader = Reader(study, [TRACK] if study.identity.get("track") else [])
    control, reference = _control(study, reader, drawn), reader.reference()
    conditions = tuple(_measured(study, reader.runs(c), reference, control.identical, drawn) for c in study.conditions)
    missing = len(study.planned().keys() - reader.present)
    return Results(study, control, conditions, missing, read_crossing(study, reader), drawn)


def _measured(
    study: Study, runs: Runs, reference: bytes | None, identical: bool | None, drawn: bool
) -> ConditionResult:
    condition: Any = runs.condition
    total, reach = len(runs.made) + len(runs.failed), _reach(study, runs, reference, identical)
    if len(runs) < 2:
        return ConditionResult(condition, total, runs.failures, None, reach=reach)
    return ConditionResult(condition, total, runs.failures, runs.measure(drawn), *_tracked(study, runs), reach=reach)


def _reach(study: Study, runs: Runs, reference: bytes | None, identical: bool | None) -> Reach:
    """Find how far a condition's sources reach.

    Args:
        runs: the condition's. reference: the digest of the reference run's answers; None while there is no sound one.
        identical: whether the control's runs are equal to the last bit.
    """
    condition: Any = runs.condition
    first = study.reference.key
    own = [spec.key for spec in study.specs_of(condition) if spec.key != first]
    past = not own or condition.onset >= study.epochs
    digests = [made.digest for made in runs.made if made.key != first]
    if reference is None:
        return Reach(len(digests), distinct=len(set(digests)), past=past)
    unreached, there = digests.count(reference), len(digests) + len(runs.failed)
    dead: bool | None = None
    if identical is not False and not past:
        if unreached < there:  # a run that fails when the reference run does not differs from it
            dead = False if identical else None
        elif there == len(own):
            dead = True
    return Reach(len(digests), unreached, len({reference, *digests}), dead, past)


def _control(study: Study, reader: Reader, drawn: bool) -> Control:
    every, sound = reader.control()
    found = Control(len(every), None, failures=sound.failures)
    if len(every) < 2:
        return found
    differing = tuple(made.number for made in every if made.file != every[0].file)
    slots = tuple(made.slot for made in every if made.slot)
    found = replace(found, identical=not differing, slots=slots, differing=differing)
    if len(sound) < 2:
        return found
    if not differing:  # two of them stand for all
        return replace(found, measures=replace(sound.first(2).measure(drawn), runs=len(every)))
    last = sound.arrays[list(sound.kind.answers)[-1]]
    facts = reader.run(study.reference)[1].get("facts") if study.reference.key in reader.present else None
    written = facts.get("outside") if isinstance(facts, dict) else None
    outside = tuple(map(str, written)) if isinstance(written, list) else ()
    largest = max(float(np.abs(run - last[0]).max()) for run in last)
    return replace(found, largest=largest, measures=sound.measure(drawn), outside=outside)


def _tracked(study: Study, runs: Runs) -> tuple[tuple[Mapping[str, Any], ...], ...]:
    """Return similarity by layer and epoch, and parameter distance by epoch, with errors and intervals over runs.

    A distance is a mean over the other runs; run 1 is fixed.
    """
    track = study.identity.get("track", {"epochs": [], "layers": []})
    similarity: list[Mapping[str, Any]] = []
    distance: list[Mapping[str, Any]] = []
    for epoch in track["epochs"]:
        for layer in track["layers"]:
            seen = runs.arrays.get(f"{TRACK}{epoch}.layer.{layer}")
            if seen is not None:
                rows = {"cka": cka_by_run(seen), "cka_unbiased": cka_unbiased_by_run(seen)}
                found = {name: pairwise_estimate(by_run, distance_from=1.0) for name, by_run in rows.items()}
                found = {n: Estimate(float(rows[n].mean()), e.error, e.low, e.high) for n, e in found.items()}
                similarity.append({"layer": layer, "epoch": epoch, **listed(found)})
        parameters = runs.arrays.get(f"{TRACK}{epoch}.parameters")
        if parameters is not None:
            l2, cosine = parameter_distance(parameters)
            distance.append({"epoch": epoch, **listed({"l2": _of_mean(l2[1:]), "cosine": _of_mean(cosine[1:])})})
    return tuple(similarity), tuple(distance)


def _of_mean(values: np.ndarray) -> Estimate:
    if len(values) > 1 and np.isfinite(values).all():
        return mean_estimate(values)
    return Estimate(float(values.mean())) if len(values) else UNKNOWN
