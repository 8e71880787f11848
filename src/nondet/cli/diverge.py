"""Where two runs of a script part, and why."""

from __future__ import annotations

from pathlib import Path

from nondet.cli.commands import INCONCLUSIVE, command_of
from nondet.cli.console import TEXT, USUAL, Printed, Volume, answer
from nondet.errors import BadInput
from nondet.io.streams import note, tell


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
    """Run a training twice as it is, and find where and why the two part.

    `nondet diverge -- python train.py --epochs 3`. Each run is a process and a folder of its own. Where they part, more
    runs follow in which all that comes from outside is held (the clock, unseeded generators, hashes, the order of
    threads), and then changed alone: what makes the training another is the cause.

    Parameters
    ----------
    task
        A task by name or file; or, after --, the command of a Python script, as you type it.
    command
        The rest of its words.
    steps
        How many training steps to look at; all of them if left out. "None found" holds for these alone.
    fix
        A mend to be proved: `deterministic` (torch's deterministic algorithms, and one seed for hashes), or a command
        that has it, in quotes. Runs without it must part, and runs with it must not, or else it is inconclusive.
    against
        Compare with another run in place of a second one of its own: a folder that --save left, perhaps on another
        machine; `threads=N`, `isa=NAME`, `precision=NAME`, `versions=PYTHON`, `compile` (torch.compile) or
        `deterministic`; or another command, in quotes. All that comes from outside is the same in both.
    save
        A new folder: keep a run there, for --against. Nothing is compared then.
    form
        How it is printed.
    """
    from nondet import api
    from nondet.tasks import is_task

    words = command_of("diverge", task, command)
    if words is None and not is_task(task):
        raise BadInput(f"a script must be given as a command (got {task!r}); try nondet diverge -- python {task}")
    target = task if words is None else words
    if save is not None:
        if against or fix or form.json:
            given = "--against" if against else "--fix" if fix else "--json"
            raise BadInput(f"--save keeps a run and compares none (got --save {save} with {given}); give one of them")
        api.keep_run(target, save, steps, say=note)
        tell(f"The run is kept in {save}. Compare with it: nondet diverge --against {save} ...")
        return 0
    found = api.diverge(target, steps, fix=fix, against=against, say=note)
    answer(found, form)
    return {"none": 0, "origin": 1}.get(found.verdict, INCONCLUSIVE)
