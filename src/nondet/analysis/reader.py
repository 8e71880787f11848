"""The only reader of runs: each blob of a study is read once and checked, and its answers are stacked by run."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from nondet.analysis.runs import CURVES, Failure, Made, Runs
from nondet.errors import Damaged
from nondet.io.foreign import scratch
from nondet.kinds import kind_of
from nondet.running.advice import go_on
from nondet.study.checks import checked_record, checked_run
from nondet.study.design import Condition, Crossed
from nondet.study.spec import RunSpec
from nondet.study.store import Stored
from nondet.study.study import Study


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
            file, seconds = record["blob"]["sha256"], float(record.get("seconds", 0.0))
            slot = int(record["slot"]) + 1 if "slot" in record else 0
            failed = None if record["failed"] is None else self._failure(record)
            answers = b"" if failed else self.digest(arrays)
            every.append(Made(number, spec.key, spec.seeds, file, failed, answers, seconds, slot))
            if failed:
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

    def reference(self) -> bytes | None:
        """Return the digest of the reference run's answers; None while there is no sound one."""
        if self.study.reference.key not in self.present:
            return None
        arrays, record = self.run(self.study.reference)
        return self.digest(arrays) if record["failed"] is None else None

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
