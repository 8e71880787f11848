"""Measure the outputs of others."""

from __future__ import annotations

from json import dumps
from pathlib import Path

from nondet.commands.common import Flag, print_table


def measure(outputs: Path, /, *, labels: Path, json: Flag = False) -> int:
    """Measure logits that somebody else's training left.

    Parameters
    ----------
    outputs
        A .npy file of logits (N, n, c): runs, test examples, classes.
    labels
        A .npy file of class numbers (n,).
    json
        As JSON: one condition of the JSON that `nondet show` prints.
    """
    from nondet.measures import measure as measure_arrays
    from nondet.measures.files import load_npy
    from nondet.report import table, words

    measures = measure_arrays(load_npy(outputs), load_npy(labels))
    if json:
        print(dumps(measures.as_dict(), indent=2, allow_nan=False))
        return 0
    print_table(table.for_terminal([table.measured_row(measures)]), words.measured_words(measures))
    return 0
