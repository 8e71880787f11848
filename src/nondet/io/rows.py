"""Read tables and trees of scores from files as data: every cell is a number, a text, or empty.

A row is one run, or one moment of a run; `nondet.io.roles` decides which, and what each column means.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from glob import has_magic
from pathlib import Path
from typing import Any

import numpy as np

from nondet.errors import BadInput
from nondet.io.columns import is_of_examples
from nondet.io.foreign import reading, refuse_traps
from nondet.io.outputs import RUNS, load_npy
from nondet.io.table_file import column_names

Cell = float | str | None
LARGEST_FILE = 2**28
"""Most bytes of a table of scores; one with a row for each run is far smaller."""

TEXTS = (".csv", ".tsv", ".txt", ".dat")
ENDINGS = (*TEXTS, ".parquet", ".jsonl", ".ndjson", ".json", ".npy")

_WORDS = (
    "crashed crash failed fail failure error diverged killed oom timeout timed_out aborted preempted cancelled "
    "canceled running inf -inf +inf infinity -infinity nan none null n/a na #n/a nil missing - -- ? x"
)
FAILED = frozenset(_WORDS.split())
"""Cells that say that a run left no score, in lower case."""

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?\s*%?", re.IGNORECASE | re.ASCII)
_COMMA = re.compile(r"[+-]?\d+,\d+\s*%?", re.ASCII)


@dataclass(frozen=True)
class Rows:
    """A table as it is in a file: its columns by name, each with one cell for each row.

    path: that of the file, for people. columns: a cell is a number, a text, or None if it is empty.
    nameless: whether it is one column of numbers without a name.
    """

    path: str
    columns: Mapping[str, Sequence[Cell]]
    nameless: bool = False

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))


def read_rows(path: Path) -> Rows:
    """Read the table in a file.

    - `.csv`, `.tsv`, `.txt`: with a line of names, separated by commas, semicolons, tabs or spaces; or one number in
      each line. A byte-order mark is not part of a name.
    - `.parquet`; `.jsonl`, `.ndjson`: one object in each line.
    - `.json`: a list of objects; an object of equally long lists, one for each column; or a tree, which is one row
      whose columns are its keys joined by dots. From Hugging Face's `trainer_state.json` the last evaluation is read.
    - `.npy`: one number for each run, `(N,)` or `(N, 1)`.

    Raises:
        BadInput: the file cannot be read, or contains no such table.
    """
    with reading(path, "a table of scores that can be read", "write it as .csv, with the columns' names on top"):
        ending = path.suffix.lower()
        if ending not in ENDINGS:
            raise BadInput(
                f"{path} must end in {', '.join(ENDINGS)} to be read as scores (got {path.suffix or 'no ending'}); "
                "write one row for each run as .csv"
            )
        if path.stat().st_size > LARGEST_FILE:
            raise BadInput(
                f"{path} must be at most {LARGEST_FILE // 2**20} MiB to be read as scores (got "
                f"{path.stat().st_size // 2**20} MiB); leave out the columns and rows that are not scores"
            )
        if ending == ".npy":
            return _of_array(path)
        if ending == ".parquet":
            return Rows(str(path), _parquet(path))
        text = decoded(path.read_bytes())
        if ending == ".json":
            return of_json(path, json.loads(text))
        if ending in (".jsonl", ".ndjson"):
            objects = [json.loads(line) for line in text.splitlines() if line.strip()]
            return Rows(str(path), joined([flat(row) for row in objects if isinstance(row, Mapping)]))
        return _of_text(path, text)


def decoded(raw: bytes) -> str:
    """Decode text in UTF-8 or, if a byte-order mark says so, UTF-16 (else in Latin-1), and drop the mark."""
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return raw.decode("utf-16")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def cell_of(value: object) -> Cell:
    """Return a value as a number, a text, or None."""
    if value is None or isinstance(value, bool):
        return None if value is None else str(value).lower()
    return float(value) if isinstance(value, int | float) else text_cell(str(value))


def text_cell(text: str, comma: bool = False) -> Cell:
    """Return a text as a number if it is one, such as `91.2 %`; None if it is empty. comma: it is a decimal point."""
    text = text.strip()
    if not text:
        return None
    if comma and _COMMA.fullmatch(text):
        text = text.replace(",", ".")
    return float(text.rstrip("% \t")) if _NUMBER.fullmatch(text) else text


def is_failure(cell: Cell) -> bool:
    """Whether this cell says that there is no score where one should be."""
    if isinstance(cell, str):
        return cell.lower().replace(" ", "_") in FAILED
    return cell is None or not math.isfinite(cell)


def are_numbers(cells: Sequence[Cell]) -> bool:
    """Whether these are numbers, except for cells that report a failure."""
    floats = sum(isinstance(cell, float) for cell in cells)
    return floats > 0 and all(isinstance(cell, float) or is_failure(cell) for cell in cells)


def label_of(cell: Cell) -> str:
    """Return a cell as a name: 3 for 3.0."""
    if cell is None or isinstance(cell, str):
        return cell or ""
    return f"{cell:.0f}" if float(cell).is_integer() and abs(cell) < 1e15 else repr(cell)


def flat(tree: Mapping[str, Any], above: str = "") -> dict[str, Cell]:
    """Return the leaves of a tree by their keys joined by dots; lists are left out, except those of one number."""
    found: dict[str, Cell] = {}
    for key, value in tree.items():
        name = f"{above}.{key}" if above else str(key)
        if isinstance(value, Mapping):
            found |= flat(value, name)
        elif not isinstance(value, list | tuple):
            found[name] = cell_of(value)
        elif len(value) == 1 and isinstance(value[0], int | float):
            found[name] = cell_of(value[0])
    return found


def of_json(path: Path, tree: Any) -> Rows:
    """Return what was read from a JSON file as a table."""
    if isinstance(tree, Mapping) and isinstance(tree.get("log_history"), list):
        tree = _last_evaluation(tree)
    if isinstance(tree, Mapping):
        lists = {str(k): v for k, v in tree.items() if isinstance(v, list) and len(v) > 1}
        if lists and len(lists) == len(tree) and all(_of_cells(v) for v in lists.values()):
            most = max(map(len, lists.values()))
            filled = {name: [*values, *[None] * (most - len(values))] for name, values in lists.items()}
            return Rows(str(path), {name: [cell_of(v) for v in values] for name, values in filled.items()})
        return Rows(str(path), {name: [cell] for name, cell in flat(tree).items()})
    if isinstance(tree, list) and tree and all(isinstance(row, Mapping) for row in tree):
        return Rows(str(path), joined([flat(row) for row in tree]))
    if isinstance(tree, list) and tree and _of_cells(tree):
        return Rows(str(path), {"score": [cell_of(v) for v in tree]}, nameless=True)
    raise ValueError("it contains neither an object nor a list of objects or numbers")


def _of_cells(values: Sequence[Any]) -> bool:
    return all(value is None or isinstance(value, int | float | str) for value in values)


def _last_evaluation(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Return the last value of each name in Hugging Face's log."""
    last: dict[str, Any] = {"best_metric": tree.get("best_metric")}
    for entry in tree["log_history"]:
        if isinstance(entry, Mapping):
            last |= {name: value for name, value in entry.items() if name not in ("step", "epoch")}
    return last


