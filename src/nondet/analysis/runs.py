"""The runs that a study has: read from its store, checked, told apart into sound and failed ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from nondet.errors import Damaged
from nondet.study.belonging import require_own
from nondet.study.blob import Arrays
from nondet.study.design import Condition, Crossed
from nondet.study.names import links
from nondet.study.record import Study
from nondet.study.sound import checked_run
from nondet.study.spec import RunSpec
from nondet.study.states import is_old, wrong_states
from nondet.study.store import Stored

Read = TypeVar("Read")


def is_text(study: Study) -> bool:
    """Whether a study's runs are language models."""
    return bool(study.identity["recipe"].get("bptt"))


def sound_runs(
    study: Study, condition: Condition | Crossed, stored: Mapping[str, Stored] | None = None
) -> tuple[dict[int, Stored], dict[int, int]]:
    """A condition's finished runs by number, counted from 1, and the epochs at which others failed.

    stored: runs read before, by key; without it they are read, and checked, from the study's store: Damaged if one is
    not sound, or was there and is lost.
    """
    present = study.store.keys() | study.finished if stored is None else stored.keys()
    sound: dict[int, Stored] = {}
    failures: dict[int, int] = {}
    for number, spec in enumerate(condition.specs(study.identity, study.sources), start=1):
        if spec.key in present:
            run = read_run(study, spec) if stored is None else stored[spec.key]
            if run.record["failed"] is None:
                sound[number] = run
            else:
                failures[number] = run.record["failed"]
    _alike(study, sound.values())
    return sound, failures


def read_run(study: Study, spec: RunSpec) -> Stored:
    """A run from the study's store; Damaged, with the way to retrain it, if it is not what was written, or lost."""
    return _read(study, spec, lambda key: checked_run(study, spec, study.store.get(key)))


def control_is_zero(study: Study) -> bool | None:
    """Whether the control's runs are equal to the last bit; None while fewer than two of them are finished.

    Damaged if one was finished and its record is lost.
    """
    present = study.store.keys() | study.finished
    records = [_read(study, s, study.store.record) for key, s in study.control_specs().items() if key in present]
    return len({record["blob"]["sha256"] for record in records}) == 1 if len(records) > 1 else None


def verify(study: Study) -> tuple[int, list[str]]:
    """Read every byte of every run that is done; the number of sound runs, and what is wrong with the others."""
    keys = study.store.keys() | study.finished
    problems = [str(error) for _, error in unsound_runs(study, keys)]
    return len(keys) - len(problems), problems


def unsound_runs(study: Study, keys: Iterable[str]) -> Iterator[tuple[str, Damaged]]:
    """Those of these runs that are not what was written, or not this study's, by key, and what is wrong with each."""
    planned = study.planned()
    for key in sorted(keys):
        try:
            run = study.store.get(key)
            require_own(run.record, study.store.record_path(key), study.identity, study.environment)
            if key in planned:
                checked_run(study, planned[key], run)
        except Damaged as error:
            yield key, error


def verify_beside(study: Study) -> list[str]:
    """What is wrong beside the runs: trunks and snapshots that are not what they should be, trunks that are lost, and
    links in the place of files and folders.
    """
    found = list(wrong_states(study).values())
    done = study.store.keys() | study.finished
    forked = {spec.onset for key, spec in study.specs().items() if key in done}
    lost = [path for onset, path in study.lacking_trunks().items() if onset in forked and not is_old(study)]
    found += [f"{path} is missing: runs of this study were forked from it" for path in lost]
    found += [
        f"{path} is a link, and a copy of the study may not hold what it leads to (a copy of that takes its place)"
        for path in links(study.folder)
    ]
    return found


def describe(spec: RunSpec) -> str:
    """A run in words: its seeds, and which repeat of the control it is."""
    seeds = ", ".join(f"{source}={seed}" for source, seed in spec.seeds.items())
    return f"with seeds {seeds}" + (f" (repeat {spec.repeat} of the control)" if spec.repeat else "")


def retrain(study: Study) -> str:
    """How to train again what is damaged or missing."""
    return f"`{study.command_line}` sets it aside and trains it again"


def _alike(study: Study, runs: Iterable[Stored]) -> None:
    """Refuse runs whose answers are of several shapes."""
    name = "sample.logits" if is_text(study) else "outputs"
    shapes = {run.arrays.shapes[name] for run in runs if isinstance(run.arrays, Arrays)}
    if len(shapes) > 1:
        raise Damaged(
            f"{study.folder} is damaged: its runs' {name} are of {len(shapes)} shapes; start a new one with --study"
        )


def _read(study: Study, spec: RunSpec, read: Callable[[str], Read]) -> Read:
    try:
        found = read(spec.key)
        record: Any = found.record if isinstance(found, Stored) else found
        require_own(record, study.store.record_path(spec.key), study.identity, study.environment)
        return found
    except Damaged as error:
        raise Damaged(
            f"{error}; it belongs to the run {describe(spec)}, which no table may use: {retrain(study)}"
        ) from error
