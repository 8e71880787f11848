"""Find the run and the example of each row of a table, and what a column says about each example."""

from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nondet.errors import BadInput
from nondet.io.columns import Columns, key_of, label_of, runs_of, shown
from nondet.io.foreign import Array
from nondet.io.table_file import batches, column_types, reading_table, refuse_nulls, whole

Integers = NDArray[np.int64]


def keys_of(path: Path, *columns: str) -> list[tuple[list[Any], Integers]]:
    """Return the distinct values of each key column, in order, and the place in it of each row's value, `(rows,)`."""
    known: list[dict[Any, int]] = [{} for _ in columns]
    parts = [[np.empty(0, np.int64)] for _ in columns]
    done = 0
    for batch in batches(path, dict.fromkeys(columns, "string")):
        for name, numbers, found in zip(columns, known, parts, strict=True):
            refuse_nulls(path, batch, name, done)
            column = batch.column(name)
            coded = column if hasattr(column, "dictionary") else column.dictionary_encode()
            values = [numbers.setdefault(value, len(numbers)) for value in coded.dictionary.to_pylist()]
            found.append(np.array(values, np.int64)[coded.indices.to_numpy(zero_copy_only=False)])
        done += batch.num_rows
    return [_ranked([*numbers], np.concatenate(found)) for numbers, found in zip(known, parts, strict=True)]


def _ranked(known: list[Any], numbers: Integers) -> tuple[list[Any], Integers]:
    """Put values in numerical order if all are numbers, else in alphabetical order, and number each row's anew."""
    try:
        ordered = sorted(known, key=lambda value: (Decimal(str(value)), str(value)))
    except InvalidOperation:
        ordered = sorted(known, key=str)
    ranks = {value: rank for rank, value in enumerate(ordered)}
    return ordered, np.array([ranks[value] for value in known], np.int64)[numbers]


def count_runs(path: Path) -> int:
    """Return the number of runs in a table of outputs; 0 if it lacks the columns that say so."""
    with reading_table(path):
        types = [*column_types(path)]
        run = key_of(types, "run")
        if not run or not key_of(types, "example"):
            return 0
        return len(keys_of(path, run)[0][0])


def places_of(path: Path, found: Columns) -> tuple[Integers, int, int]:
    """Return the place of each row among runs x examples, the number of runs, and the number of examples."""
    (runs, run), (examples, example) = keys_of(path, found.run, found.example)
    places = run * len(examples) + example
    _refuse_gaps(path, places, runs, examples)
    return places, len(runs), len(examples)


def _refuse_gaps(path: Path, places: Integers, runs: list[Any], examples: list[Any]) -> None:
    """Raise BadInput, naming the first extra or missing row, unless every run has every example once."""
    total = len(runs) * len(examples)
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
    raise BadInput(
        f"{path} must have one row for each run and example (got {count} for run {runs[place // len(examples)]!a}, "
        f"example {examples[place % len(examples)]!a}); give every run's outputs on the same test set, once"
    )


def read_labels(path: Path) -> Array:
    """Read the labels `(n,)` of a table from its column `label`.

    Without a column `run`, they may be in the only column besides `example`. With a column `example` the labels are in
    the order of the examples in `read_outputs`, and an example in several rows must have the same label in all of
    them. Without it they are in the order of the rows.

    Raises:
        BadInput: there is no such column, it contains no integers, or two rows give an example different labels.
    """
    with reading_table(path):
        types = column_types(path)
        example, label = key_of([*types], "example"), label_of([*types])
        wide = bool(label and runs_of([*types]))
        others = [label] if label else [name for name in types if name != example and not key_of([*types], "run")]
        if len(others) != 1 or (not example and not wide and len(types) > 1):
            raise BadInput(
                f"{path} must have one column label, and example besides run (got {shown(list(types))}); "
                "name it in the first line or in the schema, or give another file with <<labels>>"
            )
        return _by_example(path, others[0], types, "label")


def read_groups(path: Path, column: str) -> Integers:
    """Read the group of each example of a table, `(n,)`: integers or words in a column, in the order of the examples.

    Raises:
        BadInput: the column contains neither, or two rows give an example different groups.
    """
    with reading_table(path):
        return _by_example(path, column, column_types(path), "group")


def _by_example(path: Path, column: str, types: dict[str, Any], what: str) -> Integers:
    """Read a column of integers or words, one for each example, in the order of the examples in `read_outputs`."""
    from pyarrow import types as kinds

    kind, example = types[column], key_of([*types], "example")
    if kinds.is_string(kind) or kinds.is_large_string(kind) or kinds.is_dictionary(kind):
        words = whole(path, column, "string").astype(str)
        labels = numbered(words, words)
    else:
        labels = whole(path, column, "int64")
        if labels.dtype.kind not in "iu":
            raise BadInput(
                f"{path} must have integers as labels (got {labels.dtype} in column {column!a}); number the classes"
            )
        labels = labels.astype(np.int64)
    if not example:
        return labels
    ((names, places),) = keys_of(path, example)
    found = np.zeros(len(names), np.int64)
    found[places] = labels
    conflict = np.flatnonzero(found[places] != labels)
    if len(conflict):
        row = conflict[0]
        raise BadInput(
            f"{path} must give an example one {what} in all its rows (got {labels[row]} and {found[places[row]]} for "
            f"example {names[places[row]]!a}); give the {what}s of one test set"
        )
    return found


def numbered(words: NDArray[Any], truth: NDArray[Any]) -> Integers:
    """Return words as numbers: those of the labels in alphabetical order, then those that are not labels."""
    known = sorted({*truth.tolist()})
    others = sorted({*words.tolist()} - {*known})
    number = {word: place for place, word in enumerate([*known, *others])}
    return np.array([number[word] for word in words.tolist()], np.int64)
