"""One command's work: open or make a study, and train all that it lacks, in this process and its helpers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from nondet.errors import BadInput, Damaged, Stopped
from nondet.io import extensions
from nondet.io import signals as stopping
from nondet.io.cores import available_cores
from nondet.io.nearest import did_you_mean
from nondet.io.streams import WARNING
from nondet.runners.base import Runner
from nondet.runners.first_run import first
from nondet.runners.script import Script
from nondet.runners.script_runner import again, of_machine
from nondet.running import until as until_rule
from nondet.running.advice import go_on, request_in
from nondet.running.asked import Asked
from nondet.running.executors.base import Executor, Work, local
from nondet.running.executors.processes import Processes
from nondet.running.progress import Watch
from nondet.running.proof import Proof, Unproved
from nondet.running.request import Request
from nondet.study import record as studies
from nondet.study.checks import set_damaged_aside
from nondet.study.design import Condition, Crossed, crossed, past_words
from nondet.study.provenance import set_up_process
from nondet.study.spec import same_task
from nondet.study.study import Study

if TYPE_CHECKING:
    from nondet.tasks.task import Task
    from nondet.training.problem import Problem


GROUP = "nondet.executors"

ENGINES = ("ray", "slurm")
"""Executors that start work on other machines; after a colon, they take an address or options."""


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
    there: Study | None = None
    if isinstance(request, Script):
        there = studies.load(folder) if folder.is_dir() and (folder / "study.json").exists() else None
        request, vary = of_machine(request, vary, there)
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
                runner.check()
                if there is None:
                    studies.require_room(folder)
                runner = again(runner, there) if there is not None else first(runner, folder, say)
            said = request if not isinstance(request, Runner) else Request(runner.name)
            for opened in _rounds(said, runner, folder, asked, stack, say, measure):
                work = Work(opened, runner, proof)
                make = _executor(executor, workers, work)
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
    way_out = "give that task too, as in nondet.stabilize(study, task=task)"
    request = request_in(study, data, run_task, way_out=way_out, given=task)
    problem = replace(request, device=device).prepare()
    if not same_task(problem.identity, study.identity):
        raise BadInput(
            f"{study.folder} was made from another version of {request.task} (its code, data, network or recipe has "
            "changed since); restore that version"
        )
    return problem


def _executor(name: str | Executor | None, workers: int | None, work: Work) -> Executor:
    """Return the executor of this name. Without a name, that is this process, with helpers where they are worth it.

    Raises:
        BadInput: there is no executor of that name.
    """
    if name is not None and not isinstance(name, str):
        return name
    if name in (None, "processes"):
        environment = work.study.environment
        alone = environment.get("device") != "cpu" or "decoder" in environment  # decoders take the other cores
        usual = 1 if alone else available_cores() // int(environment.get("threads", 1))
        return Processes((workers or usual) - 1)
    if name == "local":
        return local
    kind, _, rest = name.partition(":")
    if kind in ENGINES:
        return getattr(import_module(f"nondet.running.executors.{kind}"), f"on_{kind}")(rest)
    if name not in extensions.names(GROUP):
        known = ["local", "processes", *ENGINES, *extensions.names(GROUP)]
        near = did_you_mean(name, known)
        raise BadInput(
            f"unknown executor {name!r}{near}; choose from {', '.join(known)}, or install the package that provides it"
        )
    return extensions.load(GROUP, name)


def _width(
    runner: Runner, folder: Path, stack: int | str | None, wanted: Sequence[Condition], crossing: Crossed | None
) -> tuple[int, str]:
    """Return how many runs train together, and what to say about it; an existing study keeps its width."""
    own = None
    with suppress(BadInput, Damaged):
        own = studies.load(folder).width
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
    rule = None
    if asked.until is not None:
        figures = [figure.name for figure in runner.kind.figures]
        rule = until_rule.parse(asked.until, figures, asked.runs, asked.limit)
    wanted = asked.conditions(runner)
    crossing = None if asked.levels is None else crossed(asked.vary, runner.sources, asked.levels)
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
        studies.note_until(folder, state)
        if state.held is not None:
            return
        more = until_rule.next_runs(opened, wanted, rule.limit)
        say(f"After {state.runs} runs of each condition the largest error is {until_rule.worst(state)}: on to {more}.")
        wanted = [replace(c, runs=more) for c in wanted]
