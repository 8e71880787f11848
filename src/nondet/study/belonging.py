"""Whether a run belongs to a study: it is what its key names, of the study's task, and from its environment.

Each file may be sound in itself: a record of another study, or a `study.json` copied from one, is told by this alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from nondet.errors import BadInput, Damaged
from nondet.study.store import Store
from nondet.tasks.task import sha256_of_json


def require_own(
    record: Mapping[str, Any], path: Path, identity: Mapping[str, Any], environment: Mapping[str, Any]
) -> None:
    """Damaged, with what differs named, if a record is not that of a run of this task and environment."""
    if why := _foreign(record, identity, environment):
        raise Damaged(f"{path} does not belong to this study: {why}")


def stray_study(store: Store, identity: Mapping[str, Any], environment: Mapping[str, Any]) -> str:
    """Why not one of the runs in a store belongs to a study of this task and environment; empty if one does, or none
    can be read.
    """
    first = ""
    for key in sorted(store.keys()):
        with suppress(Damaged, BadInput):
            why = _foreign(store.record(key), identity, environment)
            if not why:
                return ""
            first = first or why
    return first


def has_runs(store: Store) -> bool:
    """Whether a store holds a record that nondet wrote."""
    for key in sorted(store.keys()):
        try:
            store.record(key)
        except Damaged:
            continue
        except BadInput:  # of a later format
            return True
        return True
    return False


def _foreign(record: Mapping[str, Any], identity: Mapping[str, Any], environment: Mapping[str, Any]) -> str:
    run, theirs = record.get("run"), record.get("environment")
    if not isinstance(run, Mapping) or not isinstance(theirs, Mapping) or sha256_of_json(run) != record.get("key"):
        return "its name is that of another run"
    task: Any = run.get("task")
    if sha256_of_json(task) != sha256_of_json(identity):
        return f"it is of another task; {_differing(identity, task if isinstance(task, Mapping) else {})}"
    if sha256_of_json(theirs) != sha256_of_json(environment):
        return f"it was made in another environment; {_differing(environment, theirs)}"
    return ""


def _differing(study: Mapping[str, Any], run: Mapping[str, Any]) -> str:
    names = [name for name in sorted({*study, *run}) if study.get(name) != run.get(name)]
    return "; ".join(f"{name} is different: study={study.get(name)}, run={run.get(name)}" for name in names)
