"""The protocol's table: for a terminal, as Markdown, and as LaTeX. Names are text, whatever is in them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence

from rich.table import Table
from rich.text import Text

from nondet.analysis.results import AnyMeasures, Results
from nondet.analysis.runs import is_text
from nondet.io.plain import plain
from nondet.measures import Measures
from nondet.measures.language import LanguageMeasures

HEAD = ("condition", "runs", "accuracy (%)", "acc. SD (%)", "CE SD", "disagree (%)", "corr.", "ens. Δ (%)")
HEAD_TEXT = ("condition", "runs", "perplexity", "PPL SD", "CE SD", "disagree (%)", "corr.", "ens. Δ (PPL)")
DASH = "\N{EN DASH}"

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


def rows(results: Results) -> list[tuple[str, ...]]:
    """The table's cells, the control first: runs as finished of those asked for where they differ.

    The figures of a dead source are those of one run, and so are none.
    """
    control = results.control
    table = [("deterministic (control)", str(control.runs), *_cells(control.measures))]
    for c in results.conditions:
        runs = str(c.runs) if c.runs == c.condition.runs else f"{c.runs} of {c.condition.runs}"
        more = f", {len(c.failures)} failed" if c.failures else ", dead" if c.dead else ""
        table.append((c.condition.name, runs + more, *_cells(c.effect)))
    return table


def head(results: Results) -> tuple[str, ...]:
    """The table's column titles: a language model has perplexity in place of accuracy."""
    return HEAD_TEXT if is_text(results.study) else HEAD


def measured_row(measures: Measures) -> tuple[str, ...]:
    """The cells of outputs that no study made."""
    return ("outputs", str(measures.runs), *_cells(measures))


def _cells(m: AnyMeasures | None) -> tuple[str, ...]:
    """The columns' figures, each with its error: `value ± error`, or the value alone where no error is known."""
    if m is None:
        return (DASH,) * (len(HEAD) - 2)
    text = isinstance(m, LanguageMeasures)
    name, performance = ("perplexity", m.perplexity) if text else ("accuracy", m.accuracy)
    columns = (
        (f"{name}.mean", performance.mean, 2),
        (f"{name}.sd", performance.sd, 2),
        ("cross_entropy.sd", m.cross_entropy.sd, 4),
        ("disagreement", m.disagreement, 2),
        ("correlation.pearson", m.correlation.pearson, 3),
        (f"ensemble_delta.{name}", m.ensemble_delta.perplexity if text else m.ensemble_delta.accuracy, 2),
    )
    return tuple(_with_error(value, m.uncertainties[dotted].error, decimals) for dotted, value, decimals in columns)


def _with_error(value: float, error: float, decimals: int) -> str:
    if math.isnan(value):
        return DASH
    return _small(value, decimals) + ("" if math.isnan(error) else f" ± {_small(error, decimals)}")


def _small(value: float, decimals: int) -> str:
    """A number with so many decimals; in scientific form where they would all be zero and the number is not."""
    return f"{value:.{decimals}f}" if value == 0 or abs(value) >= 0.5 * 10.0**-decimals else f"{value:.0e}"


def for_terminal(body: Sequence[Sequence[str]], titles: Sequence[str] = HEAD) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, title in enumerate(titles):
        table.add_column(Text(plain(title)), justify="left" if number == 0 else "right", overflow="fold")
    for row in body:
        table.add_row(*(Text(plain(cell)) for cell in row))
    return table


def for_markdown(body: Sequence[Sequence[str]], titles: Sequence[str] = HEAD) -> str:
    lines = [_line(titles, _markdown), "|---|" + "---:|" * (len(titles) - 1), *(_line(row, _markdown) for row in body)]
    return "\n".join(lines)


def _line(cells: Sequence[str], escape: Callable[[str], str]) -> str:
    return "| " + " | ".join(escape(cell) for cell in cells) + " |"


def _markdown(cell: str) -> str:
    cell = plain(cell)
    for character in "\\|`*_<>[]":
        cell = cell.replace(character, f"\\{character}")
    return cell


def for_latex(body: Sequence[Sequence[str]], titles: Sequence[str] = HEAD) -> str:
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
