"""Measure the outputs of others."""

from __future__ import annotations

from pathlib import Path

from nondet.cli.console import PROBABILITIES, Flag, Words, answer
from nondet.errors import BadInput
from nondet.io.streams import say


def measure(
    outputs: Path,
    /,
    *,
    labels: Path | None = None,
    columns: Words = None,
    examples: Flag = False,
    json: Flag = False,
) -> int:
    """Measure what somebody else's training left.

    Parameters
    ----------
    outputs
        Logits (N, n, c) of runs, test examples and classes, or predicted classes (N, n): a file .npy, .npz,
        .safetensors, .parquet or .csv, or a folder of one array a run.
    labels
        Class numbers (n,) in a file of these kinds; without it, what is named labels beside the outputs.
    columns
        Of a table: the column of predicted classes, or those of the logits in the order of the classes, joined by
        commas; found by their names if left out.
    examples
        Errors and intervals that hold for other test examples too, drawn as these were.
    json
        As JSON: one condition of the JSON that `nondet show` prints.
    """
    import nondet
    from nondet.analysis.measure import copies_words
    from nondet.io.outputs import is_table, read_labels, read_outputs
    from nondet.reporting import prose

    if columns and not is_table(outputs):
        raise BadInput(f"--columns is for tables, .csv or .parquet (got {outputs}); leave it out")
    array = read_outputs(outputs, columns or [], say)
    if labels is None and outputs.suffix.lower() == ".npy":
        raise BadInput(f"--labels must name the file of the labels (got none, and {outputs} holds one array); add it")
    found = nondet.measure(array, read_labels(labels or outputs), examples=examples, name=str(outputs))
    if found.probabilities:
        say(PROBABILITIES)
    copied = prose.capital(copies_words(str(outputs), found.copies))
    for sentence in filter(None, (copied, prose.few_runs({"outputs": found.runs}))):
        say(sentence)
    return answer(found, json=json)
