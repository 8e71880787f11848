"""Does a training that stops and resumes come to what it comes to without a stop."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from nondet.cli.commands import INCONCLUSIVE, command_of
from nondet.cli.console import TEXT, USUAL, Printed, Volume, answer
from nondet.errors import BadInput
from nondet.io.streams import note

Option = Annotated[str, Parameter(allow_leading_hyphen=True)]
"""Words of another command's, which may be its options."""


def resume_check(
    task: str,
    /,
    *command: str,
    steps: int = 4,
    resume: Option = "--resume",
    form: Printed = TEXT,
    volume: Volume = USUAL,
) -> int:
    """Train 2k steps at once, and k steps, a stop, and k steps more; name the first state that differs.

    `nondet resume-check -- python train.py --steps {steps} {resume}`. In the words of the command `{steps}` stands for
    how many steps a run takes in all, and `{resume}` for the words that have it resume, which the first part does
    without.

    Parameters
    ----------
    task
        After --: the command of a Python script, with `{steps}`, and `{resume}` where it needs one.
    command
        The rest of its words.
    steps
        k: the training is stopped after so many steps, and compared after twice as many.
    resume
        What stands for `{resume}` in the part that resumes.
    form
        How it is printed.
    """
    from nondet import api

    words = command_of("resume-check", task, command)
    if words is None:
        raise BadInput(
            f"a training must be given as a command (got {task!r}); try nondet resume-check -- python train.py "
            "--steps {steps} {resume}"
        )
    found = api.resume_check(words, steps, resume=resume, say=note)
    answer(found, form)
    return {"resumes": 0, "differs": 1}.get(found.verdict, INCONCLUSIVE)
