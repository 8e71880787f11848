"""Outputs and labels from Parquet and CSV tables: a row for each run and example, in any order.

The columns are `run`, `example` and then either one column of predicted classes, or a column of logits for each class,
in the order of the classes; a column `label` may stand anywhere. Which they are follows from their names, or from the
user: see `nondet.io.columns`. Runs and examples may be named by numbers or texts:
they are put in the order of the numbers if all are numbers, else of the texts.
"""

from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nondet.errors import BadInput
from nondet.io.columns import KEYS, Columns, columns_of, shown
from nondet.io.foreign import LABELS, Array, reading, refuse_traps, scratch

Integers = NDArray[np.int64]
INDEX = ("__index_level_", "Unnamed: ")


def read_outputs(path: Path, columns: Sequence[str] = (), say: Callable[[str], None] = lambda line: None) -> Array:
    """Logits `(N, n, c)`, or predicted classes `(N, n)`, of a table.

    The table is read twice, a part at a time: for the places of its rows, and for their numbers.

    Args:
        columns: those of the outputs; found by their names if left out.
        say: is told which columns were taken for what, where another reading would have been possible.

    Raises:
        BadInput: a column is missing, in doubt or holds no numbers, or not every run has one row for every example.
    """
    with reading(path, "a table that can be read", "write it with pyarrow or pandas"):
        types = _column_types(path)
        found = columns_of(path, {name: _is_number(kind) for name, kind in types.items()}, columns)
        values = found.values
        dtype = _common_dtype(path, values, types)
        places, runs, examples = _places(path)
        outputs = scratch((runs * examples, len(values)), dtype)
        done = 0
        kinds = dict.fromkeys(values, "int64" if len(values) == 1 else "float64")
        for batch in _batches(path, kinds | ({found.beside: "int64"} if found.beside else {})):
            rows = places[done : done + batch.num_rows]
            for number, name in enumerate(values):
                outputs[rows, number] = _column(path, batch, name, done)
            if found.beside:
                _check_beside(path, found, outputs[rows], _column(path, batch, found.beside, done), done)
            done += batch.num_rows
        if line := found.words(path):
            say(line)
        return outputs.reshape((runs, examples) if len(values) == 1 else (runs, examples, len(values)))


def count_runs(path: Path) -> int:
    """How many runs a table of outputs holds; 0 of one without the columns that say so."""
    with reading(path, "a table that can be read", "write it with pyarrow or pandas"):
        return _places(path)[1] if set(KEYS) <= set(_column_types(path)) else 0


def _check_beside(path: Path, found: Columns, logits: NDArray[Any], classes: NDArray[Any], done: int) -> None:
    """Logits and predicted classes in one table must say the same: else one of them is something else."""
    differs = np.flatnonzero(logits.argmax(axis=1) != classes)
    if len(differs):
        row = int(differs[0])
        largest = found.values[int(logits[row].argmax())]
        raise BadInput(
            f"{path} must have logits whose largest is that of the predicted class, or only one of both (got "
            f"{found.beside!a} {classes[row]} in row {done + row + 1}, where {largest!a} is the largest); name those "
            f"that count with <<columns>>, such as <<columns={found.beside}>>"
        )


def read_labels(path: Path) -> Array:
    """Labels `(n,)` of a table: of its column `label`, or, without a column `run`, of the only one but `example`.

    With a column `example` they come in the order in which `read_outputs` puts the examples, and an example that stands
    in several rows must have one label; without, in the order of the rows.

    Raises:
        BadInput: there is no such column, it holds no integers, or two rows give an example different labels.
    """
    with reading(path, "a table that can be read", "write it with pyarrow or pandas"):
        types = _column_types(path)
        named = [name for name in types if name in LABELS]
        others = named or [name for name in types if name != "example" and "run" not in types]
        if len(others) != 1 or ("example" not in types and len(types) > 1):
            raise BadInput(
                f"{path} must have one column label, and example beside run (got {shown(list(types))}); "
                "name it in the first line or in the schema, or give another file with <<labels>>"
            )
        keyed = "example" in types
        columns = {others[0]: "int64"} | ({"example": "string"} if keyed else {})
        names, parts, labels, done = _Names(), [np.empty(0, np.int64)], [np.empty(0, np.int64)], 0
        for batch in _batches(path, columns):
            labels.append(_integers(path, others[0], _column(path, batch, others[0], done)))
            if keyed:
                parts.append(names.numbers(path, batch, "example", done))
            done += batch.num_rows
        found = np.concatenate(labels)
        return _of_examples(path, names, np.concatenate(parts), found) if keyed else found


def column_names(path: Path) -> list[str]:
    """The names of a table's columns.

    Raises:
        BadInput: it cannot be read.
    """
    with reading(path, "a table that can be read", "write it with pyarrow or pandas"):
        return [*_column_types(path)]


class _Names:
    """The distinct values of a key column, numbered as they come."""

    def __init__(self) -> None:
        self.known: dict[Any, int] = {}

    def numbers(self, path: Path, batch: Any, name: str, done: int) -> Integers:
        """The numbers of a batch's values, `(rows,)`."""
        _refuse_nulls(path, batch, name, done)
        column = batch.column(name)
        coded = column if hasattr(column, "dictionary") else column.dictionary_encode()
        known = [self.known.setdefault(value, len(self.known)) for value in coded.dictionary.to_pylist()]
        return np.array(known, np.int64)[coded.indices.to_numpy(zero_copy_only=False)]

    def ordered(self) -> list[Any]:
        """The values in their order if all are numbers, else in the order of their texts."""
        try:
            return sorted(self.known, key=lambda value: (Decimal(str(value)), str(value)))
        except InvalidOperation:
            return sorted(self.known, key=str)

    def ranks(self) -> Integers:
        """Where the value with each number stands in that order."""
        ranks = np.empty(len(self.known), np.int64)
        for rank, value in enumerate(self.ordered()):
            ranks[self.known[value]] = rank
        return ranks


