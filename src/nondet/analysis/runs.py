"""The only reader of runs: each blob of a study is read once and checked, and its answers are stacked by run."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from nondet.errors import BadInput, Damaged
from nondet.io.foreign import scratch
from nondet.io.nearest import did_you_mean
from nondet.kinds import Kind, kind_of
from nondet.measures.measured import Measures, after_rule, measured
from nondet.running.advice import go_on
from nondet.study import record as studies
from nondet.study.checks import checked_record, checked_run
from nondet.study.design import Condition, Crossed
from nondet.study.mirror import whole
from nondet.study.spec import RunSpec
from nondet.study.store import Stored
from nondet.study.study import Study
from nondet.tasks.task import Task

CURVES = "curves."
DEFAULT = "all"
"""The condition that is used when none is named, if the study has it."""


@dataclass(frozen=True)
class Failure:
    """A run that failed. epoch: at which it failed, from 1. why: in words; empty if its loss or an output was no longer
    a finite number. last: the last lines that it printed. log: the file of all that it printed, if known."""

    epoch: int
    why: str = ""
    last: tuple[str, ...] = ()
    log: Path | None = None

    def to_dict(self, number: int) -> dict[str, Any]:
        """For JSON. number: of the run in its condition, from 1."""
        epoch = None if self.why else self.epoch
        log = str(self.log) if self.log else None
        return {"run": number, "epoch": epoch, "failure": self.why or None, "last": list(self.last), "log": log}


@dataclass(frozen=True)
class Made:
    """What a study knows about a run besides its arrays.

    number: in its condition, from 1. seeds: of every source. file: the SHA-256 of all its arrays. failed: why and
    when it failed; None if it did not. digest: of its answers; equal if these are equal to the last bit.
    seconds: of training, its share of its stack's. slot: in its stack, from 1; 0 if not known.
    """

    number: int
    key: str
    seeds: Mapping[str, int]
    file: str
    failed: Failure | None = None
    digest: bytes = b""
    seconds: float = 0.0
    slot: int = 0


@dataclass(frozen=True, eq=False)
class Runs:
    """The finished runs of one condition, or of a training that no study made.

    Attributes:
        name: for people. kind: of their task. labels: of the test set, `(n, ...)`.
        arrays: what the N runs that did not fail left, by name, each `(N, ...)`.
        made: what is known of each of these, in order; empty for outputs that no study made.
        failures: number of each run that failed, from 1 -> why and when it failed.
        missing: how many runs of the condition are not there yet.
        condition, study: where they come from, if a study made them.
    """

    name: str
    kind: Kind
    labels: np.ndarray
    arrays: Mapping[str, np.ndarray]
    made: tuple[Made, ...] = ()
    failures: Mapping[int, Failure] = field(default_factory=dict[int, Failure])
    missing: int = 0
    condition: Condition | Crossed | None = None
    study: Study | None = None

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values()), ()))

    @property
    def failed(self) -> dict[int, int]:
        """The number of each run that failed -> the epoch at which it failed, both from 1."""
        return {number: failure.epoch for number, failure in self.failures.items()}

    @property
    def outputs(self) -> np.ndarray:
        """The runs' answers `(N, n, ...)`: logits of a classifier, log-probabilities of a language model."""
        return self.arrays[next(iter(self.kind.answers))]

    @property
    def curves(self) -> dict[str, np.ndarray]:
        """Each training curve by name, `(N, epochs)`: "loss" in nats and "accuracy" in percent; for scripts, the scores
        that they record by epoch. NaN where a run has fewer epochs than the longest."""
        return {n.removeprefix(CURVES): a for n, a in self.arrays.items() if n.startswith(CURVES)}

    @property
    def seeds(self) -> list[dict[str, int]]:
        """The seed of each source, for each of the N runs."""
        return [dict(made.seeds) for made in self.made]

    def first(self, count: int) -> Runs:
        """Return the first `count` of these runs."""
        return self.only(slice(count))

    def only(self, places: slice | Sequence[int]) -> Runs:
        """Return the runs at these places."""
        made = self.made[places] if isinstance(places, slice) else [self.made[place] for place in places if self.made]
        return replace(self, arrays={name: array[places] for name, array in self.arrays.items()}, made=tuple(made))

    @cached_property
    def answers(self) -> Any:
        """What the measures are computed from; see `Kind.read`."""
        return self.kind.read(self.arrays, self.labels)

    def measure(self, drawn: bool = False) -> Measures:
        """Take every measure of these runs. drawn: with errors that also allow for other test examples."""
        name = self.condition.name if isinstance(self.condition, Condition) else self.name
        found = measured(self.kind.figures, self.answers, len(self.failed), drawn, name=name)
        return after_rule(found) if self.by_rule else found

    @property
    def by_rule(self) -> bool:
        """Whether runs were added until an error was small enough, and not by a plan made in advance."""
        until = self.study.until if self.study is not None else None
        if until is None or not isinstance(self.condition, Condition):
            return False
        return self.condition.name in (until.errors or [self.condition.name])

    def scores(self) -> dict[str, np.ndarray]:
        """Each score of the kind by name, `(N,)`."""
        return {score.name: score.by_run(self.answers) for score in self.kind.scores}

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in self.arrays.items())
        return f"<{len(self)} runs of {self.name}: {shapes}; {len(self.failed)} failed>"


