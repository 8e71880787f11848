"""Read the label or the group of each example in a table."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nondet.errors import BadInput
from nondet.io.columns import key_of, label_of, runs_of, shown
from nondet.io.foreign import Array
from nondet.io.table_file import column_types, reading_table, whole
from nondet.io.table_places import Integers, numbered_names, of_examples


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
    found, example = _labels(path, column, types), key_of([*types], "example")
    if not example:
        return found
    names, numbers = numbered_names(path, example)
    return of_examples(path, names, numbers, found, what)


def _labels(path: Path, name: str, types: dict[str, Any]) -> Integers:
    """Read a column of labels: integers, or words, which are numbered in alphabetical order."""
    from pyarrow import types as kinds

    if kinds.is_string(types[name]) or kinds.is_large_string(types[name]) or kinds.is_dictionary(types[name]):
        words = whole(path, name, "string").astype(str)
        return numbered(words, words)
    return _integers(path, name, whole(path, name, "int64"))


def numbered(words: NDArray[Any], truth: NDArray[Any]) -> Integers:
    """Return words as numbers: those of the labels in alphabetical order, then those that are not labels."""
    known = sorted({*truth.tolist()})
    others = sorted({*words.tolist()} - {*known})
    number = {word: place for place, word in enumerate([*known, *others])}
    return np.array([number[word] for word in words.tolist()], np.int64)


def _integers(path: Path, name: str, values: NDArray[Any]) -> Integers:
    if values.dtype.kind not in "iu":
        raise BadInput(
            f"{path} must have integers as labels (got {values.dtype} in column {name!a}); number the classes"
        )
    return values.astype(np.int64)
