"""A record as text for a terminal, as HTML for a notebook, and its tables as Markdown and LaTeX."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from io import StringIO
from typing import TYPE_CHECKING

from nondet.io.plain import plain
from nondet.records import Record
from nondet.reporting import table
from nondet.reporting.layout import fitted, room
from nondet.reporting.shown import Part, beside, parts

if TYPE_CHECKING:
    pass


BRACKETS = "In the table, ± is a standard error, and brackets show a 95 % interval."


def by_itself(found: Record) -> str:
    """Return a record as Python prints it: as its command does, followed by what the command says on standard error."""
    return as_text(found) + part_as_text(Part(below=beside(found)))


def as_text(found: Record, terminal: bool = False, width: int | None = None) -> str:
    """A record as text.

    terminal: whether bold type can be shown. width: the width for tables and sentences; None leaves the tables as they
        are, with errors, and wraps sentences at WIDTH.
    """
    return "".join(part_as_text(part, terminal, width) for part in parts(found))


def part_as_text(part: Part, terminal: bool = False, width: int | None = None) -> str:
    from rich.console import Console

    text = StringIO()
    out = Console(file=text, force_terminal=terminal, force_jupyter=False, width=width or part.wide, emoji=False)

    def say(sentence: str) -> None:
        if sentence:
            out.print(plain(sentence), markup=False, highlight=False)

    if part.above:
        say(part.above)
        out.print()
    if part.head and width is None:
        out.print(table.for_terminal(part.rows, part.head))
        out.print()
    elif part.head and width is not None:
        for head, rows in fitted(part.head, part.intervals or part.rows, width, part.short):
            out.print(table.for_terminal(rows, head, whole=True), width=room(head, rows, width), crop=False)
            out.print()
        say(BRACKETS if part.intervals and part.intervals != part.rows else "")
    for sentence in filter(None, part.below):
        say(sentence)
    return "".join(f"{line.rstrip()}\n" for line in text.getvalue().splitlines())


def as_tables(found: Record, form: Callable[[Sequence[Sequence[str]], Sequence[str]], str]) -> str:
    """Return a record's tables, without sentences, in Markdown or LaTeX (`table.for_markdown`, `table.for_latex`)."""
    from nondet.reporting.export import rows_as_text

    tables = [(part.rows, part.head) for part in parts(found) if part.head] or [rows_as_text(found)]
    return "\n".join(form(rows, head) + "\n" for rows, head in tables)


def as_html(found: Record) -> str:
    """Return a record as HTML for a notebook; names are escaped."""
    lines: list[str] = []
    for part in parts(found):
        lines += [f"<p>{escape(plain(part.above))}</p>"] if part.above else []
        if part.head:
            rows = ["".join(f"<td>{escape(plain(cell))}</td>" for cell in row) for row in part.rows]
            head = "".join(f"<th>{escape(plain(title))}</th>" for title in part.head)
            body = "".join(f"<tr>{row}</tr>" for row in rows)
            lines.append(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")
        lines += [f"<p>{escape(plain(sentence))}</p>" for sentence in part.below if sentence]
    lines += [f"<p>{escape(plain(sentence))}</p>" for sentence in beside(found)]
    return "<div>" + "\n".join(lines) + "</div>"
