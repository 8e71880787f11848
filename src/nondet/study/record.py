"""A study: a task, an environment and the conditions asked for so far, with the runs that they need, in one folder.

`study.json` says what the study is; the store beside it holds the runs. Every step can be interrupted: what is done
stays done, and running again trains only what is missing.
"""

from __future__ import annotations

import functools
import secrets
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, ParamSpec, Protocol, TypeVar

import numpy as np

from nondet.errors import BadInput, Damaged
from nondet.io import locks
from nondet.io.files import NotAFile, read_file, sealed, unsealed, write_file
from nondet.io.nearest import did_you_mean_file
from nondet.study import claims, disk
from nondet.study.checks import has_runs, stray_study
from nondet.study.design import Condition, Crossed, Stopping, crossed, merged
from nondet.study.fields import LARGEST, wrong_field
from nondet.study.mirror import Changed, mirror_of, shown
from nondet.study.names import first_foreign
from nondet.study.provenance import require_same, require_same_version
from nondet.study.spec import same_trial
from nondet.study.store import Store, set_aside
from nondet.study.study import Study

P = ParamSpec("P")
T = TypeVar("T")

FORMAT = 1
FORMAT_CROSSED = 2
"""With a crossed design: a version that knows no such thing must not read such a study as if it had none."""

_MAKE_ANEW = "the `nondet run` command that made the study makes it anew, and keeps every run that is there"


class Made(Protocol):
    """What a study must know of what makes its runs."""

    @property
    def identity(self) -> Mapping[str, Any]: ...

    sources: tuple[str, ...]
    labels: np.ndarray


def _read(folder: Path) -> Study:
    """What a folder's `study.json` says."""
    path = folder / "study.json"
    try:
        content = read_file(path, LARGEST)
    except NotAFile as error:
        raise Damaged(f"{path} is damaged: {error}; {_MAKE_ANEW}") from error
    except FileNotFoundError:
        if Store(folder).keys():
            raise Damaged(f"{path} is missing; {_MAKE_ANEW}") from None
        where = shown(folder)
        raise BadInput(
            f"{where} is not a study: {where}/study.json is missing{did_you_mean_file(folder, ' ({})')}; "
            "give the folder of a `nondet run`"
        ) from None
    except NotADirectoryError:
        raise BadInput(f"{folder} is not a study but a file; give the folder of a `nondet run`") from None
    what = "it"
    try:
        fields = unsealed(content, path)
        if fields["format"] not in (FORMAT, FORMAT_CROSSED):
            raise BadInput(
                f"{folder} has study format {fields['format']}, and this version of nondet reads {FORMAT} and "
                f"{FORMAT_CROSSED}; "
                "use the version that made it, or start a new study with <<folder>>"
            )
        if wrong := wrong_field(fields):
            what = f"its field {wrong}"
            raise TypeError(wrong)
        return Study(
            folder=folder,
            identity=fields["task"],
            sources=tuple(fields["sources"]),
            environment=fields["environment"],
            labels=_labels(fields["labels"], "kind" in fields["task"]),
            command=tuple(fields["command"]),
            conditions=tuple(
                Condition(
                    c["name"],
                    tuple(c["vary"]),
                    c["runs"],
                    c["onset"],
                    tuple(tuple(sorted(seeds.items())) for seeds in c.get("given", ())),
                )
                for c in fields["conditions"]
            ),
            finished=frozenset(fields["finished"]),
            request=fields.get("request", {}),
            asked=fields.get("asked", {}),
            crossed=crossed(fields["crossed"]["vary"], fields["sources"], fields["crossed"]["levels"])
            if "crossed" in fields
            else None,
            until=Stopping(**fields["until"]) if "until" in fields else None,
        )
    except (Damaged, KeyError, TypeError, OverflowError) as error:
        raise Damaged(f"{path} is damaged: {what} is not what nondet wrote; {_MAKE_ANEW}") from error


def _labels(listed: Sequence[Any], special: bool) -> np.ndarray:
    """Labels from JSON: a class number each, or of a special kind of task numbers of any shape."""
    try:
        labels = np.array(listed)
    except ValueError as error:  # lists of unequal lengths
        raise TypeError(str(error)) from error
    if labels.dtype.kind in "iu" or not len(labels):
        labels = labels.astype(np.int64)
    if labels.dtype.kind not in "if" or (labels.ndim > 1 and labels.dtype.kind == "i" and not special):
        raise TypeError(f"labels of {labels.dtype} with {labels.ndim} axes")
    return labels


def load(folder: Path) -> Study:
    """The study in a folder. BadInput if there is none or its format is unknown, Damaged if its file is, or is that of
    another study than the runs beside it.
    """
    study = _read(folder)
    _require_runs_of(study)
    return study


