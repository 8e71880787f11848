"""Compare remedies."""

from __future__ import annotations

from pathlib import Path

from nondet.cli.console import TEXT, USUAL, Assignments, Flag, Printed, Volume, answer, assignments
from nondet.io.streams import note


def stabilize(
    target: str,
    /,
    *,
    runs: int = 20,
    cycles: int = 5,
    study: Path | None = None,
    stack: int | str | None = None,
    set_: Assignments = None,
    data: str | None = None,
    model: str | None = None,
    broken: str = "stop",
    device: str = "auto",
    workers: int | None = None,
    run_task: Flag = False,
    form: Printed = TEXT,
    volume: Volume = USUAL,
) -> int:
    """Compare what reduces variability: test-time augmentation, accelerated ensembles, averages of weights, plain
    ensembles.

    Given a task, it trains what is missing from two studies, one of single models and one of accelerated ensembles. In
    both, every source but bit varies in every run. Given a finished study, it uses what the study kept, and trains
    nothing.

    Parameters
    ----------
    target
        A task by name or file, as for `nondet run`; or the folder of a finished study.
    runs
        Runs of each of the two studies.
    cycles
        How many members an accelerated ensemble has; the number of epochs must be a multiple of it.
    study
        The folder of the task's two studies; `studies/TASK-stabilize` if left out.
    stack
        As for `nondet run`.
    set_
        As for `nondet run`; also `ema` and `swa`.
    data
        As for `nondet run`; also for a finished study whose data have moved.
    model
        As for `nondet run`.
    broken
        As for `nondet run`.
    device
        As for `nondet run`.
    workers
        As for `nondet run`; also how many threads evaluate.
    run_task
        For a finished study whose task is a file: run that file, because its code makes the study's models.
    form
        How it is printed.
    """
    import nondet
    from nondet.running.progress import steps

    with steps() as on_progress:
        found = nondet.stabilize(
            target,
            runs,
            cycles=cycles,
            folder=study,
            stack=stack,
            workers=workers,
            recipe=assignments(set_ or []),
            data=data,
            model=model,
            broken=broken,
            device=device,
            run_task=run_task,
            say=note,
            on_progress=on_progress,
        )
    return answer(found, form, control=found.identical)
