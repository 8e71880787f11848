"""The options of the command line, by the arguments of the API that they stand for."""

from __future__ import annotations

OTHERS = {"folder": "study", "recipe": "set", "run_task": "run-task", "metrics": "metric", "new_runs": "new-runs"}
"""Those that are called otherwise."""


def option(name: str, value: str | None) -> str:
    """An argument as an option, as a user would type it."""
    words = f"--{OTHERS.get(name, name)}"
    if value is None:
        return words
    return f'{words} "{value}"' if {*"<>() "} & {*value} and '"' not in value else f"{words} {value}"
