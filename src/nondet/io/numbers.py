"""One number per run, from a file: a number a line, a column of a table as text, or a .npy array of one axis."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nondet.errors import BadInput
from nondet.io.columns import KEYS, shown
from nondet.io.files import NotAFile, read_file
from nondet.io.foreign import reading
from nondet.io.outputs import load_npy

TEXT = (".txt", ".csv", ".tsv", ".dat")
LARGEST = 2**26  # bytes

NO_SCORES = {"run", "runs", "seed", "seeds", "id", "index", "trial", "repeat", "replicate", "rep", "epoch", "step"}
"""Names of columns that count runs and are no score of theirs."""


@dataclass(frozen=True)
class Column:
    """Numbers `(N,)` in the order of the file. name: of their column; empty where it has none."""

    name: str
    values: NDArray[np.float64]


def read_numbers(path: Path, column: str | None = None) -> Column | None:
    """The numbers of a file; None where it holds something else, such as outputs by run and example.

    Args:
        column: which one of a table; needed where several could be meant.

    Raises:
        BadInput: the file cannot be read, or what stands in the column is no finite number.
    """
    if path.is_dir():
        return None
    if path.suffix.lower() == ".npy":
        array = load_npy(path)
        if array.ndim == 1 or (array.ndim == 2 and array.shape[1] == 1 and array.dtype.kind == "f"):
            return Column("", _finite(path, [str(v) for v in array.reshape(-1).tolist()]))
        return None
    return _read_text(path, column) if path.suffix.lower() in TEXT else None


def _read_text(path: Path, column: str | None) -> Column | None:
    with reading(path, "numbers as text", "write one number a line, or a column of a .csv with its name on top"):
        try:
            text = read_file(path, LARGEST).decode("utf-8-sig")
        except NotAFile as error:
            raise BadInput(f"{path} must be a file of numbers as text ({error}); name such a file") from error
        lines = [line for line in text.splitlines() if line.strip()]
        between = next((mark for mark in "\t,;" if lines and mark in lines[0]), ",")
        rows = [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=between, skipinitialspace=True)]
    if not rows:
        raise BadInput(f"{path} must hold one number for each run (got an empty file); write one a line")
    head, body = ([], rows) if all(map(_is_number, rows[0])) else (rows[0], rows[1:])
    if set(KEYS) <= set(head):
        return None
    place = _place(path, head, body, column)
    short = next((number for number, row in enumerate(body, 1) if len(row) <= place), None)
    if short is not None:
        raise BadInput(
            f"{path} must have as many cells in each row (got {len(body[short - 1])} in row {short}); mend it"
        )
    return Column(head[place] if head else "", _finite(path, [row[place] for row in body]))


def _place(path: Path, head: list[str], body: list[list[str]], column: str | None) -> int:
    """Which column it is: the one that is named, or the only one of numbers that do not count runs."""
    if column is not None:
        if column not in head:
            raise BadInput(f"{path} has no column {column!a} (it has {shown(head)}); choose another <<metric>>")
        return head.index(column)
    width = len(head or body[0])
    numbers = [i for i in range(width) if body and i < len(body[0]) and _is_number(body[0][i])]
    left = [i for i in numbers if not head or head[i].lower() not in NO_SCORES] if width > 1 else [0]
    if len(left) != 1 or (width > 1 and not head):
        what = shown([head[i] for i in left]) if head and left else f"{width} columns"
        raise BadInput(f"{path} must have one column that is the score (got {what}); name it with <<metric>>")
    return left[0]


def _finite(path: Path, cells: list[str]) -> NDArray[np.float64]:
    for number, cell in enumerate(cells, 1):
        if not _is_number(cell) or not abs(float(cell)) <= 1e150:
            raise BadInput(
                f"{path} must hold a finite number for each run (got {cell!a} for run {number}); leave that run out, "
                "or give a run that failed the score that a failure is worth"
            )
    return np.array([float(cell) for cell in cells], dtype=np.float64)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
