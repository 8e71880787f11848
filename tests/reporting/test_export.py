"""Every command that has a table gives it as Markdown, LaTeX, CSV and Parquet too, with nothing rounded."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest

Nondet = Callable[..., Any]

SIDES = ("estimate", "se", "low", "high")


def read(text: str) -> list[dict[str, str]]:
    """The rows of a CSV."""
    return list(csv.DictReader(io.StringIO(text)))


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two arms, ten runs each."""
    path = tmp_path_factory.mktemp("scores") / "scores.csv"
    rng = np.random.default_rng(0)
    rows = [f"{arm},{seed},{rng.normal(shift, 1):.4f}" for arm, shift in (("a", 0), ("b", 2)) for seed in range(10)]
    path.write_text("\n".join(["arm,seed,accuracy", *rows]))
    return path


@pytest.fixture
def commands(finished: Path, scores: Path, tmp_path: Path) -> dict[str, tuple[object, ...]]:
    """A command of each kind, by name."""
    return {
        "show": ("show", finished),
        "measure": ("measure", scores),
        "compare": ("compare", scores),
        "plan": ("plan", "--effect", 1, "--sd", 1),
        "floor": ("floor", f"{scores}:a"),
        "gate": ("gate", f"{scores}:a", f"{scores}:b", "--ledger", tmp_path / "ledger"),
        "alike": ("alike", scores),
        "examples": ("examples", finished),
    }


NAMES = ("show", "measure", "compare", "plan", "floor", "gate", "alike", "examples")


@pytest.mark.parametrize("name", NAMES)
def test_every_table_in_every_form(
    nondet: Nondet, commands: dict[str, tuple[object, ...]], name: str, tmp_path: Path
) -> None:
    """CSV and Parquet hold the same rows; Markdown and LaTeX are tables and nothing else."""
    command = commands[name]
    code = nondet(*command, "--json").code
    listed = nondet(*command, "--csv")
    rows = read(listed.out)
    assert listed.code == code
    assert len({len(row) for row in rows}) == 1
    file = tmp_path / "table.parquet"
    written = nondet(*command, "--parquet", file)
    assert written.code == code
    assert f"to {file}." in written.out
    table: Any = pyarrow.parquet.read_table(file)
    assert table.column_names == list(rows[0])
    assert table.num_rows == len(rows)
    markdown = nondet(*command, "--markdown").out
    assert all(line.startswith("|") for line in markdown.splitlines() if line)
    latex = nondet(*command, "--latex").out
    assert latex.count("\\toprule") == latex.count("\\bottomrule") >= 1


def test_a_row_is_a_condition(nondet: Nondet, finished: Path) -> None:
    """Each figure has its estimate, standard error and interval, as the JSON has them; the control is first."""
    found = nondet("show", finished, "--json").json
    rows = read(nondet("show", finished, "--csv").out)
    assert [row["condition"] for row in rows] == ["deterministic", *(c["name"] for c in found["conditions"])]
    for row, condition in zip(rows[1:], found["conditions"], strict=True):
        assert [name.rpartition(".")[2] for name in row][4:8] == list(SIDES)
        assert float(row["accuracy.sd.estimate"]) == condition["accuracy"]["sd"]
        low, high = condition["intervals"]["accuracy.mean"] or ("", "")
        assert [row["accuracy.mean.low"], row["accuracy.mean.high"]] == [str(low), str(high)]
        assert float(row["disagreement.se"]) == condition["errors"]["disagreement"]
        assert row["dead"] in ("true", "false", "")


def test_what_is_not_known_is_empty(nondet: Nondet, tmp_path: Path) -> None:
    """A number that does not exist is an empty cell and a null, never a NaN."""
    np.save(tmp_path / "o.npy", np.stack([np.zeros((3, 2)), np.ones((3, 2))]))
    np.save(tmp_path / "l.npy", np.zeros(3, int))
    given = ("measure", tmp_path / "o.npy", "--labels", tmp_path / "l.npy")
    (row,) = read(nondet(*given, "--csv").out)
    assert row["correlation.pearson.estimate"] == ""
    nondet(*given, "--parquet", tmp_path / "t.parquet")
    table: Any = pyarrow.parquet.read_table(tmp_path / "t.parquet")
    assert table["correlation.pearson.estimate"].to_pylist() == [None]


def test_a_file_of_others_is_not_replaced(nondet: Nondet, finished: Path, scores: Path, tmp_path: Path) -> None:
    """A Parquet file is; anything else, and what belongs to a study, is refused and stays."""
    file = tmp_path / "mine.txt"
    file.write_text("mine")
    ran = nondet("measure", scores, "--parquet", file)
    assert ran.code == 2
    assert "--parquet must name a new file or a Parquet file" in ran.err
    assert file.read_text() == "mine"
    ran = nondet("measure", scores, "--parquet", finished / "study.json")
    assert ran.code == 2
    assert "--parquet must not name a file of a study" in ran.err
    good = tmp_path / "t.parquet"
    assert [nondet("measure", scores, "--parquet", good).code for _ in range(2)] == [0, 0]


def test_one_form_at_a_time(nondet: Nondet, scores: Path) -> None:
    """Two are refused, and both are named."""
    ran = nondet("measure", scores, "--csv", "--latex")
    assert (ran.code, ran.out) == (2, "")
    rule = "only one of --json, --markdown, --latex, --csv and --parquet can be given (got --latex and --csv)"
    assert f"{rule}; choose one" in ran.err


def test_names_stay_text(nondet: Nondet, tmp_path: Path) -> None:
    """A comma, a quote and a line's end in a name are one cell."""
    (tmp_path / "s.csv").write_text("\n".join(["arm,acc", *(f'"a, ""b""",{value}' for value in range(5))]))
    (row,) = read(nondet("measure", tmp_path / "s.csv", "--csv").out)
    assert row["name"] == 'a, "b"'
