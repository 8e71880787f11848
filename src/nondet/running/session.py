"""One command's work: open or make a study, and train all that it lacks, in this process and its helpers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from nondet.errors import BadInput, Stopped
from nondet.io import signals as stopping
from nondet.io.streams import WARNING
from nondet.runners.base import Runner
from nondet.runners.first_run import first
from nondet.runners.script import Script
from nondet.runners.script_runner import again, of_machine
from nondet.running import until as until_rule
from nondet.running.advice import go_on, printable, require_consent
from nondet.running.asked import Asked
from nondet.running.executors.base import Executor, Work
from nondet.running.executors.choice import executor_called
from nondet.running.progress import Watch
from nondet.running.proof import Proof, Unproved
from nondet.running.request import Request
from nondet.study import record as studies
from nondet.study.checks import set_damaged_aside
from nondet.study.design import Condition, Crossed, past_words
from nondet.study.provenance import set_up_process
from nondet.study.spec import same_task
from nondet.study.study import Study

if TYPE_CHECKING:
    from nondet.tasks.task import Task
    from nondet.training.problem import Problem


def train(
    request: Request | Script | Runner,
    folder: Path,
    *,
    runs: int,
    vary: Sequence[str] = (),
    onsets: Sequence[int] = (),
    levels: int | None = None,
    until: str | None = None,
    limit: int | None = None,
    stack: int | str | None = None,
    workers: int | None = None,
    executor: str | Executor | None = None,
    say: Callable[[str], None] = print,
    measure: until_rule.Measure = lambda study, condition: None,
) -> Study:
    """Open or make the study in a folder, add these runs, and train what is missing. Return the finished study.

    measure: how the stopping rule measures a condition.

    Raises:
        BadInput: something that was asked for cannot be done; one sentence says what, and the way out.
        Stopped: the user interrupted; the message says what is safe.
    """
    if isinstance(request, Script):
        there = folder.is_dir() and (folder / "study.json").exists()
        request, vary = of_machine(request, vary, studies.load(folder) if there else None)
    asked = Asked(runs, vary, onsets, levels, until, limit)
    asked.check()
    if isinstance(stack, str) and stack != "auto":
        raise BadInput(f"stack must be a whole number of at least 1, or auto (got {stack!r}); try <<stack=auto>>")
    for name, number in (("stack", None if stack == "auto" else stack), ("workers", workers)):
        if number is not None and number < 1:
            raise BadInput(f"{name} must be at least 1 (got {number}); leave it out for the default")
    set_up_process()
    opened: Study | None = None
    runner = request.runner(say) if isinstance(request, Request) else request
    before, proof = studies.saved(folder), Proof()
    try:
        with stopping.unwinding():
            if isinstance(runner, Script):
                runner = _of_script(runner, folder, say)
            said = request if not isinstance(request, Runner) else Request(runner.name)
            for opened in _rounds(said, runner, folder, asked, stack, say, measure):
                work = Work(opened, runner, proof)
                make = executor_called(executor, workers, work)
                with Watch(opened, runner.epochs) as watch:
                    make(work, watch)
                studies.finish(opened)
    except Unproved:
        if opened is not None:
            studies.put_back(opened, before)
        raise
    except KeyboardInterrupt:
        if opened is None:
            raise Stopped("Stopped before any training. Give the same command again.") from None
        done, planned = studies.count_done(opened)
        raise Stopped(f"Stopped. {done} of {planned} runs are safe in {folder}. Go on with: {go_on(opened)}") from None
    return studies.load(folder)


def problem_of(
    study: Study, device: str = "auto", data: str | None = None, *, run_task: bool = False, task: Task | None = None
) -> Problem:
    """Return the task of a study as it was asked for; BadInput if it has changed since, or the study does not say.

    run_task: the user agrees to run or read what the study itself names; otherwise nothing is run or read.
    """
    if "command" in study.request:
        raise BadInput(f"the study must be of a task, because the models are needed (got {study.folder}, of a script)")
    if not study.request:
        raise BadInput(f"{study.folder} does not say what made it; give the `nondet run` command again first")
    request = Request.of(study.request)
    require_consent(study, request, data, run_task)
    if task is None and not request.is_task:
        raise BadInput(
            f"{study.folder} is a study of the task {printable(request.task)!r}, which a program defined and no file "
            "contains; give that task too, as in nondet.stabilize(study, task=task)"
        )
    problem = replace(request, device=device, data=data or request.data, given=task).prepare()
    if not same_task(problem.identity, study.identity):
        raise BadInput(
            f"{study.folder} was made from another version of {request.task} (its code, data, network or recipe has "
            "changed since); restore that version"
        )
    return problem


def _of_script(script: Script, folder: Path, say: Callable[[str], None]) -> Runner:
    """Return the runner of a script, from the study if it exists and otherwise from a first run."""
    script.check()
    if folder.is_dir() and (folder / "study.json").exists():
        return again(script, studies.load(folder))
    studies.require_room(folder)
    return first(script, folder, say)


def _width(
    runner: Runner, folder: Path, stack: int | str | None, wanted: Sequence[Condition], crossing: Crossed | None
) -> tuple[int, str]:
    """Return how many runs train together, and what to say about it; an existing study keeps its width."""
    own = studies.width_of(folder)
    if stack == "auto" and own is None:
        return runner.fastest(crossing.runs if crossing else sum(c.runs for c in wanted))
    return runner.width(own if isinstance(stack, str) else stack or own)


def _rounds(
    request: Request | Script,
    runner: Runner,
    folder: Path,
    asked: Asked,
    stack: int | str | None,
    say: Callable[[str], None],
    measure: until_rule.Measure,
) -> Iterator[Study]:
    """Yield the study, to be trained before the next step: once, or with more runs until the stopping rule holds."""
    rule, wanted, crossing = asked.rule(runner.kind), asked.conditions(runner), asked.crossed(runner)
    if past := past_words(wanted):
        say(WARNING + past)
    width, why = _width(runner, folder, stack, wanted, crossing)
    if why:
        say(why)
    if runner.resumes and any(c.onset for c in wanted):
        raise BadInput(f"an onset continues from a stored state, but {runner.resumes}")
    runner.check(wanted, crossing)
    where = runner.environment(width)
    command = request.command_words(asked.words(), width)
    state, said = rule.begun if rule else None, asdict(asked)
    while True:
        opened = studies.open_study(folder, runner, where, wanted, command, request.as_dict(), crossing, state, said)
        for sentence in set_damaged_aside(opened):
            say(WARNING + sentence)
        yield opened
        if rule is None:
            return
        state = until_rule.looked_at(rule, opened, wanted, measure)
        studies.note_until(opened, state)
        if state.held is not None:
            return
        more = until_rule.next_runs(opened, wanted, rule.limit)
        say(f"After {state.runs} runs of each condition the largest error is {until_rule.worst(state)}: on to {more}.")
        wanted = [replace(c, runs=more) for c in wanted]
