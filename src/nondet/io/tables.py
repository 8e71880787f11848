"""Read outputs from Parquet and CSV tables, which have a row for each run and example, in any order.

The columns are `run`, `example` and then either one column of predicted classes, or a column of logits for each class,
in the order of the classes; a column `label` may be anywhere. Their names or the user say which they are: see
`nondet.io.columns`. Runs and examples may be named by numbers or texts. They are sorted in numerical order if all are
numbers, else in alphabetical order.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nondet.errors import BadInput
from nondet.io.columns import Columns, columns_of, label_of
from nondet.io.foreign import Array, scratch
from nondet.io.table_file import batches, cells, column_types, is_number, reading_table, whole
from nondet.io.table_places import Integers, keys_of, numbered, places_of


def read_outputs(path: Path, columns: Sequence[str], say: Callable[[str], None], gaps: bool) -> Array:
    """Read logits `(N, n, c)`, or predicted classes `(N, n)`, from a table.

    The table is read twice, one part at a time: for the places of its rows, and for their numbers.

    Args:
        columns: those of the outputs; found by their names if left out.
        say: gets a line on which columns were read as what, if there was another way to read them.
        gaps: whether cells may be empty; these become NaN, and classes become floats.

    Raises:
        BadInput: a column is missing, unclear or has no numbers, or a run does not have one row for every example.
    """
    with reading_table(path):
        types = column_types(path)
        found = columns_of(path, {name: is_number(kind) for name, kind in types.items()}, columns)
        if found.wide:
            outputs = _read_wide(path, found, types, gaps)
        elif len(found.values) == 1:
            places, runs, examples = places_of(path, found)
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
    """Read logits `(N, n, c)`, putting rows in their places part by part."""
    values, (places, runs, examples) = found.values, places_of(path, found)
    outputs = scratch((runs * examples, len(values)), _common_dtype(path, values, types))
    done = 0
    kinds = dict.fromkeys(values, "float64") | ({found.beside: "int64"} if found.beside else {})
    for batch in batches(path, kinds):
        rows = places[done : done + batch.num_rows]
        for number, name in enumerate(values):
            outputs[rows, number] = cells(path, batch, name, done, gaps)
        if found.beside and not gaps:
            _check_beside(path, found, outputs[rows], cells(path, batch, found.beside, done), done)
        done += batch.num_rows
    return outputs.reshape(runs, examples, len(values))


def _read_wide(path: Path, found: Columns, types: dict[str, Any], gaps: bool) -> Array:
    """Read predicted classes `(N, n)` from a table with a column for each run, in the order of examples or rows."""
    order: Integers | slice = slice(None)
    if found.example:
        ((names, places),) = keys_of(path, found.example)
        if len(names) < len(places):
            raise BadInput(
                f"{path} must have each example in one row (got {len(names)} different names in {len(places)} "
                "rows); give the outputs of one test set"
            )
        order = np.argsort(places)
    return np.stack([_classes(path, name, types, gaps)[order] for name in found.values])


def _classes(path: Path, name: str, types: dict[str, Any], gaps: bool = False) -> NDArray[Any]:
    """Read a column of classes `(rows,)`: integers, or words, which are numbered like the words of the labels."""
    from pyarrow import types as kinds

    kind = types[name]
    if gaps and is_number(kind):
        return whole(path, name, "float64", gaps=True)
    if kinds.is_integer(kind) or kinds.is_null(kind):
        return whole(path, name, "int64")
    if is_number(kind):
        numbers = whole(path, name, "float64")
        if path.suffix.lower() == ".parquet" or not np.equal(np.mod(numbers, 1), 0).all():
            raise _no_outputs(path, name, kind)
        return numbers.astype(np.int64)
    words = whole(path, name, "string").astype(str)
    label = label_of([*types])
    if not label or is_number(types[label]):
        raise BadInput(
            f"{path} must have a column label of words if its classes are words (got {[*words[:1]]} in {name!a}); "
            "add it to the table, or number the classes"
        )
    return numbered(words, whole(path, label, "string").astype(str))


def _no_outputs(path: Path, name: str, kind: Any) -> BadInput:
    return BadInput(
        f"{path} must have logits as numbers in a column for each class, or classes as integers in one "
        f"(got {kind} in {name!a}); convert that column or leave it out"
    )


def _check_beside(path: Path, found: Columns, logits: NDArray[Any], classes: NDArray[Any], done: int) -> None:
    """Raise BadInput if logits and predicted classes in one table disagree: one of them is then something else."""
    differs = np.flatnonzero(logits.argmax(axis=1) != classes)
    if len(differs):
        row = int(differs[0])
        largest = found.values[int(logits[row].argmax())]
        raise BadInput(
            f"{path} must have the largest logit at the predicted class, or only one of the two kinds (got "
            f"{found.beside!a} {classes[row]} in row {done + row + 1}, where {largest!a} is the largest); name the "
            f"columns that count with <<columns>>, such as <<columns={found.beside}>>"
        )


def _common_dtype(path: Path, values: Sequence[str], types: dict[str, Any]) -> np.dtype[Any]:
    """Return the type of logits; those in CSV are read as float64."""
    if path.suffix.lower() != ".parquet":
        return np.dtype(np.float64)
    from pyarrow import types as kinds

    for name in values:
        if not (kinds.is_integer(types[name]) or kinds.is_floating(types[name])):
            raise _no_outputs(path, name, types[name])
    return np.result_type(*(types[name].to_pandas_dtype() for name in values))
