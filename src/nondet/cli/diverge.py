"""Where two runs of a script part, and why."""

from __future__ import annotations

from nondet.cli.commands import INCONCLUSIVE, command_of
from nondet.cli.console import Flag, answer
from nondet.errors import BadInput
from nondet.io.streams import say


def diverge(task: str, /, *command: str, steps: int | None = None, fix: str = "", json: Flag = False) -> int:
    """Run a script twice as it is, and find where and why the two trainings part.

    `nondet diverge -- python train.py --epochs 3`. Each run is a process and a folder of its own. Where they part, more
    runs follow in which all that comes from outside is held (the clock, unseeded generators, hashes, the order of
    threads), and then changed alone: what makes the training another is the cause.

    Parameters
    ----------
    task
        After --: the command of a Python script, as you type it.
    command
        The rest of its words.
    steps
        How many training steps to look at; all of them if left out. "None found" holds for these alone.
    fix
        A mend to be proved: `deterministic` (torch's deterministic algorithms, and one seed for hashes), or a command
        that has it, in quotes. Runs without it must part, and runs with it must not, or else it is inconclusive.
    json
        As JSON: verdict (origin, none or inconclusive), step, module, operation, file, line, cause, window and more.
    """
    from nondet import api

    words = command_of("diverge", task, command)
    if words is None:
        raise BadInput(f"a training must be given as a command (got {task!r}); try nondet diverge -- python train.py")
    found = api.diverge(words, steps, fix=fix, say=say)
    answer(found, json=json)
    return {"none": 0, "origin": 1}.get(found.verdict, INCONCLUSIVE)