def _require_runs_of(study: Study) -> None:
    """Damaged if a sound `study.json` was put beside runs of another study."""
    if why := stray_study(study.store, study.identity, study.environment):
        raise Damaged(
            f"{study.folder / 'study.json'} is not that of the runs beside it (a run is not its own: {why}); "
            f"put theirs back, or remove it: {_MAKE_ANEW}"
        )


def width_of(folder: Path) -> int | None:
    """The stack width of the study in a folder, if there is one to be read."""
    try:
        return load(folder).width
    except (BadInput, Damaged):
        return None


def _save(study: Study) -> None:
    """Write `study.json`; Changed if somebody else has changed it in the bucket of which the folder is a mirror."""
    _write(study.folder, _content(study))


def _write(folder: Path, content: bytes) -> None:
    if (mirror := mirror_of(folder)) is not None:
        mirror.save_study(content)
    write_file(folder / "study.json", content, replace=True)


def _changing(change: Callable[P, T]) -> Callable[P, T]:
    """A function that reads and writes a study's `study.json`: once more, with what is there, if it has Changed."""

    @functools.wraps(change)
    def again(*args: P.args, **words: P.kwargs) -> T:
        for number in range(TRIES):
            with suppress(Changed):
                return change(*args, **words)
            time.sleep(secrets.randbelow(1000) / 1000 * min(2, 0.05 * 2**number))  # many may try at one moment
        raise BadInput("study.json must keep still for a second, and others change it all the time; try again")

    return again


@contextmanager
def _locked(folder: Path) -> Generator[None]:
    """Only one process of this machine at a time inside, with a mirror's `study.json` as the bucket has it."""
    with locks.folder_lock(folder):
        if (mirror := mirror_of(folder)) is not None:
            mirror.fetch_study()
        yield


TRIES = 20
"""How often a change of `study.json` in a bucket is tried again because another came first."""


def saved(folder: Path) -> bytes | None:
    """The bytes of a folder's `study.json`; None if there is none."""
    with suppress(OSError):
        return (folder / "study.json").read_bytes()
    return None


@_changing
def put_back(study: Study, before: bytes | None) -> None:
    """Undo what opening a study wrote into its `study.json`, unless another process has changed it since."""
    with _locked(study.folder):
        if before is not None and saved(study.folder) == _content(study):
            _write(study.folder, before)


