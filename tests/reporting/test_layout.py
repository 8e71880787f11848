"""Tables fit the terminal: whole, or in blocks of columns, with no value broken."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from nondet.reporting.finding import Part
from nondet.reporting.layout import fitted, room, total
from nondet.reporting.shown import part_as_text

Nondet = Callable[..., Any]

cells = st.text("abc01.±[],", min_size=0, max_size=12)


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], list[list[str]]]:
    """A head and a few rows of one length."""
    columns = draw(st.integers(2, 9))
    head = draw(st.lists(cells, min_size=columns, max_size=columns))
    return head, draw(st.lists(st.lists(cells, min_size=columns, max_size=columns), min_size=1, max_size=4))


@given(table=tables(), width=st.integers(30, 130))
def test_blocks_hold_every_column_and_fit(table: tuple[list[str], list[list[str]]], width: int) -> None:
    """Each column is in one block, in its place; each block has the names, and fits."""
    head, rows = table
    blocks = list(fitted(head, rows, width, {}))
    for place, row in enumerate((head, *rows)):
        parts = [[*block[0]] if place == 0 else [*block[1][place - 1]] for block in blocks]
        assert all(part[0] == row[0] for part in parts)
        assert [row[0], *(cell for part in parts for cell in part[1:])] == row
    assert all(total(*block) <= width for block in blocks)
    assert len(blocks) == 1 or total(head, rows) > width


@given(width=st.integers(40, 200))
def test_no_value_is_broken(width: int) -> None:
    """A long name is folded; a value is whole, in lines that fit."""
    name, values = "n" * 70, [f"{i}.123 [{i}.012, {i}.345]" for i in range(7)]
    part = Part(["", *map(str, range(7))], [[name, *values]], below=("Some words that are wrapped. " * 9,))
    text = part_as_text(part, width=width)
    assert all(value in text for value in values)
    assert max(map(cell_len, text.splitlines())) <= width
    assert not any(line.endswith(" ") for line in text.splitlines())
    assert text.replace("\n", "").replace(" ", "").count("n") >= len(name)


def test_a_row_has_a_short_name_where_there_is_no_room() -> None:
    """The long one stays where the table fits."""
    head, rows = ["condition", "x"], [["deterministic (control)", "1.00"]]
    short = {"deterministic (control)": "control"}
    assert next(iter(fitted(head, rows, 40, short)))[1][0][0] == "deterministic (control)"
    assert next(iter(fitted(head, rows, 20, short)))[1][0][0] == "control"
    assert room(head, rows, 10) == 18


@pytest.mark.parametrize("width", [80, 121, 200])
def test_show_fits(nondet: Nondet, finished: Path, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    """By COLUMNS and by --width alike; lopsided intervals stand in place of errors, and the control is named."""
    monkeypatch.setenv("COLUMNS", str(width))
    by_columns = nondet("show", finished).out
    monkeypatch.delenv("COLUMNS")
    assert nondet("show", finished, "--width", width).out == by_columns
    lines = by_columns.splitlines()
    assert max(map(cell_len, lines)) <= width
    head = next(line for line in lines if line.startswith("condition"))
    control = lines[lines.index(head) + 1]
    assert control.split()[0] == ("control" if width < 200 else "deterministic")
    assert "In the table, ± is a standard error, and brackets show a 95 % interval." in by_columns
    assert any(" [" in line for line in lines[lines.index(head) : lines.index(head) + 6])


def test_without_a_terminal_the_table_is_wide(nondet: Nondet, finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it always was, with an error beside each number."""
    monkeypatch.delenv("COLUMNS", raising=False)
    out = nondet("show", finished).out
    assert "\ndeterministic (control)" in out
    assert "In the table" not in out
    assert max(map(len, out.splitlines())) <= 120


def test_a_comparison_fits(nondet: Nondet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Arms beside each other as many as fit; each SD with its interval."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    names = ["base.txt", "b.txt", "c.txt", "d.txt"]
    for name in names:
        np.savetxt(name, rng.normal(90, 1, 8))
    out = nondet("compare", *names, "--width", 80).out
    assert max(map(cell_len, out.splitlines())) <= 80
    lines = out.splitlines()
    assert sum(line.startswith("difference [95 %]") for line in lines) == 2
    assert sum(line.count("[") for line in lines if line.startswith("SD  ")) == 4


@pytest.mark.parametrize("width", [0, 39, -1])
def test_too_narrow_is_refused(nondet: Nondet, finished: Path, width: int) -> None:
    """A width at which nothing can be read."""
    ran = nondet("show", finished, "--width", width)
    assert (ran.code, ran.out) == (2, "")
    assert f"--width must be at least 40 (got {width}); try --width 80" in ran.err