def _places(path: Path) -> tuple[Integers, int, int]:
    """The place of each row among runs x examples; the number of runs; the number of examples."""
    names = {key: _Names() for key in KEYS}
    parts: dict[str, list[Integers]] = {key: [np.empty(0, np.int64)] for key in KEYS}
    done = 0
    for batch in _batches(path, dict.fromkeys(KEYS, "string")):
        for key in KEYS:
            parts[key].append(names[key].numbers(path, batch, key, done))
        done += batch.num_rows
    run, example = (names[key].ranks()[np.concatenate(parts[key])] if done else np.empty(0, np.int64) for key in KEYS)
    runs, examples = (len(names[key].known) for key in KEYS)
    places = run * examples + example
    _refuse_gaps(path, places, names, examples)
    return places, runs, examples


def _refuse_gaps(path: Path, places: Integers, names: dict[str, _Names], examples: int) -> None:
    """Every run must have every example once; the first row too many or missing is named."""
    total = len(names["run"].known) * examples
    if len(places) == total:
        seen = np.zeros(total, dtype=np.bool_)
        seen[places] = True
        if seen.all():
            return
    ordered = np.sort(places)
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    if len(twice):
        place, count = int(twice[0]), "two rows"
    else:
        gaps = ordered != np.arange(len(ordered))
        place, count = int(gaps.argmax()) if gaps.any() else len(ordered), "no row"
    run, example = (names[key].ordered()[place // examples if key == "run" else place % examples] for key in KEYS)
    raise BadInput(
        f"{path} must have one row for each run and example (got {count} for run {run!a}, example "
        f"{example!a}); give every run's outputs of the same test set, once"
    )


def _of_examples(path: Path, names: _Names, example: Integers, labels: Integers) -> Integers:
    ranks = names.ranks()[example] if len(example) else example
    found = np.zeros(len(names.known), np.int64)
    found[ranks] = labels
    conflict = np.flatnonzero(found[ranks] != labels)
    if len(conflict):
        place = int(ranks[conflict[0]])
        raise BadInput(
            f"{path} must give an example one label in all its rows (got {labels[conflict[0]]} and {found[place]} for "
            f"example {names.ordered()[place]!a}); give the labels of one test set"
        )
    return found


def _column_types(path: Path) -> dict[str, Any]:
    """The columns' names and types, those of CSV by its first part; without the index that pandas writes unasked."""
    if path.suffix.lower() == ".parquet":
        from pyarrow import parquet

        file = parquet.ParquetFile(path)
        with file:
            refuse_traps(path, file.metadata.num_rows * file.metadata.num_columns * 8)
            names, types = file.schema_arrow.names, file.schema_arrow.types
    else:
        from pyarrow import csv

        with csv.open_csv(path) as reader:
            names, types = reader.schema.names, reader.schema.types
    named = {name: kind for name, kind in zip(names, types, strict=True) if name and not name.startswith(INDEX)}
    if any(names.count(name) > 1 for name in named):
        raise BadInput(f"{path} must have columns of different names (got {shown(names)}); rename some")
    return named


def _batches(path: Path, columns: dict[str, str]) -> Iterator[Any]:
    """Some columns of a table, a part at a time; the types are for CSV, which has none of its own."""
    if path.suffix.lower() == ".parquet":
        from pyarrow import parquet

        with parquet.ParquetFile(path) as file:
            yield from file.iter_batches(columns=[*columns])
    else:
        import pyarrow
        from pyarrow import csv

        types = {name: getattr(pyarrow, kind)() for name, kind in columns.items()}
        options = csv.ConvertOptions(include_columns=[*columns], column_types=types)
        with csv.open_csv(path, convert_options=options) as reader:
            yield from reader


def _is_number(kind: Any) -> bool:
    """Whether a column's type is one of numbers."""
    from pyarrow import types

    return types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind)


def _common_dtype(path: Path, values: Sequence[str], types: dict[str, Any]) -> np.dtype[Any]:
    """The type of the outputs: CSV is read as float64, and classes as int64."""
    if path.suffix.lower() != ".parquet":
        return np.dtype(np.int64 if len(values) == 1 else np.float64)
    from pyarrow import types as kinds

    for name in values:
        if not (kinds.is_integer(types[name]) or (kinds.is_floating(types[name]) and len(values) > 1)):
            raise BadInput(
                f"{path} must have logits as numbers in a column for each class, or classes as integers in one "
                f"(got {types[name]} in {name!a}); convert that column or leave it out"
            )
    return np.result_type(*(types[name].to_pandas_dtype() for name in values))


def _column(path: Path, batch: Any, name: str, done: int) -> NDArray[Any]:
    _refuse_nulls(path, batch, name, done)
    return batch.column(name).to_numpy(zero_copy_only=False)


def _refuse_nulls(path: Path, batch: Any, name: str, done: int) -> None:
    column = batch.column(name)
    if column.null_count:
        row = done + 1 + int(column.is_null().to_numpy(zero_copy_only=False).argmax())
        raise BadInput(
            f"{path} must have a finite number in every row (got nothing or NaN in column {name!a}, row {row}); "
            "leave that run out and count it as failed"
        )


def _integers(path: Path, name: str, values: NDArray[Any]) -> Integers:
    if values.dtype.kind not in "iu":
        raise BadInput(
            f"{path} must have integers as labels (got {values.dtype} in column {name!a}); number the classes"
        )
    return values.astype(np.int64)