def joined(rows: Sequence[Mapping[str, Cell]]) -> dict[str, list[Cell]]:
    """Return rows by column; a cell that a row lacks is empty."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def _of_array(path: Path) -> Rows:
    array = load_npy(path)
    if array.ndim == 2 and 1 in array.shape:
        array = array.reshape(-1)
    if array.ndim != 1 or array.dtype.kind not in "fiu":
        raise BadInput(
            f"{path} must contain one number for each run, (N,) or (N, 1) (got {array.dtype} of shape {array.shape}); "
            "give outputs with their <<labels>>, or one score for each run"
        )
    return Rows(str(path), {"score": [cell_of(value) for value in np.asarray(array, np.float64).tolist()]}, True)


def _parquet(path: Path) -> dict[str, list[Cell]]:
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        refuse_traps(path, file.metadata.num_rows * file.metadata.num_columns * 8)
        table = file.read()
    return {name: [cell_of(value) for value in table.column(name).to_pylist()] for name in table.column_names}


def _of_text(path: Path, text: str) -> Rows:
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if not lines:
        raise BadInput(f"{path} must contain a number for each run (got an empty file); give a file with scores")
    alone = [text_cell(line.strip().strip('"')) for line in lines]
    named = isinstance(alone[0], str) and not is_failure(alone[0])
    if are_numbers(alone[named:]):
        return Rows(str(path), {str(alone[0]) if named else "score": alone[named:]}, not named)
    return Rows(str(path), _separated(path, text, lines[0]))


def text_names(path: Path) -> list[str]:
    """Return the names in the first line of a text table; BadInput if the file cannot be read."""
    with reading(path, "a table that can be read", "write it as .csv"), path.open("rb") as file:
        head = next(iter(decoded(file.read(2**20)).splitlines()), "")
        return next(csv.reader([head], delimiter=_mark(head)), [])


def _mark(head: str) -> str:
    """Return what separates the columns."""
    return max(",;\t", key=head.count)


def _separated(path: Path, text: str, head: str) -> dict[str, list[Cell]]:
    mark = _mark(head)
    marked = csv.reader(io.StringIO(text), delimiter=mark) if mark in head else map(str.split, text.splitlines())
    rows = [row for row in marked if row]
    while rows and rows[0][0].lstrip().startswith("#") and len(rows) > 1:
        if len(rows[0]) == len(rows[1]):
            rows[0][0] = rows[0][0].lstrip().lstrip("#").strip()
            break
        rows = rows[1:]
    names = [name.strip() or (f"column {place}" if place else "index") for place, name in enumerate(rows[0], 1)]
    twice = [name for name in names if names.count(name) > 1 and not name.startswith("column ")]
    if twice:
        raise BadInput(f"{path} must have columns of different names (got {twice[0]!a} twice); rename one")
    found: dict[str, list[Cell]] = {name: [] for name in names}
    for number, row in enumerate(rows[1:], 2):
        if len(row) > len(names) and any(cell.strip() for cell in row[len(names) :]):
            raise BadInput(
                f"{path} must have {len(names)} cells in each row, as its first has (got {len(row)} in row {number}); "
                "put texts that contain the separator in quotes"
            )
        cells = [*row[: len(names)], *[""] * (len(names) - len(row))]
        if [cell.strip() for cell in cells] == names:  # the head again, in tables that were concatenated
            continue
        for name, cell in zip(names, cells, strict=True):
            found[name].append(text_cell(cell, comma=mark == ";"))
    return found


def holds_outputs(folder: Path) -> bool:
    """Whether a folder contains arrays, or folders of runs that do."""
    inside = [folder, *(child for child in folder.iterdir() if child.is_dir() and not (child / "study.json").exists())]
    return any(child.suffix.lower() in RUNS for part in inside for child in part.iterdir() if child.is_file())


def holds_scores(path: Path) -> bool:
    """Whether a path contains scores, judging by its form; a pattern does, and a path that does not exist does not."""
    if not path.exists():
        return has_magic(str(path))
    ending = path.suffix.lower()
    if path.is_dir():
        return not any(child.suffix.lower() in RUNS for child in path.rglob("*"))
    if ending == ".npy":
        shape = load_npy(path).shape
        return len(shape) == 1 or (len(shape) == 2 and shape[1] == 1)
    if ending == ".parquet":
        return not is_of_examples(column_names(path))
    if ending == ".csv":
        return not is_of_examples(text_names(path))
    return ending in ENDINGS
