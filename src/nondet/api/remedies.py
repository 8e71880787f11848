"""What makes a training vary less."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from nondet.api.shared import measured, spoken

if TYPE_CHECKING:
    from nondet.analysis.remedies.stabilize import Stabilized
    from nondet.api.shared import StudyGiven
    from nondet.study.study import Study
    from nondet.tasks.task import Task


def stabilize(
    target: StudyGiven | Task,
    runs: int = 20,
    *,
    cycles: int = 5,
    folder: str | Path | None = None,
    stack: int | str | None = None,
    workers: int | None = None,
    recipe: Mapping[str, object] | None = None,
    data: str | Path | None = None,
    model: str | None = None,
    broken: str = "stop",
    device: str = "auto",
    run_task: bool = False,
    task: Task | None = None,
    say: Callable[[str], None] | None = None,
    on_progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> Stabilized:
    """Compare what reduces variability: test-time augmentation, accelerated ensembles, averages of weights, plain
    ensembles.

    Args:
        target: a finished study, for which nothing is trained; or a task, for which two studies are trained.
        runs: how many runs each of the two studies has. cycles: how many members an accelerated ensemble has.
        folder: where the two studies are kept; `studies/TASK-stabilize` if left out.
        workers: how many processes train side by side and how many threads evaluate; if left out, one for each core on
            a CPU.
        run_task: for a study whose task is a file: whether to run that file, whose code makes the study's models.
        task: for a study whose task is a `Task` made in a program: that task, unless `run` has just made the study.
    """
    from nondet.analysis.opened import OpenStudy
    from nondet.analysis.remedies import stabilize as remedies
    from nondet.running import session
    from nondet.running.request import request_of
    from nondet.study.provenance import set_up_process

    set_up_process()
    opened = target if isinstance(target, OpenStudy) else None
    named = opened.folder if opened else target
    where = None if data is None else str(data)
    assignments = {name: str(value) for name, value in (recipe or {}).items()}
    request = request_of(named, assignments=assignments, device=device, data=where, model=model, broken=broken)

    def train(place: Path, changed: dict[str, str]) -> Study:
        given = replace(request, assignments=changed)
        return session.train(
            given, place, runs=runs, vary=["all"], stack=stack, workers=workers, say=spoken(say), measure=measured
        )

    return remedies.stabilize(
        request.task,
        is_task=request.is_task and not opened,
        folder=Path("studies") / f"{request.name}-stabilize" if folder is None else Path(folder),
        assignments=request.assignments,
        recipe_of=request.recipe,
        kind_of=lambda: request.prepare().kind.name,
        train=train,
        problem_of=lambda study: session.problem_of(
            study,
            device,
            where,
            run_task=run_task or (request.is_task and not opened),
            task=request.given or task or (opened.task if opened else None),
        ),
        cycles=cycles,
        on_progress=on_progress,
        workers=workers,
    )
