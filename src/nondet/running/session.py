"""One command's work: a study opened or made, and all that it misses trained, by this process and its helpers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nondet.errors import BadInput, Stopped
from nondet.io import signals as stopping
from nondet.io.cores import available_cores
from nondet.running import until
from nondet.running.advice import require_consent
from nondet.running.asked import Asked
from nondet.running.executors.processes import Helpers
from nondet.running.progress import Watch
from nondet.running.proof import Proof, Unproved
from nondet.running.request import Request
from nondet.study import record as studies
from nondet.study.design import past_words
from nondet.study.provenance import environment, set_up_process
from nondet.study.record import Study
from nondet.study.repair import set_damaged_aside
from nondet.study.spec import same_task

if TYPE_CHECKING:
    from nondet.training.problem import Problem


def train(
    request: Request,
    folder: Path,
    *,
    runs: int,
    vary: Sequence[str] = (),
    onsets: Sequence[int] = (),
    levels: int | None = None,
    until: str | None = None,
    limit: int | None = None,
    stack: int | None = None,
    workers: int | None = None,
    say: Callable[[str], None] = print,
) -> Study:
    """Open or make the study in a folder, add these runs, and train what is missing; the finished study.

    Raises:
        BadInput: something that was asked for cannot be done; one sentence says what and the way out.
        Stopped: the user interrupted; the message says what is safe.
    """
    asked = Asked(runs, vary, onsets, levels, until, limit)
    asked.check()
    for name, number in (("stack", stack), ("workers", workers)):
        if number is not None and number < 1:
            raise BadInput(f"{name} must be at least 1 (got {number}); leave it out for the usual one")
    set_up_process()
    opened: Study | None = None
    problem, before, proof = request.prepare(), studies.saved(folder), Proof()
    try:
        with stopping.unwinding():
            for opened in _rounds(request, problem, folder, asked, stack, say):
                _train(opened, problem, {"request": request.as_dict(), "folder": str(folder)}, workers, proof)
    except Unproved:
        if opened is not None:
            studies.put_back(opened, before)
        raise
    except KeyboardInterrupt:
        if opened is None:
            raise Stopped("Stopped before any training. Give the same command again.") from None
        done, planned = studies.count_done(opened)
        raise Stopped(
            f"Stopped. {done} of {planned} runs are safe in {folder}. Go on with: {opened.command_line}"
        ) from None
    return studies.load(folder)


def problem_of(study: Study, device: str = "auto", data: str | None = None, *, run_task: bool = False) -> Problem:
    """The task of a study as it was asked for; BadInput if it is another by now, or the study does not tell.

    run_task: the user has agreed to what a study's own words would run or read; without it, they run and read nothing.
    """
    if not study.request:
        raise BadInput(f"{study.folder} does not say what made it; give the `nondet run` command again first")
    request = Request.of(study.request)
    require_consent(study, request, data, run_task)
    problem = replace(request, device=device, data=data or request.data).prepare()
    if not same_task(problem.identity, study.identity):
        raise BadInput(
            f"{study.folder} is a study of another task than {request.task} is now (its code, data, network or recipe "
            "has changed since); restore it"
        )
    return problem


def _rounds(
    request: Request, problem: Problem, folder: Path, asked: Asked, stack: int | None, say: Callable[[str], None]
) -> Iterator[Study]:
    """The study, to be trained before the next is asked for: once, or with more runs until the stopping rule holds."""
    from nondet.training.trial import check_bit, fitting_width

    rule, wanted, crossing = asked.rule(problem), asked.conditions(problem), asked.crossed(problem)
    if past := past_words(wanted):
        say(past)
    width, why = fitting_width(problem, stack or studies.width_of(folder) or problem.task.stack)
    if why:
        say(f"The runs are trained one at a time, because they do not stack: {why}.")
    if problem.state and any(c.onset for c in wanted):
        raise BadInput(
            f"an onset continues from a stored state, and the model counts in {problem.state}, a number that "
            "none holds; make it a buffer: self.register_buffer(...)"
        )
    from_the_start = [c.vary for c in wanted if not c.onset] + ([crossing.vary] if crossing else [])
    if any("bit" in vary for vary in from_the_start):
        check_bit(problem)
    where = environment(problem, width)
    command = ["nondet", "run", request.task, *asked.words(), f"--stack={width}", *request.words()]
    state, said = rule.begun if rule else None, asdict(asked)
    while True:
        opened = studies.open_study(folder, problem, where, wanted, command, request.as_dict(), crossing, state, said)
        for sentence in set_damaged_aside(opened):
            say(sentence)
        yield opened
        if rule is None:
            return
        state = until.looked_at(rule, opened, wanted)
        studies.note_until(opened, state)
        if state.held is not None:
            return
        more = until.next_runs(opened, wanted, rule.limit)
        say(f"{state.runs} runs of each condition, and the largest error is {until.worst(state)}: on to {more}")
        wanted = [replace(c, runs=more) for c in wanted]


def _train(study: Study, problem: Problem, order: Mapping[str, Any], workers: int | None, proof: Proof) -> None:
    """Train what is missing, with helpers where that is worth it."""
    done, planned = studies.count_done(study)
    alone = problem.device.type != "cpu" or "decoder" in study.environment  # its decoders take the other cores
    usual = 1 if alone else available_cores() // int(study.environment["threads"])
    most = min(workers or usual, -(-(planned - done) // study.width))
    with Helpers(most - 1, order) as helpers, Watch(study, problem.recipe.epochs, helpers) as watch:
        studies.train_missing(study, problem, on_epoch=watch.on_epoch, on_wait=watch.on_wait, proof=proof)
    studies.finish(study)