def _content(study: Study) -> bytes:
    fields = {
        "format": FORMAT_CROSSED if study.crossed else FORMAT,
        "task": study.identity,
        "sources": list(study.sources),
        "environment": study.environment,
        "command": list(study.command),
        "request": study.request,
        **({"asked": study.asked} if study.asked else {}),
        "conditions": [c.as_dict() for c in study.conditions],
        "labels": study.labels.tolist(),
        "finished": sorted(study.finished),
        **({"crossed": study.crossed.as_dict()} if study.crossed else {}),
        **({"until": asdict(study.until)} if study.until else {}),
    }
    return sealed(fields)


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
    """The study in a folder with these conditions, crossed design and stopping rule added, made if it is new.

    BadInput if the folder holds a study of another task, recipe, environment or format, or something else.
    """
    new = Study(
        folder=folder,
        identity=made.identity,
        sources=tuple(made.sources),
        environment=environment,
        labels=made.labels,
    )
    require_room(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        old = _load_or_make_anew(folder, new)
        if old is not None:
            _require_fit(old, new)
            _require_runs_of(old)
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
    """Of the same crossed design the one with more levels. BadInput for two designs of different sources."""
    if old and new and old.vary != new.vary:
        raise BadInput(
            f"a study has one crossed design, and that of {folder} crosses {', '.join(old.vary)} "
            f"(got {', '.join(new.vary)}); cross the same, or start a new study with <<folder>>"
        )
    return max((d for d in (old, new) if d), key=lambda d: d.levels, default=None)


def _load_or_make_anew(folder: Path, new: Study) -> Study | None:
    """The folder's study, if it has one; where `study.json` is lost, its runs decide the environment it must keep."""
    store, anew = Store(folder), None
    try:
        return _read(folder) if (folder / "study.json").exists() or store.keys() else None
    except Damaged:
        for key in sorted(store.keys()):
            with suppress(Damaged, KeyError, TypeError):  # a damaged record says nothing of it
                record = store.record(key)
                anew = replace(new, identity=record["run"]["task"], environment=record["environment"])
                _require_fit(anew, new)
    set_aside(folder / "study.json", folder)
    return anew


def require_room(folder: Path) -> None:
    """BadInput if a folder holds files of somebody else and no study; nothing is written before this is known."""
    if folder.exists() and not folder.is_dir():
        raise BadInput(f"<<folder>> must name a folder, and {folder} is a file; name another")
    if not folder.is_dir() or has_runs(Store(folder)):
        return
    if (folder / "study.json").exists():
        with suppress(Damaged):
            _read(folder)
            return
    foreign = first_foreign(folder)
    if foreign is not None:
        raise BadInput(
            f"<<folder>> must name a study or a new folder, and {folder} holds other files (such as {foreign}); "
            "name another"
        )


def require_fit(study: Study, made: Made, environment: Mapping[str, Any]) -> None:
    """BadInput unless a process that makes such runs in this environment may add to the study; it says what differs."""
    _require_fit(study, Study(study.folder, made.identity, tuple(made.sources), environment, made.labels))


def _require_fit(old: Study, new: Study) -> None:
    require_same_version(old.folder, old.environment)
    _require_same_task(old, new)
    require_same(old.folder, old.environment, new.environment)
    _require_same_trial(old, new)


def _require_same_task(old: Study, new: Study) -> None:
    """Say in words what differs between two tasks; the way out is always another folder."""
    ours, theirs = new.identity, old.identity
    way_out = "start a new study with <<folder>>"
    if theirs["name"] != ours["name"]:
        raise BadInput(f"{old.folder} is a study of {theirs['name']!r}, not of {ours['name']!r}; {way_out}")
    recipes = theirs["recipe"], ours["recipe"]
    fields = [k for k in sorted({*recipes[0], *recipes[1]}) if recipes[0].get(k) != recipes[1].get(k)]
    if not fields and theirs.get("track") != ours.get("track"):
        raise BadInput(
            f"{old.folder} was made with another <<track>> (study={theirs.get('track')}, here={ours.get('track')}), "
            f"and what was not looked at in time cannot be looked at later; use the same, or {way_out}"
        )
    if fields:
        changes = "; ".join(f"{k} is different: study={recipes[0].get(k)}, here={recipes[1].get(k)}" for k in fields)
        raise BadInput(f"{old.folder} was made with another recipe ({changes}); use the same, or {way_out}")
    files = theirs.get("code"), ours.get("code")
    if isinstance(files[0], Mapping) and isinstance(files[1], Mapping) and files[0] != files[1]:
        changed = [name for name in sorted({*files[0], *files[1]}) if files[0].get(name) != files[1].get(name)]
        raise BadInput(
            f"a study must keep to one script, and {', '.join(changed)} has changed since {old.folder} was made; "
            f"restore it, or {way_out}"
        )
    names = {"code": "code", "data": "data", "model": "model", "augment": "augmentation", "schedule": "schedule"}
    for name, word in names.items():
        if theirs.get(name) != ours.get(name):
            raise BadInput(
                f"the {word} of task {ours['name']!r} has changed since {old.folder} was made"
                f"{_BY_ITSELF if name == 'data' else ''}; restore it, or {way_out}"
            )


def _require_same_trial(old: Study, new: Study) -> None:
    """Refuse a task whose trial steps came to something else; asked last, since another environment may cause it."""
    ours, theirs = new.identity, old.identity
    if not same_trial(theirs.get("trial"), ours.get("trial")):
        losses = [identity["trial"]["loss"] for identity in (theirs, ours)]
        raise BadInput(
            f"{old.folder} was made with another training: three trial steps of {ours['name']!r} had losses "
            f"{_listed(losses[0])} then, and {_listed(losses[1])} now, so something that it imports or reads has "
            f"changed; restore it, or start a new study with <<folder>>"
        )


def _listed(numbers: Sequence[float | None]) -> str:
    return ", ".join("no number" if x is None else f"{x:.6g}" for x in numbers)


_BY_ITSELF = (
    " (if nobody changed it, it differs in each process: a split or shuffle without a seed, classes numbered in the "
    "order of a set, which PYTHONHASHSEED decides, or files in the order of os.listdir, which must be sorted)"
)


def count_done(study: Study) -> tuple[int, int]:
    """How many of the planned runs are done, and how many are planned."""
    planned = study.planned()
    return len(planned.keys() & study.store.keys()), len(planned)


@_changing
def note_until(study: Study, until: Stopping) -> Study:
    """Write down what has become of a stopping rule; the study with it."""
    with _locked(study.folder):
        latest = replace(load(study.folder), until=until)
        _save(latest)
    return latest


@_changing
def finish(study: Study) -> None:
    """Note that all planned runs are there, so that a later loss is seen, and clear what training left in `partial`."""
    with _locked(study.folder):
        latest = load(study.folder)
        finished = latest.finished | study.planned().keys()
        if finished != latest.finished:
            _save(replace(latest, finished=finished))
    if (mirror := mirror_of(study.folder)) is not None:
        mirror.finish()
    claims.clear(study.folder)
