"""The words after --: the command that runs a training."""

from __future__ import annotations

import shlex

from nondet.cli.run import AFTER_DASHES
from nondet.errors import BadInput

INCONCLUSIVE = 4
"""The exit status when a result is inconclusive."""


def command_of(name: str, task: str, command: tuple[str, ...]) -> list[str] | None:
    """Return the words of the command after --; None if a task is given."""
    if task == AFTER_DASHES:
        if not command:
            raise BadInput(f"a command must follow -- (got none); try nondet {name} -- python train.py")
        return list(command)
    if AFTER_DASHES in command:
        raise BadInput(
            f"either a task or a command can be given (got the task {task}, and a command after --); give one"
        )
    if command:
        words = shlex.join([task, *command])
        raise BadInput(
            f"a task must be one name or file (got {words!r}); put -- before a command, as in nondet {name} -- {words}"
        )
    return None
