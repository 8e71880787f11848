"""What the commands share: types of options, and how they speak."""

from __future__ import annotations

import sys
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table

from nondet.errors import BadInput

Flag = Annotated[bool, Parameter(negative="")]
Words = Annotated[list[str] | None, Parameter(negative="")]
Assignments = Annotated[list[str] | None, Parameter(name="--set", negative="")]

WIDE = 120
"""The width of tables that do not go to a terminal."""


def assignments(texts: list[str]) -> dict[str, str]:
    """`--set field=value` words as a dictionary."""
    pairs: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name or not value:
            raise BadInput(f"--set must be given as field=value (got {text!r}); try --set epochs=5")
        pairs[name.strip()] = value.strip()
    return pairs


def print_table(table: Table, *sentences: str, above: str = "", width: int = WIDE) -> None:
    """Print a table with a sentence above it and those of `sentences` that are not empty below it, as plain text."""
    out = Console(width=None if sys.stdout.isatty() else width)
    if above:
        out.print(above, markup=False, highlight=False)
        out.print()
    out.print(table)
    out.print()
    print_sentences(*sentences, width=width)


def print_sentences(*sentences: str, width: int = WIDE) -> None:
    """Print those of the sentences that are not empty, each in lines of its own, as plain text."""
    out = Console(width=None if sys.stdout.isatty() else width)
    for sentence in filter(None, sentences):
        out.print(sentence, markup=False, highlight=False)


def say(text: str) -> None:
    """To standard error, in one line whatever a name in it holds: standard output is for results alone."""
    print("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text), file=sys.stderr)
