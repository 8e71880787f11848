"""What the commands share: types of options, and how they print."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from nondet.errors import BadInput
from nondet.io.streams import say, tell, tell_as_it_is, warn
from nondet.records import Record

if TYPE_CHECKING:
    from nondet.analysis.alike import Alike
    from nondet.analysis.outside import Outside
    from nondet.analysis.results import Results

Flag = Annotated[bool, Parameter(negative="")]
Words = Annotated[list[str] | None, Parameter(negative="")]
Json = Annotated[bool, Parameter(negative="", help="Print JSON, for scripts.")]
Labels = Annotated[
    Path | None,
    Parameter(help="A file of class numbers (n,), needed for outputs made elsewhere that do not contain them."),
]
With = Annotated[list[str] | None, Parameter(name="--with", negative="")]


@dataclass(frozen=True)
class Form:
    """How the table is printed.

    Parameters
    ----------
    json
        Print everything as JSON, for scripts.
    markdown
        Print the table as Markdown.
    latex
        Print the table as LaTeX (it needs the package booktabs).
    csv
        Print the numbers as CSV, unrounded: the estimate, se (standard error), low and high of each.
    parquet
        Write the same numbers to this Parquet file.
    width
        The table's maximum width in characters; the terminal's width if left out.
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
                f"only one of --json, --markdown, --latex, --csv and --parquet can be given (got {named}); choose one"
            )
        if self.width is not None and self.width < NARROWEST:
            raise BadInput(f"--width must be at least {NARROWEST} (got {self.width}); try --width 80")

    @property
    def alone(self) -> bool:
        """Whether standard output is a table for another program, without sentences."""
        return bool(self.json or self.markdown or self.latex or self.csv or self.parquet)


@Parameter(name="*")
@dataclass(frozen=True)
class Elsewhere:
    """How runs made elsewhere are read.

    Parameters
    ----------
    labels
        For outputs made elsewhere, as for `nondet compare`.
    columns
        For outputs made elsewhere, as for `nondet compare`.
    metric
        For scores, as for `nondet compare`.
    arm
        For scores, as for `nondet compare`.
    seed
        For scores, as for `nondet compare`.
    """

    labels: Path | None = None
    columns: Words = None
    metric: str | None = None
    arm: str = ""
    seed: str = ""

    def named(self, name: str, *others: str) -> bool:
        """Whether these are outputs or scores, and not a study."""
        from nondet.api.shared import is_study

        return bool(others) or any(vars(self).values()) or not is_study(name)

    def read(self, *names: str) -> Outside:
        """Read outputs or scores."""
        from nondet.analysis.options import Options
        from nondet.analysis.outside import read_outside

        return read_outside(names, Options(self.labels, self.columns or (), self.metric, self.arm, self.seed, say=say))


NONE_GIVEN = Elsewhere()
TEXT = Form()
Printed = Annotated[Form, Parameter(name="*")]

Assignments = Annotated[list[str] | None, Parameter(name="--set", negative="")]


@Parameter(name="*")
@dataclass(frozen=True)
class Volume:
    """How much a command prints on standard error while it runs.

    Parameters
    ----------
    quiet
        Print only warnings while running.
    verbose
        Print more while running: where runs are trained and kept, and a line for every step.
    """

    quiet: Annotated[bool, Parameter(name=["--quiet", "-q"], negative="")] = False
    verbose: Annotated[bool, Parameter(name=["--verbose", "-v"], negative="")] = False

    def __post_init__(self) -> None:
        if self.quiet and self.verbose:
            raise BadInput("only one of --quiet and --verbose can be given (got both); choose one")

    @property
    def level(self) -> int:
        """The level for `heard`: 1 verbose, 0 usual, -1 quiet."""
        return self.verbose - self.quiet


USUAL = Volume()
NARROWEST = 40
"""The smallest width, in characters, that a table is laid out for."""


def assignments(texts: list[str]) -> dict[str, str]:
    """Turn `--set field=value` words into a dictionary."""
    pairs: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name or not value:
            raise BadInput(f"--set must be given as field=value (got {text!r}); try --set epochs=5")
        pairs[name.strip()] = value.strip()
    return pairs


def answer(found: Record, form: Form = TEXT, *, control: bool | None = None) -> int:
    """Print a record in the form asked for, and return the exit status of its command.

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
        tell(f"Wrote {'1 row' if rows == 1 else f'{rows} rows'} to {form.parquet}.")
    else:
        tell_as_it_is(as_text(found, sys.stdout.isatty(), columns(form.width)))
    for sentence in beside(found):
        say(sentence)
    return answer_control(control)


def columns(width: int | None = None) -> int | None:
    """Return how wide a table may be: as asked, else as the terminal or COLUMNS says, else None."""
    if width is not None:
        return width
    said = os.environ.get("COLUMNS", "")
    if not sys.stdout.isatty() and not (said.isdecimal() and int(said)):
        return None
    return max(shutil.get_terminal_size().columns, NARROWEST)


def answer_control(control: bool | None) -> int:
    """Return the exit status for a study's control: 3, with a warning, if it is not zero; 0 if it is zero or not known
    yet."""
    from nondet.reporting import prose

    if control is False:
        warn(prose.CONTROL_NOT_ZERO)
    return 3 if control is False else 0


def say_unfinished(found: Results | Alike) -> None:
    """Say how to go on if a study is not finished."""
    from nondet.reporting.prose import unfinished

    if found.study and found.missing:
        say(unfinished(found.study, found.missing))


def print_sentences(*sentences: str) -> None:
    """Print each sentence on lines of its own, as plain text."""
    from nondet.reporting.finding import Part
    from nondet.reporting.shown import part_as_text

    tell_as_it_is(part_as_text(Part(below=sentences), sys.stdout.isatty(), columns()))


def print_json(found: object) -> None:
    """Print a value as JSON, which is all ASCII and so needs no escaping for the terminal."""
    tell_as_it_is(dumps(found, indent=2, allow_nan=False) + "\n")