class Reader:
    """The runs of a study, each read once: those that conditions share are kept in memory."""

    def __init__(self, study: Study, more: Sequence[str] = ()) -> None:
        """more: prefixes of the names of further arrays to read, such as "track."."""
        self.study, self.kind = study, kind_of(study.identity)
        self.present = study.store.keys() | study.finished
        self.wanted = (*self.kind.answers, CURVES, *more)
        uses: dict[str, int] = {}
        for design in study.designs:
            for spec in study.specs_of(design):
                uses[spec.key] = uses.get(spec.key, 0) + 1
        self.shared = {key for key, count in uses.items() if count > 1} | {study.reference.key}
        self.kept: dict[str, tuple[dict[str, np.ndarray], dict[str, Any]]] = {}

    def run(self, spec: RunSpec) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return a run's wanted arrays and its record; Damaged if it is lost or not what was written."""
        if spec.key in self.kept:
            return self.kept[spec.key]
        stored = read_run(self.study, spec)
        failed = stored.record["failed"] is not None
        names = [] if failed else [name for name in stored.arrays if name.startswith(self.wanted)]
        found = stored.arrays.some(names), dict(stored.record)
        if spec.key in self.shared:
            self.kept[spec.key] = found
        return found

    def runs(self, design: Condition | Crossed) -> Runs:
        """Return the runs of a condition that are there."""
        specs = self.study.specs_of(design)
        there = [(number, spec) for number, spec in enumerate(specs, start=1) if spec.key in self.present]
        stacked, every = self._stacked(there)
        title = f"{self.study.folder}:{getattr(design, 'name', 'crossed')}"
        missing = len(specs) - len(there)
        return self._runs(title, stacked, every, missing=missing, condition=design, study=self.study)

    def control(self) -> tuple[list[Made], Runs]:
        """Return what is known of all the control's runs, and those that did not fail."""
        specs = [spec for key, spec in self.study.control_specs().items() if key in self.present]
        stacked, every = self._stacked(list(enumerate(specs, start=1)))
        return every, self._runs("control", stacked, every)

    def _runs(self, name: str, stacked: Mapping[str, np.ndarray], every: Sequence[Made], **where: Any) -> Runs:
        sound = tuple(made for made in every if made.failed is None)
        failed = {made.number: made.failed for made in every if made.failed}
        return Runs(name, self.kind, self.study.labels, stacked, sound, failed, **where)

    def _stacked(self, specs: Sequence[tuple[int, RunSpec]]) -> tuple[dict[str, np.ndarray], list[Made]]:
        """Stack the arrays of the runs that did not fail, `(N, ...)`; return also what else is known of all runs."""
        stacked: dict[str, np.ndarray] = {}
        curves: dict[str, list[np.ndarray]] = {f"{CURVES}{name}": [] for name in self.study.identity.get("curves", ())}
        every: list[Made] = []
        sound = 0
        for number, spec in specs:
            arrays, record = self.run(spec)
            if record["failed"] is not None:
                every.append(_made(number, spec, record, failed=self._failure(record)))
                continue
            for name, rows in curves.items():
                rows.append(arrays.get(name, np.empty(0)))
            if not stacked:
                alike = {name: a for name, a in arrays.items() if name not in curves}
                stacked = {name: scratch((len(specs), *a.shape), a.dtype) for name, a in alike.items()}
            for name in stacked:
                if name not in arrays or arrays[name].shape != stacked[name].shape[1:]:
                    raise Damaged(
                        f"{self.study.folder} is damaged: {name} does not have the same shape in all its runs; start a "
                        "new one with <<folder>>"
                    )
                stacked[name][sound] = arrays[name]
            sound += 1
            every.append(_made(number, spec, record, self.digest(arrays)))
        longest = {name: as_one(rows) for name, rows in curves.items() if rows}
        return {name: array[:sound] for name, array in stacked.items()} | longest, every

    def _failure(self, record: Mapping[str, Any]) -> Failure:
        """Read what a record says about a failure; somebody else may have written it."""
        facts = record.get("facts")
        said: Mapping[str, Any] = facts if isinstance(facts, dict) else {}
        why, last, log = said.get("failure"), said.get("last"), said.get("log")
        lines = tuple(line for line in last if isinstance(line, str)) if isinstance(last, list) else ()
        file = self.study.folder / log if isinstance(log, str) else None
        return Failure(record["failed"], why if isinstance(why, str) else "", lines, file)

    def digest(self, arrays: Mapping[str, np.ndarray]) -> bytes:
        """Return the SHA-256 of a run's answers."""
        found = hashlib.sha256()
        for name in self.kind.answers:
            found.update(f"{name} {arrays[name].dtype} {arrays[name].shape} ".encode())
            found.update(np.ascontiguousarray(arrays[name]).data)
        return found.digest()


