"""The protocol's table: for a terminal, as Markdown, and as LaTeX. Names are text, whatever is in them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.table import Table
from rich.text import Text

from nondet.measures import Measures
from nondet.report.results import Results

HEAD = ("condition", "runs", "accuracy (%)", "acc. SD (%)", "CE SD", "disagree (%)", "corr.", "ens. Δ (%)")
DASH = "\N{EN DASH}"

_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "^": r"\^{}",
    "~": r"\~{}",
    "±": r"$\pm$",
    "Δ": r"$\Delta$",
    DASH: "--",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    **{c: f"\\{c}" for c in "&%$#_"},
}


def rows(results: Results) -> list[tuple[str, ...]]:
    """The table's cells, the control first: runs as finished of those asked for where they differ."""
    control = results.control
    table = [("deterministic (control)", str(control.runs), *_cells(control.measures))]
    for c in results.conditions:
        runs = str(c.runs) if c.runs == c.condition.runs else f"{c.runs} of {c.condition.runs}"
        table.append(
            (c.condition.name, runs + (f", {len(c.failures)} failed" if c.failures else ""), *_cells(c.measures))
        )
    return table


def measured_row(measures: Measures) -> tuple[str, ...]:
    """The cells of outputs that no study made."""
    return ("outputs", str(measures.runs), *_cells(measures))


def _cells(m: Measures | None) -> tuple[str, ...]:
    if m is None:
        return (DASH,) * (len(HEAD) - 2)
    return (
        f"{m.accuracy.mean:.2f}",
        f"{_small(m.accuracy.sd, 2)} ± {_small(m.accuracy.sd_error, 2)}",
        f"{_small(m.cross_entropy.sd, 4)} ± {_small(m.cross_entropy.sd_error, 4)}",
        _small(m.disagreement, 2),
        f"{m.correlation.pearson:.3f}",
        f"{m.ensemble_delta.accuracy:.2f}",
    )


def _small(value: float, decimals: int) -> str:
    """A number with so many decimals; in scientific form where they would all be zero and the number is not."""
    return f"{value:.{decimals}f}" if value == 0 or value >= 0.5 * 10.0**-decimals else f"{value:.0e}"


def for_terminal(body: Sequence[Sequence[str]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, title in enumerate(HEAD):
        table.add_column(Text(title), justify="left" if number == 0 else "right", overflow="fold")
    for row in body:
        table.add_row(*(Text(cell) for cell in row))
    return table


def for_markdown(body: Sequence[Sequence[str]]) -> str:
    lines = [_line(HEAD, _markdown), "|---|" + "---:|" * (len(HEAD) - 1), *(_line(row, _markdown) for row in body)]
    return "\n".join(lines)


def _line(cells: Sequence[str], escape: Callable[[str], str]) -> str:
    return "| " + " | ".join(escape(cell) for cell in cells) + " |"


def _markdown(cell: str) -> str:
    for character in "\\|`*_<>[]":
        cell = cell.replace(character, f"\\{character}")
    return cell


def for_latex(body: Sequence[Sequence[str]]) -> str:
    """A booktabs table."""
    lines = [" & ".join(_latex(cell) for cell in row) + r" \\" for row in (HEAD, *body)]
    columns = "l" + "r" * (len(HEAD) - 1)
    head = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", lines[0], r"\midrule"]
    return "\n".join([*head, *lines[1:], r"\bottomrule", r"\end{tabular}"])


def _latex(cell: str) -> str:
    return "".join(_LATEX.get(character, character) for character in cell)
