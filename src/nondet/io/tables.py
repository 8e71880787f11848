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
from nondet.io.columns import KEYS, Columns, columns_of, key_of, label_of, runs_of, shown
from nondet.io.foreign import Array, reading, refuse_traps, scratch

Integers = NDArray[np.int64]
INDEX = ("__index_level_", "Unnamed: ")


def read_outputs(
    path: Path, columns: Sequence[str] = (), say: Callable[[str], None] = lambda line: None, gaps: bool = False
) -> Array:
    """Logits `(N, n, c)`, or predicted classes `(N, n)`, of a table.

    The table is read twice, a part at a time: for the places of its rows, and for their numbers.

    Args:
        columns: those of the outputs; found by their names if left out.
        say: is told which columns were taken for what, where another reading would have been possible.
        gaps: whether cells may hold nothing, which then is NaN; classes are floats then.

    Raises:
        BadInput: a column is missing, in doubt or holds no numbers, or not every run has one row for every example.
    """
    with reading(path, "a table that can be read", "write it with pyarrow or pandas"):
        types = _column_types(path)
        found = columns_of(path, {name: _is_number(kind) for name, kind in types.items()}, columns)
        if found.wide:
            outputs = _read_wide(path, found, types, gaps)
        elif len(found.values) == 1:
            places, runs, examples = _places(path, found)
            classes = _classes(path, found.values[0], types, gaps)
            outputs = scratch((runs * examples,), classes.dtype)
            outputs[places] = classes
            outputs = outputs.reshape(runs, examples)
        else:
            outputs = _read_logits(path, found, types, gaps)
        if line := found.words(path):
            say(line)
        return outputs


def _read_logits(path: Path, found: Columns, types: dict[str, Any], gaps: bool) -> Array:
    """Logits `(N, n, c)`, whose rows are put in their places part by part."""
    values, (places, runs, examples) = found.values, _places(path, found)
    outputs = scratch((runs * examples, len(values)), _common_dtype(path, values, types))
    done = 0
    kinds = dict.fromkeys(values, "float64") | ({found.beside: "int64"} if found.beside else {})
    for batch in _batches(path, kinds):
        rows = places[done : done + batch.num_rows]
        for number, name in enumerate(values):
            outputs[rows, number] = _column(path, batch, name, done, gaps)
        if found.beside and not gaps:
            _check_beside(path, found, outputs[rows], _column(path, batch, found.beside, done), done)
        done += batch.num_rows
    return outputs.reshape(runs, examples, len(values))


def _read_wide(path: Path, found: Columns, types: dict[str, Any], gaps: bool) -> Array:
    """Predicted classes `(N, n)` of a table with a column a run, in the order of the examples or of the rows."""
    order: Integers | slice = slice(None)
    if found.example:
        names, parts, done = _Names(), [np.empty(0, np.int64)], 0
        for batch in _batches(path, {found.example: "string"}):
            parts.append(names.numbers(path, batch, found.example, done))
            done += batch.num_rows
        if len(names.known) < done:
            raise BadInput(
                f"{path} must have each example in one row (got {len(names.known)} names of examples in {done} rows); "
                "give the outputs of one test set"
            )
        order = np.argsort(names.ranks()[np.concatenate(parts)])
    return np.stack([_classes(path, name, types, gaps)[order] for name in found.values])


def _classes(path: Path, name: str, types: dict[str, Any], gaps: bool = False) -> NDArray[Any]:
    """A column of classes `(rows,)`: integers, or words, which are numbered in the order of the labels' words."""
    from pyarrow import types as kinds

    kind = types[name]
    if gaps and _is_number(kind):
        return _whole(path, name, "float64", gaps=True)
    if kinds.is_integer(kind) or kinds.is_null(kind):
        return _whole(path, name, "int64")
    if _is_number(kind):
        numbers = _whole(path, name, "float64")
        if path.suffix.lower() == ".parquet" or not np.equal(np.mod(numbers, 1), 0).all():
            raise BadInput(
                f"{path} must have logits as numbers in a column for each class, or classes as integers in one "
                f"(got {kind} in {name!a}); convert that column or leave it out"
            )
        return numbers.astype(np.int64)
    words = _whole(path, name, "string").astype(str)
    label = label_of([*types])
    truth = _whole(path, label, "string").astype(str) if label and not _is_number(types[label]) else None
    if truth is None:
        raise BadInput(
            f"{path} must have a column label of words where its classes are words (got {[*words[:1]]} in {name!a}); "
            "put it beside them, or number the classes"
        )
    return _numbered(words, truth)


def _numbered(words: NDArray[Any], truth: NDArray[Any]) -> Integers:
    """Words as numbers: those of the labels in the order of the alphabet, then those that are no label."""
    known = sorted({*truth.tolist()})
    others = sorted({*words.tolist()} - {*known})
    number = {word: place for place, word in enumerate([*known, *others])}
    return np.array([number[word] for word in words.tolist()], np.int64)


