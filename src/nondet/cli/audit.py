"""Report what each source of a training reaches."""

from __future__ import annotations

from nondet.cli.commands import INCONCLUSIVE, command_of
from nondet.cli.console import TEXT, USUAL, Printed, Volume, answer
from nondet.io.streams import note


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
    form
        How it is printed.
    """
    import nondet

    words = command_of("audit", task, command)
    found = nondet.audit(task if words is None else words, steps, say=note)
    answer(found, form)
    return INCONCLUSIVE if found.inconclusive else 0 if found.clean else 1
