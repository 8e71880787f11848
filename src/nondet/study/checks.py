"""Check that the files in a study's folder are what was written, and belong to this study; set others aside.

A file may be intact and still be in the wrong study. Only a run's key, its task and its environment show that a record
belongs to another study, or that `study.json` was copied from one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from nondet.errors import BadInput, Damaged
from nondet.io import locks
from nondet.io.files import read_plain, sha256_of_json, write_file
from nondet.kinds import kind_of
from nondet.study.form import MAKE_ANEW
from nondet.study.names import links
from nondet.study.provenance import unlike
from nondet.study.states import is_old, wrong_states
from nondet.study.store import Store, Stored, set_aside

if TYPE_CHECKING:
    from nondet.study.spec import RunSpec
    from nondet.study.study import Study


def require_runs_of(study: Study) -> None:
    """Raise Damaged if an intact `study.json` was put next to the runs of another study, none of which is its own."""
    first = ""
    for key in sorted(study.store.keys()):
        with suppress(Damaged, BadInput):
            why = _foreign(study, study.store.record(key))
            if not why:
                return
            first = first or why
    if first:
        raise Damaged(
            f"{study.folder / 'study.json'} does not belong to the runs next to it (a run does not match: {first}); "
            f"put theirs back, or remove it: {MAKE_ANEW}"
        )


def has_runs(store: Store) -> bool:
    """Whether a store contains a record that nondet wrote."""
    for key in sorted(store.keys()):
        with suppress(Damaged):
            with suppress(BadInput):  # of a later format
                store.record(key)
            return True
    return False


def _own_record(study: Study, key: str) -> Mapping[str, Any]:
    """Return a record; Damaged, naming what differs, if it is not of a run of this task and environment."""
    record = study.store.record(key)
    if why := _foreign(study, record):
        raise Damaged(f"{study.store.record_path(key)} does not belong to this study: {why}")
    return record


def checked_record(study: Study, spec: RunSpec) -> Mapping[str, Any]:
    """Return a run's record after checking that it belongs to the run and the study; Damaged if it does not."""
    record = _own_record(study, spec.key)
    if record.get("run") != spec.as_dict() or "failed" not in record:
        path = study.store.record_path(spec.key)
        raise Damaged(f"{path} is damaged: it is the record of another run, or of none")
    return record


def checked_run(study: Study, spec: RunSpec) -> Stored:
    """Return a run after checking every byte of it; a valid seal alone proves little, since anybody can make one.

    Raises:
        Damaged: its files are not what was written, belong to another run or to none, or are of another test set.
    """
    record = checked_record(study, spec)
    arrays = study.store.arrays(spec.key, record)
    if record["failed"] is None:
        kind = kind_of(study.identity)
        for name, axes in kind.answers.items():
            shape = arrays.shapes.get(name, ())
            examples = name not in (*kind.sampled, *kind.by_run)
            if len(shape) != axes or (examples and shape[:1] != study.labels.shape[:1]):
                raise Damaged(
                    f"{arrays.path} is damaged: its {name} are not answers to {len(study.labels)} test examples "
                    f"(shape {shape})"
                )
    return Stored(record, arrays)


def unsound_runs(study: Study, keys: Iterable[str]) -> Iterator[tuple[str, Damaged]]:
    """Yield the key of each run that is not what was written or not this study's, and what is wrong with it."""
    planned = study.planned()
    for key in sorted(keys):
        try:
            if key in planned:
                checked_run(study, planned[key])
            else:
                study.store.arrays(key, _own_record(study, key))
        except Damaged as error:
            yield key, error


def wrong_beside(study: Study) -> list[str]:
    """Return what is wrong besides the runs: wrong trunks and snapshots, lost trunks, and links in place of files."""
    found = list(wrong_states(study).values())
    done = study.store.keys() | study.finished
    forked = {spec.onset for key, spec in study.specs().items() if key in done}
    lost = [path for onset, path in study.lacking_trunks().items() if onset in forked and not is_old(study)]
    found += [f"{path} is missing: runs of this study were forked from it" for path in lost]
    return found + [
        f"{path} is a link, and a copy of the study may lack the file it points to; the study's own command "
        "puts a copy of that file in its place"
        for path in links(study.folder)
    ]


def set_damaged_aside(study: Study) -> list[str]:
    """Move the files of damaged runs and trunks away, so that these are trained again; return a sentence on each."""
    found: list[str] = []
    with locks.folder_lock(study.folder):
        for key, error in unsound_runs(study, study.store.keys()):
            study.store.set_aside(key)
            found.append(f"{error}: set aside, to be trained again")
        for path, why in wrong_states(study).items():
            if path.parent.name == "partial" and not path.is_dir():
                path.unlink(missing_ok=True)
                found.append(f"{why}: removed, and not resumed")
            else:
                set_aside(path, study.folder)
                found.append(f"{why}: set aside, to be trained again")
        for path in links(study.folder):
            write_file(path, read_plain(path), replace=True)
            found.append(f"{path} was a link: a copy of the file it pointed to is in its place")
    return found


def _foreign(study: Study, record: Mapping[str, Any]) -> str:
    """Say why a record is not of a run of this study; empty if it is."""
    run, theirs = record.get("run"), record.get("environment")
    if not isinstance(run, Mapping) or not isinstance(theirs, Mapping) or sha256_of_json(run) != record.get("key"):
        return "its name is that of another run"
    task: Any = run.get("task")
    if not _same(task, study.identity):
        return f"it belongs to another task; {_differing(study.identity, task if isinstance(task, Mapping) else {})}"
    if not _same(theirs, study.environment):
        return f"it was made in another environment; {_differing(study.environment, theirs)}"
    return ""


def _same(one: object, other: object) -> bool:
    """Whether two values are the same as JSON, where 1, 1.0 and true differ."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _differing(study: Mapping[str, Any], run: Mapping[str, Any]) -> str:
    names = unlike(study, run)
    return "; ".join(f"{name} is different: study={study.get(name)}, run={run.get(name)}" for name in names)
