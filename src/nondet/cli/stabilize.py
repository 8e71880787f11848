"""Compare remedies."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from nondet.cli.console import WIDE, Assignments, Flag, assignments, print_json, print_table
from nondet.errors import BadInput
from nondet.io.streams import say, tell_as_it_is
from nondet.study.provenance import set_up_process


def stabilize(
    target: str,
    /,
    *,
    runs: int = 20,
    cycles: int = 5,
    study: Path | None = None,
    stack: int | None = None,
    set_: Assignments = None,
    data: str | None = None,
    model: str | None = None,
    broken: str = "stop",
    device: str = "auto",
    workers: int | None = None,
    run_task: Flag = False,
    json: Flag = False,
    markdown: Flag = False,
) -> int:
    """Compare what reduces variability: test-time augmentation, accelerated ensembles, averages, plain ensembles.

    Of a task, it trains what is missing of two studies, single models and accelerated ensembles, in all of whose
    runs every source but bit varies. Of a finished study, it takes what the study kept, and trains nothing.

    Parameters
    ----------
    target
        A task by name or file, as for `nondet run`; or the folder of a finished study.
    runs
        Runs of each of the two studies.
    cycles
        Members of an accelerated ensemble; the epochs must be a multiple.
    study
        The folder of the task's two studies; `studies/TASK-stabilize` if left out.
    stack
        As for `nondet run`.
    set_
        As for `nondet run`; `ema` and `swa` too.
    data
        As for `nondet run`; also of a finished study whose data have moved.
    model
        As for `nondet run`.
    broken
        As for `nondet run`.
    device
        As for `nondet run`.
    workers
        As for `nondet run`.
    run_task
        Of a finished study whose task is a file: run that file, for the study's models are made by it.
    json
        As JSON, for scripts.
    markdown
        The table as Markdown.
    """
    from nondet.analysis.remedies import stabilize as remedies
    from nondet.reporting import prose as words
    from nondet.reporting import remedies as remedy_table
    from nondet.reporting import table
    from nondet.running import session as runner
    from nondet.running.progress import steps
    from nondet.running.request import Request

    if json and markdown:
        raise BadInput("stabilize takes one of --json and --markdown (got both); choose one")
    set_up_process()
    request = Request(target, assignments(set_ or []), device, data, model, broken)
    with steps() as on_progress:
        found = remedies.stabilize(
            target,
            folder=study or Path("studies") / f"{request.name}-stabilize",
            assignments=request.assignments,
            recipe_of=request.recipe,
            train=lambda folder, assignments: runner.train(
                replace(request, assignments=assignments),
                folder,
                runs=runs,
                vary=["all"],
                stack=stack,
                workers=workers,
                say=say,
            ),
            problem_of=lambda opened: runner.problem_of(
                opened, device, data, run_task=run_task or remedies.is_task(target)
            ),
            cycles=cycles,
            on_progress=on_progress,
        )
    rows = remedy_table.rows(found.methods)
    if json:
        print_json(found.as_dict())
    elif markdown:
        tell_as_it_is(table.for_markdown(rows, remedy_table.HEAD) + "\n")
    else:
        print_table(
            table.for_terminal(rows, remedy_table.HEAD),
            *found.left_out,
            remedy_table.summary(found.methods),
            width=WIDE + 40,
        )
    if not found.identical:
        say(words.CONTROL_NOT_ZERO)
        return 3
    return 0
