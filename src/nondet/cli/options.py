"""The options of the command line, by the API arguments that they stand for."""

from __future__ import annotations

OTHERS = {"folder": "study", "recipe": "set", "run_task": "run-task", "metrics": "metric", "new_runs": "new-runs"}
"""Arguments whose option has another name."""


def option(name: str, value: str | None) -> str:
    """Return an argument as an option, as a user would type it."""
    words = f"--{OTHERS.get(name, name)}"
    if value is None:
        return words
    return f'{words} "{value}"' if {*"<>() "} & {*value} and '"' not in value else f"{words} {value}"
