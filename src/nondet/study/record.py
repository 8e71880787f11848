"""A study: a task, an environment and the conditions asked for so far, with the runs that they need, in one folder.

`study.json` says what the study is; the store next to it contains the runs. Every step can be interrupted: what is done
stays done, and running again trains only what is missing.
"""

from __future__ import annotations

import functools
import secrets
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from nondet.errors import BadInput, Damaged
from nondet.io import locks
from nondet.io.files import write_file
from nondet.study import claims, disk
from nondet.study.checks import has_runs, require_runs_of
from nondet.study.design import Condition, Crossed, Stopping, merged
from nondet.study.fit import Made, require_same_study
from nondet.study.form import content_of, read_study
from nondet.study.mirror import Changed, mirror_of
from nondet.study.names import first_foreign
from nondet.study.store import Store, set_aside
from nondet.study.study import Study

P = ParamSpec("P")
T = TypeVar("T")

TRIES = 20
"""How often a change of `study.json` in a bucket is retried because another change came first."""


def load(folder: Path) -> Study:
    """Return the study in a folder.

    Raises:
        BadInput: there is none, or its format is unknown.
        Damaged: its file is damaged, or belongs to another study than the runs next to it.
    """
    study = read_study(folder)
    require_runs_of(study)
    return study


def saved(folder: Path) -> bytes | None:
    """Return the bytes of a folder's `study.json`; None if there is none."""
    with suppress(OSError):
        return (folder / "study.json").read_bytes()
    return None


def _save(study: Study) -> None:
    """Write `study.json`; raise Changed if somebody else has changed it in the bucket that the folder mirrors."""
    _write(study.folder, content_of(study))


def _write(folder: Path, content: bytes) -> None:
    if (mirror := mirror_of(folder)) is not None:
        mirror.save_study(content)
    write_file(folder / "study.json", content, replace=True)


def _changing(change: Callable[P, T]) -> Callable[P, T]:
    """Repeat a function that reads and writes `study.json` if it raises Changed."""

    @functools.wraps(change)
    def again(*args: P.args, **words: P.kwargs) -> T:
        for number in range(TRIES):
            with suppress(Changed):
                return change(*args, **words)
            time.sleep(secrets.randbelow(1000) / 1000 * min(2, 0.05 * 2**number))  # many may try at the same moment
        raise BadInput("study.json must stay the same for a second, and others keep changing it; try again")

    return again


@contextmanager
def _locked(folder: Path) -> Generator[None]:
    """Let in one process of this machine at a time, after fetching the `study.json` of a mirror from its bucket."""
    with locks.folder_lock(folder):
        if (mirror := mirror_of(folder)) is not None:
            mirror.fetch_study()
        yield


@_changing
def put_back(study: Study, before: bytes | None) -> None:
    """Undo what opening a study wrote into its `study.json`, unless another process has changed it since."""
    with _locked(study.folder):
        if before is not None and saved(study.folder) == content_of(study):
            _write(study.folder, before)


@_changing
def open_study(
    folder: Path,
    made: Made,
    environment: Mapping[str, Any],
    conditions: Sequence[Condition],
    command: Sequence[str] = (),
    request: Mapping[str, Any] | None = None,
    crossing: Crossed | None = None,
    until: Stopping | None = None,
    asked: Mapping[str, Any] | None = None,
) -> Study:
    """Open or make the study in a folder, and add these conditions, crossed design and stopping rule to it.

    Raises BadInput if the folder contains a study of another task, recipe, environment or format, or something else.
    """
    new = Study(folder, made.identity, tuple(made.sources), environment, made.labels)
    require_room(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        old = _load_or_make_anew(folder, new)
        if old is not None:
            require_same_study(old, new)
            require_runs_of(old)
            new = old
        study = replace(
            new,
            conditions=tuple(merged(new.conditions, conditions)),
            command=tuple(command),
            request=request or {},
            asked=asked or {},
            crossed=_larger(folder, new.crossed, crossing),
            until=until or new.until,
        )
        disk.sweep(folder)
        disk.probe(folder)
        _save(study)
    return study


def _larger(folder: Path, old: Crossed | None, new: Crossed | None) -> Crossed | None:
    """Return the crossed design with more levels; raise BadInput if the two cross different sources."""
    if old and new and old.vary != new.vary:
        raise BadInput(
            f"a study has one crossed design, and that of {folder} crosses {', '.join(old.vary)} "
            f"(got {', '.join(new.vary)}); cross the same sources, or start a new study with <<folder>>"
        )
    return max((d for d in (old, new) if d), key=lambda d: d.levels, default=None)


def _load_or_make_anew(folder: Path, new: Study) -> Study | None:
    """Return the folder's study, if it has one; if `study.json` is lost, the runs decide what its environment is."""
    store, anew = Store(folder), None
    try:
        return read_study(folder) if (folder / "study.json").exists() or store.keys() else None
    except Damaged:
        for key in sorted(store.keys()):
            with suppress(Damaged, KeyError, TypeError):  # a damaged record says nothing about it
                record = store.record(key)
                anew = replace(new, identity=record["run"]["task"], environment=record["environment"])
                require_same_study(anew, new)
    set_aside(folder / "study.json", folder)
    return anew


def require_room(folder: Path) -> None:
    """Raise BadInput if a folder contains other files and no study; nothing is written before this is known."""
    if folder.exists() and not folder.is_dir():
        raise BadInput(f"<<folder>> must name a folder, and {folder} is a file; name another")
    if not folder.is_dir() or has_runs(Store(folder)):
        return
    if (folder / "study.json").exists():
        with suppress(Damaged):
            read_study(folder)
            return
    foreign = first_foreign(folder)
    if foreign is not None:
        raise BadInput(
            f"<<folder>> must name a study or a new folder, and {folder} contains other files (such as {foreign}); "
            "name another"
        )


def count_done(study: Study) -> tuple[int, int]:
    """Return how many of the planned runs are done, and how many are planned."""
    planned = study.planned()
    return len(planned.keys() & study.store.keys()), len(planned)


@_changing
def note_until(folder: Path, until: Stopping) -> None:
    """Record the outcome of a stopping rule."""
    with _locked(folder):
        _save(replace(load(folder), until=until))


@_changing
def finish(study: Study) -> None:
    """Record that all planned runs are there, so that a later loss is noticed, and clear what is left in `partial`."""
    with _locked(study.folder):
        latest = load(study.folder)
        finished = latest.finished | study.planned().keys()
        if finished != latest.finished:
            _save(replace(latest, finished=finished))
    if (mirror := mirror_of(study.folder)) is not None:
        mirror.place.remove(*sorted(mirror.place.list("leases")))
    claims.clear(study.folder)