def _whole(path: Path, name: str, kind: str, gaps: bool = False) -> NDArray[Any]:
    """All cells of a column, `(rows,)`."""
    parts: list[NDArray[Any]] = []
    done = 0
    for batch in _batches(path, {name: kind}):
        parts.append(_column(path, batch, name, done, gaps))
        done += batch.num_rows
    return np.concatenate(parts) if parts else np.empty(0, np.int64)


def count_runs(path: Path) -> int:
    """How many runs a table of outputs holds; 0 of one without the columns that say so."""
    with reading(path, "a table that can be read", "write it with pyarrow or pandas"):
        types = [*_column_types(path)]
        run = key_of(types, "run")
        if not run or not key_of(types, "example"):
            return 0
        names, done = _Names(), 0
        for batch in _batches(path, {run: "string"}):
            names.numbers(path, batch, run, done)
            done += batch.num_rows
        return len(names.known)


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
        example, label = key_of([*types], "example"), label_of([*types])
        wide = bool(label and runs_of([*types]))
        others = [label] if label else [name for name in types if name != example and not key_of([*types], "run")]
        if len(others) != 1 or (not example and not wide and len(types) > 1):
            raise BadInput(
                f"{path} must have one column label, and example beside run (got {shown(list(types))}); "
                "name it in the first line or in the schema, or give another file with <<labels>>"
            )
        return _by_example(path, others[0], types, "label")


def read_groups(path: Path, column: str) -> Integers:
    """The group of each example of a table, `(n,)`: integers or words of a column, in the examples' order.

    Raises:
        BadInput: the column holds neither, or two rows give an example different groups.
    """
    with reading(path, "a table that can be read", "write it with pyarrow or pandas"):
        return _by_example(path, column, _column_types(path), "group")


def _by_example(path: Path, column: str, types: dict[str, Any], what: str) -> Integers:
    """A column's integers or words, one for each example, in the order in which `read_outputs` puts these."""
    found, example = _labels(path, column, types), key_of([*types], "example")
    if not example:
        return found
    names, parts, done = _Names(), [np.empty(0, np.int64)], 0
    for batch in _batches(path, {example: "string"}):
        parts.append(names.numbers(path, batch, example, done))
        done += batch.num_rows
    return _of_examples(path, names, np.concatenate(parts), found, what)


def _labels(path: Path, name: str, types: dict[str, Any]) -> Integers:
    """A column of labels: integers, or words in the order of the alphabet."""
    from pyarrow import types as kinds

    if kinds.is_string(types[name]) or kinds.is_large_string(types[name]) or kinds.is_dictionary(types[name]):
        words = _whole(path, name, "string").astype(str)
        return _numbered(words, words)
    return _integers(path, name, _whole(path, name, "int64"))


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


def _places(path: Path, found: Columns) -> tuple[Integers, int, int]:
    """The place of each row among runs x examples; the number of runs; the number of examples."""
    names = {key: _Names() for key in KEYS}
    parts: dict[str, list[Integers]] = {key: [np.empty(0, np.int64)] for key in KEYS}
    columns = {"run": found.run, "example": found.example}
    done = 0
    for batch in _batches(path, dict.fromkeys(columns.values(), "string")):
        for key in KEYS:
            parts[key].append(names[key].numbers(path, batch, columns[key], done))
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


def _of_examples(path: Path, names: _Names, example: Integers, labels: Integers, what: str) -> Integers:
    ranks = names.ranks()[example] if len(example) else example
    found = np.zeros(len(names.known), np.int64)
    found[ranks] = labels
    conflict = np.flatnonzero(found[ranks] != labels)
    if len(conflict):
        place = int(ranks[conflict[0]])
        raise BadInput(
            f"{path} must give an example one {what} in all its rows (got {labels[conflict[0]]} and {found[place]} for "
            f"example {names.ordered()[place]!a}); give the {what}s of one test set"
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


def _column(path: Path, batch: Any, name: str, done: int, gaps: bool = False) -> NDArray[Any]:
    if not gaps:
        _refuse_nulls(path, batch, name, done)
    return batch.column(name).to_numpy(zero_copy_only=False)


def _refuse_nulls(path: Path, batch: Any, name: str, done: int) -> None:
    column = batch.column(name)
    if column.null_count:
        row = done + 1 + int(column.is_null().to_numpy(zero_copy_only=False).argmax())
        raise BadInput(
            f"{path} must have a finite number in every row (got nothing or NaN in column {name!a}, row {row}); "
            "<<failed=count>> counts such runs as failed, and <<failed=drop>> leaves them out"
        )


def _integers(path: Path, name: str, values: NDArray[Any]) -> Integers:
    if values.dtype.kind not in "iu":
        raise BadInput(
            f"{path} must have integers as labels (got {values.dtype} in column {name!a}); number the classes"
        )
    return values.astype(np.int64)
