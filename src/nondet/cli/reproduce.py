"""Why a training does not reproduce: what each source reaches, where two runs diverge, whether it resumes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from nondet.cli.commands import INCONCLUSIVE, command_of
from nondet.cli.console import TEXT, USUAL, Printed, Volume, answer
from nondet.errors import BadInput
from nondet.io.streams import note, tell


def audit(task: str, /, *command: str, steps: int | None = None, form: Printed = TEXT, volume: Volume = USUAL) -> int:
    """Report what each source of a training reaches, what else changes the training, and what nothing explains.

    `nondet audit -- python train.py --epochs 3`. It makes one run as it is, a control with equal seeds, and then one
    run for each source with another seed for that source alone. The clock, unseeded generators, hashes, the order of
    files and of threads, and memory are sources too.

    Parameters
    ----------
    task
        A task by name or file; or, after --, the command that runs a Python script, as you type it.
    command
        After --: the rest of the command. `{init}` in it stands for the seed of that source.
    steps
        How many training steps of each run to look at; all of them if left out.
    """
    import nondet

    words = command_of("audit", task, command)
    found = nondet.audit(task if words is None else words, steps, say=note)
    answer(found, form)
    return INCONCLUSIVE if found.inconclusive else 0 if found.clean else 1


def diverge(
    task: str,
    /,
    *command: str,
    steps: int | None = None,
    fix: str = "",
    against: str = "",
    save: Path | None = None,
    form: Printed = TEXT,
    volume: Volume = USUAL,
) -> int:
    """Run a training twice as it is, and find where and why the two runs diverge.

    `nondet diverge -- python train.py --epochs 3`. Each run has its own process and folder. If the two diverge, more
    runs follow. In these, everything that comes from outside (the clock, unseeded generators, hashes, the order of
    threads) is first held fixed, and then changed one at a time. Whatever changes the training is the cause.

    Parameters
    ----------
    task
        A task by name or file; or, after --, the command that runs a Python script, as you type it.
    command
        The rest of the command.
    steps
        How many training steps to look at; all of them if left out. "None found" applies to these steps only.
    fix
        A fix to prove: `deterministic` (torch's deterministic algorithms, and one seed for hashes), or a command that
        includes the fix, in quotes. Runs without it must diverge and runs with it must not; otherwise the result is
        inconclusive.
    against
        Compare with a different run instead of a repeat: a folder that --save wrote, perhaps on another machine;
        `threads=N`, `isa=NAME`, `precision=NAME`, `versions=PYTHON`, `compile` (torch.compile) or `deterministic`; or
        another command, in quotes. Everything that comes from outside is the same in both.
    save
        Keep a run in this new folder, for --against, and compare nothing.
    """
    import nondet
    from nondet.tasks import is_task

    words = command_of("diverge", task, command)
    if words is None and not is_task(task):
        raise BadInput(f"a script must be given as a command (got {task!r}); try nondet diverge -- python {task}")
    target = task if words is None else words
    if save is not None:
        if against or fix or form.json:
            given = "--against" if against else "--fix" if fix else "--json"
            raise BadInput(
                f"--save keeps a run and compares nothing (got --save {save} with {given}); give one of them"
            )
        nondet.keep_run(target, save, steps, say=note)
        tell(f"The run is kept in {save}. Compare with it: nondet diverge --against {save} ...")
        return 0
    found = nondet.diverge(target, steps, fix=fix, against=against, say=note)
    answer(found, form)
    return {"none": 0, "origin": 1}.get(found.verdict, INCONCLUSIVE)


Option = Annotated[str, Parameter(allow_leading_hyphen=True)]
"""Words of another command, which may be options of it."""


def resume_check(
    task: str,
    /,
    *command: str,
    steps: int = 4,
    resume: Option = "--resume",
    form: Printed = TEXT,
    volume: Volume = USUAL,
) -> int:
    """Train 2k steps in one go, then k steps, a stop and k more steps, and name the first state that differs.

    `nondet resume-check -- python train.py --steps {steps} {resume}`. In the command, `{steps}` stands for the total
    number of steps of a run, and `{resume}` for the words that make it resume, which the first part leaves out.

    Parameters
    ----------
    task
        After --: the command that runs a Python script, with `{steps}`, and with `{resume}` if it needs that.
    command
        The rest of the command.
    steps
        k: the training is stopped after this many steps, and compared after twice as many.
    resume
        What replaces `{resume}` in the part that resumes.
    """
    import nondet

    words = command_of("resume-check", task, command)
    if words is None:
        raise BadInput(
            f"a training must be given as a command (got {task!r}); try nondet resume-check -- python train.py "
            "--steps {steps} {resume}"
        )
    found = nondet.resume_check(words, steps, resume=resume, say=note)
    answer(found, form)
    return {"resumes": 0, "differs": 1}.get(found.verdict, INCONCLUSIVE)
