"""The protocol's table, for a terminal, as Markdown and as LaTeX. Names are escaped."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

from nondet.analysis.results import Results
from nondet.io.plain import plain
from nondet.measures.figure import Figure, columns
from nondet.measures.measured import Measures
from nondet.reporting.finding import with_interval
from nondet.stats.estimate import Estimate

DASH = "\N{EN DASH}"
CONTROL = "deterministic (control)"
SHORT = {CONTROL: "control"}
"""Shorter names of rows, for a narrow table."""

LOPSIDED = 1.25
"""An interval that reaches this many times further on one side than on the other is shown in place of an error."""

if TYPE_CHECKING:
    from rich.table import Table

_LATEX = {
    "\\": r"\textbackslash{}",
    "±": r"$\pm$",
    "Δ": r"$\Delta$",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "\N{MINUS SIGN}": "$-$",
    "\N{SUPERSCRIPT TWO}": "$^2$",
    DASH: "--",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    **{c: f"{{{c}}}" for c in "-[*"},  # two - would be a dash; the others begin an option at the start of a row
    **{c: rf"\char{ord(c)}{{}}" for c in "\"`'"},
    **{c: rf"\{c}{{}}" for c in "^~"},
    **{c: rf"\{c}" for c in "&%$#_{}"},
}
_LETTERS = "ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØÙÚÛÜÝàáâãäåæçèéêëìíîïñòóôõöøùúûüýÿß"
"""Letters that every LaTeX can print; for all others the table shows the code point."""

_FIGURE = re.compile(r"-?\d+(\.\d+)?(e[+-]?\d+)?")


def rows(results: Results, *, intervals: bool = False, in_one_precision: bool = False) -> list[tuple[str, ...]]:
    """Return the table's cells, the control first; an unfinished condition shows how many of its runs are done.

    A dead source shows no numbers, because all its runs are the same one. intervals: whether lopsided numbers show
    their intervals. in_one_precision: see `cells`.
    """
    control, figures = results.control, results.kind.figures
    skew = lopsided(figures, [c.effect for c in results.conditions]) if intervals else frozenset[str]()

    def shown(m: Measures | None) -> tuple[str, ...]:
        return cells(figures, m, skew, in_one_precision=in_one_precision)

    table = [(CONTROL, str(control.runs), *shown(control.measures))]
    for c in results.conditions:
        runs = str(c.runs) if c.runs == c.condition.runs else f"{c.runs} of {c.condition.runs}"
        more = f", {len(c.failures)} failed" if c.failures else ", dead" if c.dead else ""
        table.append((c.condition.name, runs + more, *shown(c.effect)))
    return table


def head(figures: Sequence[Figure], first: str = "condition") -> tuple[str, ...]:
    """Return the titles of a table with a column for each figure that has one."""
    return (first, "runs", *(figure.title for figure in columns(figures)))


def measured_row(measures: Measures, skew: Collection[str] = ()) -> tuple[str, ...]:
    """Return the cells of a condition's runs, or of outputs made elsewhere."""
    return (measures.name, str(measures.runs), *cells(measures.figures, measures, skew))


def cells(
    figures: Sequence[Figure], m: Measures | None, skew: Collection[str] = (), *, in_one_precision: bool = False
) -> tuple[str, ...]:
    """Return a cell for each column, with its error: `value ± error`, or the value alone if no error is known.

    skew: names of those that show their interval in place of the error: `value [low, high]`. in_one_precision: whether
        a number too small for its column's decimals is shown as `< 0.01`, and not in scientific form.
    """
    shown, number = columns(figures), _below if in_one_precision else small
    if m is None:
        return (DASH,) * len(shown)
    return tuple(_cell(m.get(f.name), f.decimals, number, f.name in skew) for f in shown)


def lopsided(figures: Sequence[Figure], many: Sequence[Measures | None]) -> frozenset[str]:
    """Return the figures with a column in which some interval reaches much further on one side than on the other."""
    known = [m for m in many if m]
    return frozenset(f.name for f in columns(figures) if any(_lopsided(m.get(f.name)) for m in known))


def _lopsided(e: Estimate) -> bool:
    below, above = sorted((e.value - e.low, e.high - e.value))
    return e.known and above > LOPSIDED * below


def _cell(e: Estimate, decimals: int, number: Callable[[float, int], str], interval: bool) -> str:
    if math.isnan(e.value):
        return DASH
    if interval:
        return with_interval(e, lambda value: small(value, decimals))
    if abs(e.value) < 0.5 * 10.0**-decimals <= e.error:  # its error cannot tell it from 0
        return f"{0:.{decimals}f} ± {e.error:.{decimals}f}"
    return number(e.value, decimals) + ("" if math.isnan(e.error) else f" ± {number(e.error, decimals)}")


def small(value: float, decimals: int) -> str:
    """Format a number with this many decimals, or in scientific form if they would hide that it is not zero."""
    return f"{value:.{decimals}f}" if value == 0 or abs(value) >= 0.5 * 10.0**-decimals else f"{value:.0e}"


def _below(value: float, decimals: int) -> str:
    """Format a number with this many decimals, or as `< 0.01` if they would hide that it is not zero."""
    if value == 0 or abs(value) >= 0.5 * 10.0**-decimals:
        return f"{value:.{decimals}f}"
    least = f"{10.0**-decimals:.{decimals}f}"
    return f"< {least}" if value > 0 else f"> -{least}"


def for_terminal(body: Sequence[Sequence[str]], titles: Sequence[str], whole: bool = False) -> Table:
    """Return a rich table. whole: whether only names may be broken."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, title in enumerate(titles):
        justify = "left" if number == 0 else "right"
        table.add_column(Text(plain(title)), justify=justify, overflow="fold", no_wrap=whole and number > 0)
    for row in body:
        table.add_row(*(Text(plain(cell)) for cell in row))
    return table


def for_markdown(body: Sequence[Sequence[str]], titles: Sequence[str]) -> str:
    head, *lines = ["| " + " | ".join(map(_markdown, row)) + " |" for row in (titles, *body)]
    return "\n".join([head, "|---|" + "---:|" * (len(titles) - 1), *lines])


def _markdown(cell: str) -> str:
    return re.sub(r"[\\|`*_<>\[\]]", r"\\\g<0>", plain(cell))


def for_latex(body: Sequence[Sequence[str]], titles: Sequence[str]) -> str:
    """Return a table that compiles with any LaTeX, whatever the names contain; it needs the package booktabs."""
    lines = [" & ".join(_latex(cell) for cell in row) + r" \\" for row in (titles, *body)]
    columns = "l" + "r" * (len(titles) - 1)
    head = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", lines[0], r"\midrule"]
    return "\n".join([*head, *lines[1:], r"\bottomrule", r"\end{tabular}"])


def _latex(cell: str) -> str:
    """Return a cell as LaTeX: numbers, with or without errors, in math mode; anything else as text."""
    figures = [_FIGURE.fullmatch(part) for part in cell.split(" ± ")]
    if all(figures):
        return "$" + r" \pm ".join(_latex_figure(figure.group()) for figure in figures if figure) + "$"
    return "".join(_latex_character(character) for character in cell).replace(". ", r".\ ")


def _latex_figure(figure: str) -> str:
    mantissa, _, exponent = figure.partition("e")
    return rf"{mantissa} \times 10^{{{int(exponent)}}}" if exponent else mantissa


def _latex_character(character: str) -> str:
    if character in _LATEX or character in _LETTERS or (character.isascii() and character.isprintable()):
        return _LATEX.get(character, character)
    return " " if character.isspace() else f"U+{ord(character):04X}"