def as_one(curves: Sequence[np.ndarray]) -> np.ndarray:
    """Stack curves, `(N, epochs)`, with NaN where one has fewer epochs than the longest."""
    longest = max(len(curve) for curve in curves)
    return np.stack([np.pad(curve, (0, longest - len(curve)), constant_values=np.nan) for curve in curves])


def _made(
    number: int, spec: RunSpec, record: Mapping[str, Any], digest: bytes = b"", failed: Failure | None = None
) -> Made:
    file = record["blob"]["sha256"]
    slot = int(record["slot"]) + 1 if "slot" in record else 0
    return Made(number, spec.key, spec.seeds, file, failed, digest, float(record.get("seconds", 0.0)), slot)


def read_run(study: Study, spec: RunSpec) -> Stored:
    """Read a run from the store; Damaged, with the way to train it again, if it is lost or not what was written."""
    with _named(study, spec):
        return checked_run(study, spec)


@contextmanager
def _named(study: Study, spec: RunSpec) -> Generator[None]:
    """If something is damaged inside this block, say which run it is and how to train it again."""
    try:
        yield
    except Damaged as error:
        raise Damaged(
            f"{error}; it belongs to the run {describe(spec)}, which no table may use: `{go_on(study)}` sets it aside "
            "and trains it again"
        ) from error


def describe(spec: RunSpec) -> str:
    """Describe a run in words: its seeds, and which repeat of the control it is."""
    seeds = ", ".join(f"{source}={seed}" for source, seed in spec.seeds.items())
    return f"with seeds {seeds}" + (f" (repeat {spec.repeat} of the control)" if spec.repeat else "")


def control_is_zero(study: Study) -> bool | None:
    """Whether the control's runs are equal to the last bit; None while fewer than two of them are finished."""
    present = study.store.keys() | study.finished
    found: set[str] = set()
    count = 0
    for key, spec in study.control_specs().items():
        if key in present:
            with _named(study, spec):
                found.add(checked_record(study, spec)["blob"]["sha256"])
            count += 1
    return len(found) == 1 if count > 1 else None


def chosen_condition(study: Study, name: str = "") -> Condition:
    """Return the study's condition of this name; without a name `all`, or the only one. BadInput if there is none."""
    named = {c.name: c for c in study.conditions}
    by_source = {"+".join(c.vary) + (f"@{c.onset}" if c.onset else ""): c for c in study.conditions}
    if not named:
        raise BadInput(
            f"{study.folder} must have a condition (got none: the runs of a crossed design share seeds, and are not "
            "independent); add one with <<vary>>"
        )
    wanted = name or (DEFAULT if DEFAULT in named else next(iter(named)) if len(named) == 1 else "")
    if wanted in named or wanted in by_source:  # if only one source can vary, its condition is called all
        return named.get(wanted) or by_source[wanted]
    said = (
        f"has no condition {name!r}{did_you_mean(name, named)}"
        if name
        else f"has several conditions, and none is called {DEFAULT}"
    )
    raise BadInput(
        f"{study.folder} {said}; choose one of {', '.join(named)}, such as {study.folder}:{next(iter(named))}"
    )


class OpenStudy:
    """An open study: `study["all"]` gives the runs of a condition, `study.conditions` the conditions' names.

    folder: where it is. labels: of its test set. task: its task, if a program gave a `Task` to `run`.
    """

    def __init__(self, study: Study, task: Task | None = None) -> None:
        self.study = study
        self.task = task
        self.folder: Path = study.folder
        self._runs: dict[str, Runs] = {}

    @cached_property
    def reader(self) -> Reader:
        return Reader(self.study)

    @property
    def labels(self) -> np.ndarray:
        return self.study.labels

    @property
    def conditions(self) -> list[str]:
        """The names of its conditions, in order."""
        return [condition.name for condition in self.study.conditions]

    def __getitem__(self, name: str) -> Runs:
        """Return the runs of a condition, read on first use; BadInput if there is no such condition."""
        if name not in self._runs:
            self._runs[name] = self.reader.runs(chosen_condition(self.study, name))
        return self._runs[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.conditions)

    def __repr__(self) -> str:
        return f"<study {self.folder} of {self.study.identity['name']}: {', '.join(self.conditions)}>"


def open_study(folder: str | Path) -> OpenStudy:
    """Open the study in a folder.

    Raises:
        BadInput: there is none, or its format is unknown. Damaged: its file is not what was written.
    """
    return OpenStudy(studies.load(whole(folder)))
