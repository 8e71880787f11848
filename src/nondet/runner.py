"""One command's work: a study opened or made, and all that it misses trained, by this process and its helpers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from nondet import study as studies
from nondet.environment import environment, set_up_process
from nondet.errors import BadInput, Stopped
from nondet.executors.helpers import Helpers, available_cores
from nondet.progress import Watch
from nondet.protocol import conditions
from nondet.request import Request
from nondet.study import Study

if TYPE_CHECKING:
    from nondet.training.problem import Problem


def train(
    request: Request,
    folder: Path,
    *,
    runs: int,
    vary: Sequence[str] = (),
    onsets: Sequence[int] = (),
    stack: int | None = None,
    workers: int | None = None,
    say: Callable[[str], None] = print,
) -> Study:
    """Open or make the study in a folder, add these conditions, and train what is missing; the finished study.

    Raises:
        BadInput: something that was asked for cannot be done; one sentence says what and the way out.
        Stopped: the user interrupted; the message says what is safe.
    """
    if runs < 2:
        raise BadInput(f"runs must be at least 2 to measure variability (got {runs}); try --runs 20")
    for name, number in (("stack", stack), ("workers", workers)):
        if number is not None and number < 1:
            raise BadInput(f"{name} must be at least 1 (got {number}); leave it out for the usual one")
    set_up_process()
    opened: Study | None = None
    try:
        opened, problem = _opened(request, folder, runs, vary, onsets, stack, say)
        done, planned = studies.count_done(opened)
        alone = problem.device.type != "cpu" or "decoder" in opened.environment  # its decoders take the other cores
        usual = 1 if alone else available_cores() // int(opened.environment["threads"])
        most = min(workers or usual, -(-(planned - done) // opened.width))
        order = {"request": request.as_dict(), "folder": str(folder)}
        with Helpers(most - 1, order) as helpers, Watch(opened, problem.recipe.epochs, helpers) as watch:
            studies.train_missing(opened, problem, on_epoch=watch.on_epoch, on_wait=watch.on_wait)
        studies.finish(opened)
    except KeyboardInterrupt:
        if opened is None:
            raise Stopped("Stopped before any training. Give the same command again.") from None
        done, planned = studies.count_done(opened)
        raise Stopped(
            f"Stopped. {done} of {planned} runs are safe in {folder}. Go on with: {opened.command_line}"
        ) from None
    return opened


def problem_of(study: Study, device: str = "auto", data: str | None = None) -> Problem:
    """The task of a study as it was asked for; BadInput if it is another by now, or the study does not tell."""
    if not study.request:
        raise BadInput(f"{study.folder} does not say what made it; give the `nondet run` command again first")
    request = Request.of(study.request)
    problem = replace(request, device=device, data=data or request.data).prepare()
    if problem.identity != study.identity:
        raise BadInput(
            f"{study.folder} is a study of another task than {request.task} is now (its code, data, network or recipe "
            "has changed since); restore it"
        )
    return problem


def _opened(
    request: Request,
    folder: Path,
    runs: int,
    vary: Sequence[str],
    onsets: Sequence[int],
    stack: int | None,
    say: Callable[[str], None],
) -> tuple[Study, Problem]:
    from nondet.training.trial import check_stack

    problem = request.prepare()
    wanted = conditions(vary, problem.sources, runs, onsets, problem.recipe.epochs)
    width = stack or studies.width_of(folder) or problem.task.stack
    check_stack(problem, width)
    command = ["nondet", "run", request.task, f"--runs={runs}", *(f"--vary={v}" for v in vary)]
    command += [*(f"--onset={e}" for e in onsets), f"--stack={width}", *request.words()]
    opened = studies.open_study(folder, problem, environment(problem, width), wanted, command, request.as_dict())
    for damage in studies.set_damaged_aside(opened):
        say(f"{damage}: set aside, to be trained again")
    return opened, problem
