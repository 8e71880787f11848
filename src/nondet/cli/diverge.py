"""Find where two runs of a script diverge, and why."""

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
    form
        How it is printed.
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
