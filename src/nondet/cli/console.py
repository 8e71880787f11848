"""What the commands share: types of options, and how they speak."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from json import dumps
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from nondet.errors import BadInput
from nondet.io.streams import say, tell, tell_as_it_is, warn
from nondet.records import Record

Flag = Annotated[bool, Parameter(negative="")]
Words = Annotated[list[str] | None, Parameter(negative="")]
With = Annotated[list[str] | None, Parameter(name="--with", negative="")]


@dataclass(frozen=True)
class Form:
    """How the table is printed.

    Parameters
    ----------
    json
        Everything as JSON, for scripts.
    markdown
        The table as Markdown.
    latex
        The table as LaTeX (it needs the package booktabs).
    csv
        The numbers as CSV, nothing rounded: estimate, se (standard error), low and high of each.
    parquet
        The same into a Parquet file.
    width
        Characters that the table must fit; those of the terminal if left out.
    """

    json: Flag = False
    markdown: Flag = False
    latex: Flag = False
    csv: Flag = False
    parquet: Path | None = None
    width: int | None = None

    def __post_init__(self) -> None:
        given = [name for name in ("json", "markdown", "latex", "csv", "parquet") if getattr(self, name)]
        if len(given) > 1:
            named = " and ".join(f"--{name}" for name in given)
            raise BadInput(
                f"a command takes one of --json, --markdown, --latex, --csv and --parquet (got {named}); choose one"
            )
        if self.width is not None and self.width < NARROWEST:
            raise BadInput(f"--width must be at least {NARROWEST} (got {self.width}); try --width 80")

    @property
    def alone(self) -> bool:
        """Whether standard output holds a table for another program, and no sentence."""
        return bool(self.json or self.markdown or self.latex or self.csv or self.parquet)


TEXT = Form()
Printed = Annotated[Form, Parameter(name="*")]

Assignments = Annotated[list[str] | None, Parameter(name="--set", negative="")]


@Parameter(name="*")
@dataclass(frozen=True)
class Volume:
    """How much a command says on its way, on standard error.

    Parameters
    ----------
    quiet
        Say nothing on the way but warnings.
    verbose
        Say more on the way: where runs are made and kept, and a line for every step.
    """

    quiet: Annotated[bool, Parameter(name=["--quiet", "-q"], negative="")] = False
    verbose: Annotated[bool, Parameter(name=["--verbose", "-v"], negative="")] = False

    def __post_init__(self) -> None:
        if self.quiet and self.verbose:
            raise BadInput("a command takes one of --quiet and --verbose (got both); choose one")

    @property
    def level(self) -> int:
        """What `heard` takes."""
        return self.verbose - self.quiet


USUAL = Volume()
NARROWEST = 40
"""Characters below which no table is laid out."""


def assignments(texts: list[str]) -> dict[str, str]:
    """`--set field=value` words as a dictionary."""
    pairs: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name or not value:
            raise BadInput(f"--set must be given as field=value (got {text!r}); try --set epochs=5")
        pairs[name.strip()] = value.strip()
    return pairs


def answer(found: Record, form: Form = TEXT, *, control: bool | None = None) -> int:
    """Print a record in a form; the exit status of its command.

    control: whether a study's control is exactly zero.
    """
    from nondet.reporting import export, table
    from nondet.reporting.shown import as_tables, as_text, beside

    if form.json:
        print_json(found.to_dict())
    elif form.markdown or form.latex:
        tell_as_it_is(as_tables(found, table.for_markdown if form.markdown else table.for_latex))
    elif form.csv:
        tell_as_it_is(export.as_csv(found))
    elif form.parquet:
        rows = export.write_parquet(found, form.parquet, "--parquet")
        tell(f"{'1 row is' if rows == 1 else f'{rows} rows are'} in {form.parquet}.")
    else:
        tell_as_it_is(as_text(found, sys.stdout.isatty(), columns(form.width)))
    for sentence in beside(found):
        say(sentence)
    return answer_control(control)


def columns(width: int | None = None) -> int | None:
    """How wide a table may be: as asked, else as the terminal or COLUMNS says; None where nobody says."""
    if width is not None:
        return width
    said = os.environ.get("COLUMNS", "")
    if not sys.stdout.isatty() and not (said.isdecimal() and int(said)):
        return None
    return max(shutil.get_terminal_size().columns, NARROWEST)


def answer_control(control: bool | None) -> int:
    """The exit status of a command on a study whose control is zero, not known yet, or not zero, which is said."""
    from nondet.reporting import prose

    if control is False:
        warn(prose.CONTROL_NOT_ZERO)
    return 3 if control is False else 0


def print_sentences(*sentences: str) -> None:
    """Print sentences, each in lines of its own, as plain text."""
    from nondet.reporting.shown import Part, part_as_text

    tell_as_it_is(part_as_text(Part(below=sentences), sys.stdout.isatty(), columns()))


def print_json(found: object) -> None:
    """Print what JSON can hold, whose texts are ASCII and so need nothing done to them."""
    tell_as_it_is(dumps(found, indent=2, allow_nan=False) + "\n")
