"""Make, continue, read and copy studies."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from nondet.api.shared import measured, quiet, spoken, study_of

if TYPE_CHECKING:
    from nondet.analysis.opened import OpenStudy
    from nondet.analysis.results import Results
    from nondet.api.shared import StudyGiven
    from nondet.runners.base import Runner
    from nondet.runners.function import Function
    from nondet.runners.script import Script
    from nondet.running.copying import Copied
    from nondet.running.doctor import Diagnosis
    from nondet.running.executors.base import Executor
    from nondet.running.work import Status
    from nondet.tasks.task import Task


def run(
    task: str | Path | Task | Script | Function | Runner,
    runs: int = 20,
    *,
    vary: str | Sequence[str] = (),
    folder: str | Path | None = None,
    onset: int | Sequence[int] = (),
    until: str | None = None,
    limit: int | None = None,
    levels: int | None = None,
    stack: int | str | None = None,
    workers: int | None = None,
    executor: str | Executor | None = None,
    recipe: Mapping[str, object] | None = None,
    data: str | Path | None = None,
    model: str | None = None,
    broken: str = "stop",
    track: Sequence[int] = (),
    layers: Sequence[str] = (),
    device: str = "auto",
    tf32: bool = False,
    say: Callable[[str], None] | None = None,
) -> OpenStudy:
    """Train the runs that a study still lacks, and open it. Make the same call again to continue after an interruption.

    Args:
        task: a `Task`; the name of one that comes with nondet; the path of a file that defines one; a `Script`; a
            `Function`; or a runner.
        runs: how many in each condition, at least 2.
        vary: what varies in each condition: a source, several joined by +, or "all". If left out, each source alone and
            then all together.
        folder: the study's folder, new or existing; `studies/NAME` if left out.
        onset: the epochs from which the sources vary. until, limit: see `nondet run --help`.
        levels: for a crossed design: how many seeds each source in `vary` has.
        stack: how many runs train together; "auto" measures which width is fastest.
        workers: how many processes train side by side. executor: where runs are trained.
        recipe: fields of the recipe to change, such as `{"epochs": 5}`.
        say: called with each sentence that a user should see meanwhile; `print`, for example.

    Raises:
        BadInput: something you asked for cannot be done; the message says what, and the way out.
    """
    from nondet.analysis.opened import OpenStudy
    from nondet.runners.base import Runner
    from nondet.runners.function import Function, of_function
    from nondet.runners.script import Script
    from nondet.running.request import request_of
    from nondet.running.session import train
    from nondet.study.mirror import folder_of, mirror_of

    if isinstance(task, Script):
        task = replace(task, name=task.title)
    if isinstance(task, Function):
        task = of_function(task)
    request = (
        task
        if isinstance(task, Runner | Script)
        else request_of(
            task,
            assignments={name: str(value) for name, value in (recipe or {}).items()},
            device=device,
            data=None if data is None else str(data),
            model=model,
            broken=broken,
            track=tuple(track),
            layers=tuple(layers),
            tf32=tf32,
        )
    )
    study = train(
        request,
        Path("studies") / request.name if folder is None else folder_of(folder),
        runs=runs,
        vary=[vary] if isinstance(vary, str) else list(vary),
        onsets=[onset] if isinstance(onset, int) else list(onset),
        levels=levels,
        until=until,
        limit=limit,
        stack=stack,
        workers=workers,
        executor=executor,
        say=spoken(say),
        measure=measured,
    )
    if (mirror := mirror_of(study.folder)) is not None:
        mirror.fetch_all()
    return OpenStudy(study, getattr(request, "given", None))


def open(folder: str | Path) -> OpenStudy:
    """Open the study in a folder; `study["all"]` are the runs of a condition.

    Raises:
        BadInput: there is no study, or its format is unknown. Damaged: its file differs from what was written.
    """
    from nondet.analysis.opened import open_study

    return open_study(folder)


def show(study: StudyGiven, examples: bool = False) -> Results:
    """Return a study's table, the control first, with all its estimates.

    Args:
        examples: whether errors and intervals should also hold for other test examples drawn in the same way.

    Raises:
        Damaged: a run differs from what was written.
    """
    from nondet.analysis.results import read_results

    return read_results(study_of(study).study, examples)


def work(
    study: str | Path,
    *,
    data: str | Path | None = None,
    device: str = "auto",
    stacks: int | None = None,
    run_task: bool = False,
    say: Callable[[str], None] = quiet,
) -> int:
    """Train the runs that a study lacks and nobody else is training, and return how many this process has trained.

    Any number of workers may train one study, on all machines that share its folder.

    Args:
        data: the folder of the task's files on this machine, if the study names another.
        stacks: stop after this many stacks of runs.
        run_task: whether to run the task's file or the command that the study names, which is code.

    Raises:
        BadInput: this process would train the study's runs differently from those it has; the message says how.
    """
    from nondet.running import work as working
    from nondet.study.mirror import folder_of

    return working.work(
        folder_of(study),
        device=device,
        data=None if data is None else str(data),
        run_task=run_task,
        stacks=stacks,
        say=spoken(say),
    )


def status(study: str | Path) -> Status:
    """Return a study's progress: its runs planned, done, failed and in hand, by condition and by machine."""
    from nondet.running import work as working
    from nondet.study import record as studies
    from nondet.study.mirror import folder_of

    return working.status(studies.load(folder_of(study)))


def pull(source: str | Path, folder: str | Path, say: Callable[[str], None] = quiet) -> Copied:
    """Copy a study from a bucket, such as `s3://bucket/path`, or another folder, into a folder; `push` copies it back.

    Files that are already there are kept, so an interrupted copy continues where it stopped. Every run is checked
    against its hashes.

    Raises:
        BadInput: there is no study at the source, or another one in the folder.
        Damaged: a run differs from what was written; the others are copied.
    """
    from nondet.running.copying import copy_study

    return copy_study(source, folder, spoken(say))


def push(folder: str | Path, target: str | Path, say: Callable[[str], None] = quiet) -> Copied:
    """Copy a study from a folder into a bucket or another folder: see `pull`."""
    from nondet.running.copying import copy_study

    return copy_study(folder, target, spoken(say))


def doctor(place: str | Path) -> Diagnosis:
    """Test whether a folder or a bucket can do what a study needs of the place where it is kept: `doctor(place).sound`.

    Raises:
        BadInput: there is no such place, or it cannot be read and written at all.
    """
    from nondet.running.doctor import diagnose

    return diagnose(place)
