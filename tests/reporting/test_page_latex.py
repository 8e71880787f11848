"""The LaTeX table, in a real LaTeX."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nondet.kinds import CLASSIFICATION, LANGUAGE
from nondet.reporting.table import for_latex
from nondet.reporting.table import head as head_of

PDFLATEX = shutil.which("pdflatex")
PREAMBLE = "\\documentclass{article}\n\\usepackage{booktabs}\n\\begin{document}\n"

HOSTILE = [
    r"\input{/etc/passwd} \textbf{x} $e^x$ % # _ & ~ ^ { } \\",
    '[2em] * `q\' "r" -- --- ?` !` < > |',
    "*star",
    "é Ø ß Ð 中 😀 \x00 \n ±Δ\N{EN DASH}",
    "$",
    "\\",
    "{",
    "}",
    "",
]


def _compile(table: str, folder: Path) -> str:
    """What is in the PDF, as the log and `pdflatex` say it compiled without an error."""
    if PDFLATEX is None:
        pytest.skip("pdflatex is not installed (Debian: apt-get install texlive-latex-recommended)")
    (folder / "t.tex").write_text(PREAMBLE + table + "\n\\end{document}\n")
    done = subprocess.run(
        [PDFLATEX, "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "t.tex"],
        cwd=folder, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:]
    return done.stdout


def test_show_latex_compiles(nondet: Callable[..., Any], finished: Path, tmp_path: Path) -> None:
    """The table of a study is a document's table as it is."""
    _compile(nondet("show", finished, "--latex").out, tmp_path)


@pytest.mark.parametrize("head", [head_of(CLASSIFICATION.figures), head_of(LANGUAGE.figures)])
def test_hostile_names_compile(tmp_path: Path, head: tuple[str, ...]) -> None:
    """Every special character, two scripts and control characters in a name are text: nothing is run or read."""
    table = for_latex([(name, "3 of 20", *["0.1"] * 6) for name in HOSTILE], head)
    log = _compile(table, tmp_path)
    assert "/etc/passwd)" not in log
    assert "(/etc/passwd" not in log


def test_figures_are_mathematics() -> None:
    """Minus signs, errors and powers of ten stand in math mode; a name that begins with a figure does not."""
    table = for_latex(
        [("3x", "20, 1 failed", "-0.5", "1.2 ± 0.3", "2e-08 ± 5e-09", "\N{EN DASH}", "1.000", "9e+01")], ["a"] * 8
    )
    row = table.splitlines()[4]
    assert row == (
        r"3x & 20, 1 failed & $-0.5$ & $1.2 \pm 0.3$ & "
        r"$2 \times 10^{-8} \pm 5 \times 10^{-9}$ & -- & $1.000$ & $9 \times 10^{1}$ \\"
    )
    compared = for_latex([("difference", "\N{MINUS SIGN}0.15 [\N{MINUS SIGN}0.3, +1]")], ["R\N{SUPERSCRIPT TWO}", "b"])
    assert compared.splitlines()[2] == r"R$^2$ & b \\"
    assert compared.splitlines()[4] == r"difference & $-$0.15 {[}$-$0.3, +1] \\"
