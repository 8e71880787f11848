"""A study: a task, an environment and the conditions asked for so far, with the runs that they need, in one folder.

`study.json` says what the study is; the store beside it holds the runs. Every step can be interrupted: what is done
stays done, and running again trains only what is missing.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nondet.errors import BadInput, Damaged
from nondet.io.files import NotAFile, read_file, sealed, unsealed, write_file
from nondet.running.proof import Proof
from nondet.sources import FIXED_SEED
from nondet.study import claims, disk
from nondet.study.belonging import has_runs, stray_study
from nondet.study.design import Condition, Crossed, Stopping, control, crossed, merged
from nondet.study.fields import LARGEST, wrong_field
from nondet.study.names import first_foreign
from nondet.study.provenance import require_same, require_same_version
from nondet.study.spec import Outcome, RunSpec, same_trial
from nondet.study.states import Seal, snapshot_name
from nondet.study.store import Store, set_aside
from nondet.tasks.task import sha256_of_json

if TYPE_CHECKING:
    from nondet.training.problem import Problem

FORMAT = 1
FORMAT_CROSSED = 2
"""With a crossed design: a version that knows no such thing must not read such a study as if it had none."""

_MAKE_ANEW = "the `nondet run` command that made the study makes it anew, and keeps every run that is there"


@dataclass(frozen=True)
class Study:
    """What `study.json` says.

    identity: what names the task in every run's key; its "recipe" is the flat recipe.
    sources: the task's sources. environment: where its runs are trained; "stack" is the stack width.
    labels: the test labels (n,), kept here so that a study can be read without its task.
    command: the words of the command that last added to it, but for its --study: a study can be moved.
    request, asked: what that command asked to be trained, and how many runs of it, as dictionaries.
    crossed: the crossed design, if one was asked for.
    until: the stopping rule of the last command that had one, and what came of it.
    finished: keys of the runs that a completed command has left; one that is no longer there was lost.
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
    def command_line(self) -> str:
        """The command that goes on with this study where it is now."""
        from nondet.running.advice import go_on

        return go_on(self)

    @property
    def width(self) -> int:
        return int(self.environment["stack"])

    def specs(self) -> dict[str, RunSpec]:
        """Every distinct run of the designs, by key, in the order of the tables; the reference run is the first."""
        designs = [*self.conditions, *([self.crossed] if self.crossed else [])]
        return {s.key: s for d in designs for s in d.specs(self.identity, self.sources)}

    @property
    def reference(self) -> RunSpec:
        """The run all of whose seeds are fixed, which every condition shares."""
        return next(iter(self.specs().values()))

    def control_specs(self) -> dict[str, RunSpec]:
        """The control's runs by key; the first is the reference run."""
        specs = self.specs()
        reference = next(iter(specs.values()))
        beside = sum(spec.family == reference.family for spec in specs.values())
        return {s.key: s for s in control(reference, beside, self.width)}

    def planned(self) -> dict[str, RunSpec]:
        """All runs of the study, the control's repeats after the others."""
        return self.specs() | self.control_specs()

    @property
    def trunk_key(self) -> str:
        """The name under which a process claims the training of trunks."""
        return sha256_of_json(["trunk", next(iter(self.specs()))])

    def trunk_path(self, onset: int) -> Path:
        """The reference run's state after so many epochs, from which runs with this onset fork."""
        return self.folder / "trunks" / f"{next(iter(self.specs()))}.{onset}.snapshot"

    def lacking_trunks(self) -> dict[int, Path]:
        """Onset -> file of the trunks that are not there: not yet trained, or lost."""
        onsets = {spec.onset for spec in self.specs().values() if spec.onset}
        paths = {onset: self.trunk_path(onset) for onset in sorted(onsets)}
        return {onset: path for onset, path in paths.items() if not path.exists()}


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
        raise BadInput(f"{folder} is not a study: {path} is missing; give the folder of a `nondet run`") from None
    except NotADirectoryError:
        raise BadInput(f"{folder} is not a study but a file; give the folder of a `nondet run`") from None
    what = "it"
    try:
        fields = unsealed(content, path)
        if fields["format"] not in (FORMAT, FORMAT_CROSSED):
            raise BadInput(
                f"{folder} has study format {fields['format']}, and this version of nondet reads {FORMAT} and "
                f"{FORMAT_CROSSED}; "
                "use the version that made it, or start a new study with --study"
            )
        if wrong := wrong_field(fields):
            what = f"its field {wrong}"
            raise TypeError(wrong)
        return Study(
            folder=folder,
            identity=fields["task"],
            sources=tuple(fields["sources"]),
            environment=fields["environment"],
            labels=np.array(fields["labels"], dtype=np.int64),
            command=tuple(fields["command"]),
            conditions=tuple(
                Condition(c["name"], tuple(c["vary"]), c["runs"], c["onset"]) for c in fields["conditions"]
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
    write_file(study.folder / "study.json", _content(study), replace=True)


def saved(folder: Path) -> bytes | None:
    """The bytes of a folder's `study.json`; None if there is none."""
    with suppress(OSError):
        return (folder / "study.json").read_bytes()
    return None


def put_back(study: Study, before: bytes | None) -> None:
    """Undo what opening a study wrote into its `study.json`, unless another process has changed it since."""
    with claims.folder_lock(study.folder):
        if before is not None and saved(study.folder) == _content(study):
            write_file(study.folder / "study.json", before, replace=True)


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


def open_study(
    folder: Path,
    problem: Problem,
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
        identity=problem.identity,
        sources=problem.sources,
        environment=environment,
        labels=problem.test[1].cpu().numpy(),
    )
    _require_room(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with claims.folder_lock(folder):
        old = _load_or_make_anew(folder, new)
        if old is not None:
            require_same_version(folder, old.environment)
            _require_same_task(old, new)
            require_same(folder, old.environment, new.environment)
            _require_same_trial(old, new)
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
            f"(got {', '.join(new.vary)}); cross the same, or start a new study with --study"
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
                require_same_version(folder, anew.environment)
                _require_same_task(anew, new)
                require_same(folder, anew.environment, new.environment)
                _require_same_trial(anew, new)
    set_aside(folder / "study.json", folder)
    return anew


def _require_room(folder: Path) -> None:
    """BadInput if a folder holds files of somebody else and no study; nothing is written before this is known."""
    if folder.exists() and not folder.is_dir():
        raise BadInput(f"--study must name a folder, and {folder} is a file; name another")
    if not folder.is_dir() or has_runs(Store(folder)):
        return
    if (folder / "study.json").exists():
        with suppress(Damaged):
            _read(folder)
            return
    foreign = first_foreign(folder)
    if foreign is not None:
        raise BadInput(
            f"--study must name a study or a new folder, and {folder} holds other files (such as {foreign}); "
            "name another"
        )


def _require_same_task(old: Study, new: Study) -> None:
    """Say in words what differs between two tasks; the way out is always another folder."""
    ours, theirs = new.identity, old.identity
    way_out = "start a new study with --study"
    if theirs["name"] != ours["name"]:
        raise BadInput(f"{old.folder} is a study of {theirs['name']!r}, not of {ours['name']!r}; {way_out}")
    recipes = theirs["recipe"], ours["recipe"]
    fields = [k for k in sorted({*recipes[0], *recipes[1]}) if recipes[0].get(k) != recipes[1].get(k)]
    if not fields and theirs.get("track") != ours.get("track"):
        raise BadInput(
            f"{old.folder} was made with another --track (study={theirs.get('track')}, here={ours.get('track')}), "
            f"and what was not looked at in time cannot be looked at later; use the same, or {way_out}"
        )
    if fields:
        changes = "; ".join(f"{k} is different: study={recipes[0].get(k)}, here={recipes[1].get(k)}" for k in fields)
        raise BadInput(f"{old.folder} was made with another recipe ({changes}); use the same, or {way_out}")
    names = {"code": "file", "data": "data", "model": "model", "augment": "augmentation", "schedule": "schedule"}
    for name, word in names.items():
        if theirs.get(name) != ours.get(name):
            raise BadInput(
                f"{old.folder} was made with another {word}: that of task {ours['name']!r} has changed since"
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
            f"changed; restore it, or start a new study with --study"
        )


def _listed(numbers: Sequence[float | None]) -> str:
    return ", ".join("no number" if x is None else f"{x:.6g}" for x in numbers)


_BY_ITSELF = (
    " (if nobody changed it, it differs in each process: a split or shuffle without a seed, classes numbered in the "
    "order of a set, which PYTHONHASHSEED decides, or files in the order of os.listdir, which must be sorted)"
)


def train_missing(
    study: Study,
    problem: Problem,
    *,
    on_epoch: Callable[[int], None] = lambda done: None,
    on_wait: Callable[[], None] = lambda: None,
    poll_seconds: float = 0.5,
    proof: Proof | None = None,
) -> None:
    """Train every planned run that is not in the store, and every trunk that is lost, until all are there.

    Runs that another process is training are left to it, and waited for. on_epoch is called with the run-epochs done
    of the stack in hand, and with 0 when it is in the store; on_wait while there is nothing but waiting to do.
    proof: this process's, where it comes back for more.
    """
    planned, store, proof = study.planned(), study.store, proof or Proof()
    present = store.keys()
    missing = [key for key in planned if key not in present]
    while True:
        missing = [key for key in missing if not store.record_path(key).exists()]
        trunk = [study.trunk_key] if study.lacking_trunks() else []
        if not missing and not trunk:
            return
        with claims.claim(study.folder, [*missing, *trunk], lambda free: _choose(study, free)) as chosen:
            if not chosen:
                on_wait()
                time.sleep(poll_seconds)
            elif chosen == trunk:
                _train_trunk(study, problem, on_epoch, proof)
            else:
                _train_chosen(study, problem, [planned[key] for key in chosen], on_epoch, proof)


def _train_chosen(
    study: Study, problem: Problem, specs: Sequence[RunSpec], on_epoch: Callable[[int], None], proof: Proof
) -> None:
    """Train these runs as one stack and keep them; the control's first stack leaves the trunks that others need.

    A process that has not proved itself carries the reference run beside them, and keeps nothing unless it is the
    stored one to the last bit.
    """
    specs, beside = _with_proof(study, problem, specs, on_epoch, proof)
    slots, runs = _slots(study, [*specs, *beside]), len(specs)
    onset, deterministic = specs[0].family
    begin = datetime.now(UTC)
    snapshot = _snapshot_path(study, slots)
    control = [slot for slot, spec in enumerate(slots) if set(spec.seeds.values()) == {FIXED_SEED}]
    trunks = study.lacking_trunks() if control and deterministic and not onset else {}
    outcomes = _train(
        problem,
        [spec.seeds for spec in slots],
        on_epoch=lambda epoch: on_epoch(epoch * runs),
        snapshot=snapshot,
        fork=study.trunk_path(onset) if onset else None,
        trunks=trunks,
        trunk_slot=control[0] if control else 0,
        seal=_seal(study, slots),
    )
    if control and proof.needed(study, problem):
        _take(proof, study, outcomes[control[0]], [*trunks.values(), snapshot])
    _keep(study, slots, [spec.key for spec in specs], outcomes, begin)
    proof.given |= study.reference.key in {spec.key for spec in specs}
    snapshot.unlink(missing_ok=True)
    on_epoch(0)


def _with_proof(
    study: Study, problem: Problem, specs: Sequence[RunSpec], on_epoch: Callable[[int], None], proof: Proof
) -> tuple[Sequence[RunSpec], Sequence[RunSpec]]:
    """The runs to keep of a stack, and the reference run beside them where this process must prove itself by it.

    A run of the control among them proves it as well. Where the reference run has no place beside them, or an
    interrupted process left a snapshot of just these, it is trained first, by itself.
    """
    if not proof.needed(study, problem) or any(spec.key in study.control_specs() for spec in specs):
        return specs, ()
    _, deterministic = specs[0].family
    if study.width > 1 and deterministic and not _snapshot_path(study, _slots(study, specs)).exists():
        return specs[: study.width - 1], (study.reference,)
    slots = [study.reference] * study.width
    on_epoch(0)
    _take(proof, study, _train(problem, [spec.seeds for spec in slots], seal=_seal(study, slots))[0], [])
    return specs, ()


def _take(proof: Proof, study: Study, outcome: Outcome, left: Sequence[Path]) -> None:
    """Take a proof; where it fails, what its stack has left on the disk goes."""
    try:
        proof.take(study, outcome)
    except BadInput:
        for path in left:
            path.unlink(missing_ok=True)
        raise


def _train_trunk(study: Study, problem: Problem, on_epoch: Callable[[int], None], proof: Proof) -> None:
    """Train the reference run once more, as far as the latest trunk that is lacking: its own stack is done already.

    As far as its end, where this process must prove itself by it.
    """
    trunks, unproved = study.lacking_trunks(), proof.needed(study, problem)

    def stop(epoch: int) -> None:
        on_epoch(0)
        if epoch >= max(trunks, default=0) and not unproved:
            raise _Enough

    with suppress(_Enough):
        slots = [study.reference] * study.width
        outcomes = _train(problem, [s.seeds for s in slots], on_epoch=stop, trunks=trunks, seal=_seal(study, slots))
        if unproved:
            _take(proof, study, outcomes[0], [*trunks.values()])


class _Enough(Exception):
    """A trunk has come far enough."""


def _train(problem: Problem, seeds: Sequence[Mapping[str, int]], **how: Any) -> list[Outcome]:
    """`train_stack`, whatever users' models, data and schedules come to after their trial step as one sentence."""
    from nondet.training.problem import first_line
    from nondet.training.train import train_stack

    try:
        return train_stack(problem, seeds, **how)
    except (BadInput, Damaged, OSError, _Enough):
        raise
    except Exception as error:
        alone = ", or train one run at a time with --stack 1 and a new --study" if len(seeds) > 1 else ""
        raise BadInput(
            f"training fails: {first_line(error)}; mend the task (the runs that are done are kept){alone}"
        ) from error


def count_done(study: Study) -> tuple[int, int]:
    """How many of the planned runs are done, and how many are planned."""
    planned = study.planned()
    return len(planned.keys() & study.store.keys()), len(planned)


def _choose(study: Study, free: Sequence[str]) -> list[str]:
    """The next stack's runs among those that are free: one of the control, as long as there are any, and others.

    All of one family: runs with a late onset fork from one trunk, which comes first. The same runs missing give the
    same stack, so that an interrupted command finds its snapshot again.
    """
    trunk = [key for key in free if key == study.trunk_key]
    specs, control_runs, present = study.planned(), study.control_specs(), study.store.keys()
    free = [key for key in free if key in specs and key not in present]
    chosen = [key for key in free if key in control_runs][:1]
    lacking = study.lacking_trunks()
    others = [key for key in free if key not in control_runs and specs[key].onset not in lacking]
    if not chosen and not others:
        return trunk if control_runs.keys() <= present else []
    family = specs[(chosen or others)[0]].family
    return chosen + [key for key in others if specs[key].family == family][: study.width - len(chosen)]


def _slots(study: Study, specs: Sequence[RunSpec]) -> list[RunSpec]:
    """A full stack: these runs, then copies of the first; rotated, so that the control's runs take different slots."""
    padded = [*specs, *[specs[0]] * (study.width - len(specs))]
    shift = specs[0].repeat % len(padded)
    return padded[len(padded) - shift :] + padded[: len(padded) - shift]


def _snapshot_path(study: Study, slots: Sequence[RunSpec]) -> Path:
    """Where a stack's snapshot stands: it is named by its runs and their slots."""
    return study.folder / "partial" / f"{snapshot_name([spec.key for spec in slots])}.snapshot"


def _seal(study: Study, slots: Sequence[RunSpec]) -> Seal:
    """What names the snapshots and trunks of a stack, and the trunk it forks from."""
    return Seal(tuple(s.key for s in slots), next(iter(study.specs())), slots[0].onset, study.environment)


def _keep(
    study: Study,
    slots: Sequence[RunSpec],
    chosen: Sequence[str],
    outcomes: Sequence[Outcome],
    begin: datetime,
) -> None:
    """Write a stack's outcomes, each run once, with what is known of its making in its record."""
    end = datetime.now(UTC)
    by_key = {spec.key: (slot, spec, outcome) for slot, (spec, outcome) in enumerate(zip(slots, outcomes, strict=True))}
    for key in chosen:
        slot, spec, outcome = by_key[key]
        record = {
            "run": spec.as_dict(),
            "failed": outcome.failed,
            "facts": dict(outcome.facts),
            "environment": dict(study.environment),
            "slot": slot,
            "stack_runs": len(chosen),
            "seconds": round((end - begin).total_seconds() / len(chosen), 3),
            "started": begin.isoformat(timespec="seconds"),
            "ended": end.isoformat(timespec="seconds"),
            "host": platform.node(),
            "command": study.command_line,
        }
        study.store.put(key, outcome.arrays, record)


def note_until(study: Study, until: Stopping) -> Study:
    """Write down what has become of a stopping rule; the study with it."""
    with claims.folder_lock(study.folder):
        latest = replace(load(study.folder), until=until)
        _save(latest)
    return latest


def finish(study: Study) -> None:
    """Note that all planned runs are there, so that a later loss is seen, and clear what training left in `partial`."""
    with claims.folder_lock(study.folder):
        latest = load(study.folder)
        finished = latest.finished | study.planned().keys()
        if finished != latest.finished:
            _save(replace(latest, finished=finished))
    claims.clear(study.folder)
