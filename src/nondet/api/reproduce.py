"""Why a training does not reproduce."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from nondet.api.shared import spoken
from nondet.api.studies import run, show
from nondet.errors import BadInput

if TYPE_CHECKING:
    from nondet.analysis.reproduce.audit import Audit
    from nondet.analysis.reproduce.diverge import Diverged
    from nondet.analysis.reproduce.resume import Resumed
    from nondet.runners.script import Script
    from nondet.tasks.task import Task


def audit(
    target: Script | Sequence[str] | str | Path | Task,
    steps: int | None = None,
    *,
    say: Callable[[str], None] | None = None,
) -> Audit:
    """Report what each source of a training reaches, what else changes the training, and what nothing explains.

    Args:
        target: a `Script`, or all words of a command; or a task, as for `run`. Each source is varied alone.
        steps: for a script, as for `diverge`. say: called with a sentence for each thing that is done.

    Raises:
        BadInput: the script fails, or is not a Python script.
    """
    from tempfile import TemporaryDirectory

    from nondet.analysis.reproduce import audit as audits
    from nondet.reporting.reproduce import audit_words
    from nondet.running.one_run import command_of
    from nondet.tasks.task import Task

    if isinstance(target, str | Path | Task):
        if steps is not None:
            raise BadInput(f"<<steps>> is for a command, not for a task (got {steps}); leave it out")
        with TemporaryDirectory(prefix="nondet-") as folder:
            results = show(run(target, 2, folder=Path(folder) / "study", say=say))
            if isinstance(target, Task):
                found = audits.audit_of(results)
            else:
                names = [row.name for row in audits.audit_of(results).sources]
                found = audits.audit_task(command_of(str(target), names), results, spoken(say))
    else:
        found = audits.audit(_script(target), steps=_steps(steps), say=spoken(say))
    return replace(found, sentence=audit_words(found))


def diverge(
    target: Script | str | Path | Sequence[str],
    steps: int | None = None,
    *,
    fix: str = "",
    against: str = "",
    say: Callable[[str], None] | None = None,
) -> Diverged:
    """Run a training twice as it is; if the two runs diverge, report at which step, on which line, and why.

    Args:
        target: a `Script`, the path of a Python file, or all words of a command; or a task by name or file.
        steps: how many training steps to look at, at least 1; all of them if left out.
        fix: a fix to prove: "deterministic", or a command that includes the fix. Runs without it must diverge and runs
            with it must not; otherwise the verdict is inconclusive.
        against: compare with a different run instead of a repeat: a folder that `keep_run` wrote, "threads=2",
            "isa=baseline", "precision=medium", "versions=PYTHON", "compile", "deterministic", or another command.
        say: called with a sentence for each thing that is done.

    Raises:
        BadInput: the training fails or is not a Python script, or a kept run has changed since it was written.
    """
    from nondet.analysis.reproduce.against import against as compare_with
    from nondet.analysis.reproduce.diverge import diverge as find
    from nondet.reporting.reproduce import diverged_words

    if fix and against:
        raise BadInput(
            f"a fix is proved by a run's own repeats (got <<fix={fix}>> with <<against={against}>>); give one of them"
        )
    script, many = _training(target), _steps(steps)
    if against:
        found = compare_with(script, against, steps=many, say=spoken(say))
    else:
        found = find(script, steps=many, fix=fix, say=spoken(say))
    return replace(found, sentence=diverged_words(found))


def keep_run(
    target: Script | str | Path | Sequence[str],
    folder: str | Path,
    steps: int | None = None,
    *,
    say: Callable[[str], None] | None = None,
) -> None:
    """Keep a run of a training in a new folder, for `diverge(..., against=folder)`, here or on another machine.

    Args:
        target, steps: as for `diverge`.
        folder: new, or empty.

    Raises:
        BadInput: the training fails, or the folder is taken.
    """
    from nondet.analysis.reproduce.against import save

    save(_training(target), Path(folder), _steps(steps), spoken(say))


def resume_check(
    script: Script | str | Path | Sequence[str],
    steps: int = 4,
    *,
    resume: str = "",
    say: Callable[[str], None] | None = None,
) -> Resumed:
    """Check whether a training that stops after k steps and resumes ends where it would have ended without a stop.

    Args:
        script: as for `diverge`. In its words `{steps}` stands for the total number of steps of a run, and `{resume}`
            for the words of `resume`, which only the part that resumes gets.
        steps: k, at least 1.

    Raises:
        BadInput: the script fails, or is not a Python script.
    """
    from nondet.analysis.reproduce.resume import resume_check as check
    from nondet.reporting.reproduce import resumed_words

    found = check(_script(script), steps, resume, spoken(say))
    return replace(found, sentence=resumed_words(found))


def _script(given: Script | str | Path | Sequence[str]) -> Script:
    from nondet.runners.script import Script

    return given if isinstance(given, Script) else Script(given)


def _training(given: Script | str | Path | Sequence[str]) -> Script:
    """Return a script's command, or the command of one run of a task, which is a name or a file that defines `task`."""
    from nondet.running.one_run import command_of
    from nondet.tasks import is_task

    if isinstance(given, str | Path) and is_task(str(given)):
        return command_of(str(given))
    return _script(given)


def _steps(steps: int | None) -> int | None:
    if steps is not None and steps < 1:
        raise BadInput(f"<<steps>> must be at least 1 (got {steps}); try <<steps=100>>, or leave it out")
    return steps
