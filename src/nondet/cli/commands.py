"""The words after --: the command that runs a training."""

from __future__ import annotations

import shlex

from nondet.errors import BadInput

AFTER_DASHES = "\N{NULL}--"
"""A mark before the words that came after --, because the option parser removes the --."""

INCONCLUSIVE = 4
"""The exit status when a result is inconclusive."""


def marked(arguments: list[str]) -> list[str]:
    """Put a mark before the command in the words of `nondet run ... -- COMMAND`, and of the others that take one."""
    if arguments[:1] not in (["run"], ["audit"], ["diverge"], ["resume-check"]) or "--" not in arguments:
        return arguments
    place = arguments.index("--") + 1
    return [*arguments[:place], AFTER_DASHES, *arguments[place:]]


def command_of(name: str, task: str, command: tuple[str, ...], can_be: str = "given") -> list[str] | None:
    """Return the words of the command after --; None if a task is given."""
    if task == AFTER_DASHES:
        if not command:
            raise BadInput(f"a command must follow -- (got none); try nondet {name} -- python train.py")
        return list(command)
    if AFTER_DASHES in command:
        raise BadInput(
            f"either a task or a command can be {can_be} (got the task {task}, and a command after --); give one"
        )
    if command:
        words = shlex.join([task, *command])
        raise BadInput(
            f"a task must be one name or file (got {words!r}); put -- before a command, as in nondet {name} -- {words}"
        )
    return None
