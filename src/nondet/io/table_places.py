"""Find the run and the example of each row of a table."""

from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nondet.errors import BadInput
from nondet.io.columns import KEYS, Columns, key_of
from nondet.io.table_file import batches, column_types, reading_table, refuse_nulls

Integers = NDArray[np.int64]


class Names:
    """The distinct values of a key column, numbered in the order in which they appear."""

    def __init__(self) -> None:
        self.known: dict[Any, int] = {}

    def numbers(self, path: Path, batch: Any, name: str, done: int) -> Integers:
        """Return the numbers of a batch's values, `(rows,)`."""
        refuse_nulls(path, batch, name, done)
        column = batch.column(name)
        coded = column if hasattr(column, "dictionary") else column.dictionary_encode()
        known = [self.known.setdefault(value, len(self.known)) for value in coded.dictionary.to_pylist()]
        return np.array(known, np.int64)[coded.indices.to_numpy(zero_copy_only=False)]

    def ordered(self) -> list[Any]:
        """Return the values in numerical order if all are numbers, else in alphabetical order."""
        try:
            return sorted(self.known, key=lambda value: (Decimal(str(value)), str(value)))
        except InvalidOperation:
            return sorted(self.known, key=str)

    def ranks(self) -> Integers:
        """Return the position in that order of the value with each number."""
        ranks = np.empty(len(self.known), np.int64)
        for rank, value in enumerate(self.ordered()):
            ranks[self.known[value]] = rank
        return ranks


def numbered_names(path: Path, column: str) -> tuple[Names, Integers]:
    """Return the distinct values of a key column, and the number of each row's value, `(rows,)`."""
    names, parts, done = Names(), [np.empty(0, np.int64)], 0
    for batch in batches(path, {column: "string"}):
        parts.append(names.numbers(path, batch, column, done))
        done += batch.num_rows
    return names, np.concatenate(parts)


def count_runs(path: Path) -> int:
    """Return the number of runs in a table of outputs; 0 if it lacks the columns that say so."""
    with reading_table(path):
        types = [*column_types(path)]
        run = key_of(types, "run")
        if not run or not key_of(types, "example"):
            return 0
        return len(numbered_names(path, run)[0].known)


def places_of(path: Path, found: Columns) -> tuple[Integers, int, int]:
    """Return the place of each row among runs x examples, the number of runs, and the number of examples."""
    names = {key: Names() for key in KEYS}
    parts: dict[str, list[Integers]] = {key: [np.empty(0, np.int64)] for key in KEYS}
    columns = {"run": found.run, "example": found.example}
    done = 0
    for batch in batches(path, dict.fromkeys(columns.values(), "string")):
        for key in KEYS:
            parts[key].append(names[key].numbers(path, batch, columns[key], done))
        done += batch.num_rows
    run, example = (names[key].ranks()[np.concatenate(parts[key])] if done else np.empty(0, np.int64) for key in KEYS)
    runs, examples = (len(names[key].known) for key in KEYS)
    places = run * examples + example
    _refuse_gaps(path, places, names, examples)
    return places, runs, examples


def _refuse_gaps(path: Path, places: Integers, names: dict[str, Names], examples: int) -> None:
    """Raise BadInput, naming the first extra or missing row, unless every run has every example once."""
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
        f"{example!a}); give every run's outputs on the same test set, once"
    )


def of_examples(path: Path, names: Names, example: Integers, labels: Integers, what: str) -> Integers:
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
