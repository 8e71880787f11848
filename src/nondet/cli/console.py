"""What the commands share: types of options, and how they speak."""

from __future__ import annotations

import sys
from io import StringIO
from json import dumps
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table

from nondet.errors import BadInput
from nondet.io.plain import plain
from nondet.io.streams import tell_as_it_is

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
    out, text = _console(width)
    if above:
        _print(out, above)
        out.print()
    out.print(table)
    out.print()
    tell_as_it_is(text.getvalue())
    print_sentences(*sentences, width=width)


def print_sentences(*sentences: str, width: int = WIDE) -> None:
    """Print those of the sentences that are not empty, each in lines of its own, as plain text."""
    out, text = _console(width)
    for sentence in filter(None, sentences):
        _print(out, sentence)
    tell_as_it_is(text.getvalue())


def print_json(record: object) -> None:
    """Print a record as JSON, whose texts are ASCII and so need nothing done to them."""
    tell_as_it_is(dumps(record, indent=2, allow_nan=False) + "\n")


def _console(width: int) -> tuple[Console, StringIO]:
    """A console as wide as standard output, and the text that comes of it: written by us, for rich ends the process
    where a pipe is broken."""
    text, terminal = StringIO(), sys.stdout.isatty()
    return Console(file=text, force_terminal=terminal, width=None if terminal else width, emoji=False), text


def _print(out: Console, sentence: str) -> None:
    out.print(plain(sentence), markup=False, highlight=False)
