"""A record as text for a terminal, as HTML for a notebook, and its tables as Markdown and LaTeX."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from importlib import import_module
from io import StringIO
from typing import Any

from nondet.io.plain import plain
from nondet.io.streams import WARNING
from nondet.records import Record
from nondet.reporting import table
from nondet.reporting.finding import Finding, Part, said
from nondet.reporting.layout import fitted, room

BRACKETS = "In the table, ± is a standard error, and brackets show a 95 % interval."

_HOMES = {
    "Results": ("results", "finding", "parts", "cautions"),
    "Measures": ("results", "of_measures", "measured_parts", "measured_cautions"),
    "ScoreMeasures": ("scores", "finding", "parts", ""),
    "Comparisons": ("verdicts", "of_comparisons", "parts", "cautions"),
    "ModelComparisons": ("one_run", "of_models", "parts", ""),
    "OverDatasets": ("datasets", "finding", "parts", ""),
    "Plan": ("gates", "of_plan", "", "cautions"),
    "Floor": ("gates", "of_floor", "", ""),
    "Gate": ("gates", "of_gate", "", ""),
    "Alike": ("alike", "finding", "parts", ""),
    "Unstable": ("unstable", "finding", "parts", ""),
    "Stabilized": ("remedies", "of_stabilized", "parts", ""),
    "Diverged": ("reproduce", "of_diverged", "sentence_alone", ""),
    "Audit": ("reproduce", "of_audit", "audit_parts", ""),
    "Resumed": ("reproduce", "of_resumed", "sentence_alone", ""),
}
"""By type of record: its module, and in it the functions of its finding, of what its command prints (if that is more
than the finding), and of warnings about its runs."""


def _function(found: Record, number: int) -> Callable[[Any], Any] | None:
    """Return one of a record's functions, found by name so that nothing is imported for other records."""
    home, *names = _HOMES.get(type(found).__name__, ("", "", "", ""))
    return getattr(import_module(f"nondet.reporting.{home}"), names[number]) if names[number] else None


def finding_of(found: Record) -> Finding | None:
    """Return what a record has found; None for a record that answers no question."""
    function = _function(found, 0)
    return function(found) if function else None


def parts(found: Record) -> list[Part]:
    """Return what a record's command prints; for a record without one, its tidy table."""
    function = _function(found, 1)
    if function:
        return function(found)
    if found.finding:
        return [Part(below=said(found))]
    columns = found.tidy()
    return [Part(tuple(columns), [tuple(map(str, row)) for row in zip(*columns.values(), strict=True)])]


def beside(found: Record) -> list[str]:
    """Return what a record's command says about the runs on standard error, and the record itself below its table.

    These are warnings, marked as such, and for a study how to continue it.
    """
    from nondet.reporting.prose import unfinished

    function = _function(found, 2)
    warnings = [WARNING + sentence for sentence in function(found) if sentence] if function else []
    study: Any = found if type(found).__name__ == "Results" else None
    missing = unfinished(study.study, study.missing) if study else ""
    return [*warnings, *([missing] if missing else [])]


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
