"""The protocol's table: for a terminal, as Markdown, and as LaTeX. Names are text, whatever is in them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

from nondet.analysis.results import Results
from nondet.io.plain import plain
from nondet.measures.figure import Figure, columns
from nondet.measures.measured import Measures
from nondet.stats.estimate import Estimate

DASH = "\N{EN DASH}"
CONTROL = "deterministic (control)"
SHORT = {CONTROL: "control"}
"""Names of rows in a table that is narrow."""

LOPSIDED = 1.25
"""An interval that reaches so many times further on one side than on the other is shown in place of an error."""

if TYPE_CHECKING:
    from rich.table import Table

_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "^": r"\^{}",
    "~": r"\~{}",
    "±": r"$\pm$",
    "Δ": r"$\Delta$",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    DASH: "--",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\char34{}",
    "-": "{-}",  # two of them would be a dash
    "`": r"\char96{}",
    "'": r"\char39{}",
    "[": "{[}",  # after the end of a row it would begin an option
    "*": "{*}",  # likewise
    **{c: f"\\{c}" for c in "&%$#_"},
}
_LETTERS = "ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØÙÚÛÜÝàáâãäåæçèéêëìíîïñòóôõöøùúûüýÿß"
"""Those that every LaTeX sets as they are; of all others the table shows the number."""

_FIGURE = re.compile(r"-?\d+(\.\d+)?(e[+-]?\d+)?")


def rows(results: Results, in_one_precision: bool = False, intervals: bool = False) -> list[tuple[str, ...]]:
    """The table's cells, the control first: runs as finished of those asked for where they differ.

    The figures of a dead source are those of one run, and so are none. in_one_precision: see `cells`. intervals:
    whether the figures that are lopsided have theirs in place of the error.
    """
    control, figures = results.control, results.kind.figures
    skew = lopsided(figures, [c.effect for c in results.conditions]) if intervals else frozenset[str]()
    table = [(CONTROL, str(control.runs), *cells(figures, control.measures, in_one_precision, skew))]
    for c in results.conditions:
        runs = str(c.runs) if c.runs == c.condition.runs else f"{c.runs} of {c.condition.runs}"
        more = f", {len(c.failures)} failed" if c.failures else ", dead" if c.dead else ""
        table.append((c.condition.name, runs + more, *cells(figures, c.effect, in_one_precision, skew)))
    return table


def head(figures: Sequence[Figure], first: str = "condition") -> tuple[str, ...]:
    """The titles of a table with a column for each of the figures that have one."""
    return (first, "runs", *(figure.title for figure in columns(figures)))


def measured_row(measures: Measures, skew: Collection[str] = ()) -> tuple[str, ...]:
    """The cells of a condition's runs, or of outputs that no study made."""
    return (measures.name, str(measures.runs), *cells(measures.figures, measures, skew=skew))


def cells(
    figures: Sequence[Figure], m: Measures | None, in_one_precision: bool = False, skew: Collection[str] = ()
) -> tuple[str, ...]:
    """The columns' figures, each with its error: `value ± error`, or the value alone where no error is known.

    in_one_precision: what a column's decimals leave nothing of is below the least that they show, `< 0.01`; otherwise
    it is in scientific form. skew: names of those that have their interval in place of the error: `value [low, high]`.
    """
    shown, number = columns(figures), _below if in_one_precision else _small
    if m is None:
        return (DASH,) * len(shown)
    return tuple(
        _with_interval(m.get(f.name), f.decimals) if f.name in skew else _with_error(m.get(f.name), f.decimals, number)
        for f in shown
    )


def lopsided(figures: Sequence[Figure], many: Sequence[Measures | None]) -> frozenset[str]:
    """The figures with a column of which some interval reaches much further on one side than on the other."""
    known = [m for m in many if m]
    return frozenset(f.name for f in columns(figures) if any(_lopsided(m.get(f.name)) for m in known))


def _lopsided(e: Estimate) -> bool:
    below, above = sorted((e.value - e.low, e.high - e.value))
    return e.known and above > LOPSIDED * below


def _with_interval(e: Estimate, decimals: int) -> str:
    if math.isnan(e.value):
        return DASH
    ends = f" [{_small(e.low, decimals)}, {_small(e.high, decimals)}]" if e.known else ""
    return _small(e.value, decimals) + ends


def _with_error(e: Estimate, decimals: int, number: Callable[[float, int], str]) -> str:
    if math.isnan(e.value):
        return DASH
    return number(e.value, decimals) + ("" if math.isnan(e.error) else f" ± {number(e.error, decimals)}")


def _small(value: float, decimals: int) -> str:
    """A number with so many decimals; in scientific form where they would all be zero and the number is not."""
    return f"{value:.{decimals}f}" if value == 0 or abs(value) >= 0.5 * 10.0**-decimals else f"{value:.0e}"


def _below(value: float, decimals: int) -> str:
    """A number with so many decimals; where they would all be zero and the number is not, what it is nearer 0 than."""
    if value == 0 or abs(value) >= 0.5 * 10.0**-decimals:
        return f"{value:.{decimals}f}"
    least = f"{10.0**-decimals:.{decimals}f}"
    return f"< {least}" if value > 0 else f"> -{least}"


def for_terminal(body: Sequence[Sequence[str]], titles: Sequence[str], whole: bool = False) -> Table:
    """A table of rich. whole: whether no cell but a name may be broken."""
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
    lines = [_line(titles, _markdown), "|---|" + "---:|" * (len(titles) - 1), *(_line(row, _markdown) for row in body)]
    return "\n".join(lines)


def _line(cells: Sequence[str], escape: Callable[[str], str]) -> str:
    return "| " + " | ".join(escape(cell) for cell in cells) + " |"


def _markdown(cell: str) -> str:
    cell = plain(cell)
    for character in "\\|`*_<>[]":
        cell = cell.replace(character, f"\\{character}")
    return cell


def for_latex(body: Sequence[Sequence[str]], titles: Sequence[str]) -> str:
    """A booktabs table. It compiles with any LaTeX, whatever is in the names; it needs the package booktabs."""
    lines = [" & ".join(_latex(cell) for cell in row) + r" \\" for row in (titles, *body)]
    columns = "l" + "r" * (len(titles) - 1)
    head = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", lines[0], r"\midrule"]
    return "\n".join([*head, *lines[1:], r"\bottomrule", r"\end{tabular}"])


def _latex(cell: str) -> str:
    """A cell as LaTeX: figures, also with their errors, in math mode; anything else as the text it is."""
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
