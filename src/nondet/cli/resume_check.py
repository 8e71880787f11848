"""Check whether a training that stops and resumes ends where it would have ended without a stop."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from nondet.cli.commands import INCONCLUSIVE, command_of
from nondet.cli.console import TEXT, USUAL, Printed, Volume, answer
from nondet.errors import BadInput
from nondet.io.streams import note

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
    form
        How it is printed.
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
