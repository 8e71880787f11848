"""Measure the outputs of others."""

from __future__ import annotations

from pathlib import Path

from nondet.cli.console import Flag, Words, print_json, print_table
from nondet.errors import BadInput
from nondet.io.streams import say

PROBABILITIES = (
    "warning: the outputs look like probabilities (all from 0 to 1, each example's sum 1), and correlations, "
    "cross-entropies and ensembles are defined for logits; give the logits, or the logarithms of the probabilities"
)

CLASSES_ALONE = "Predicted classes alone give accuracy and disagreement; the other measures need logits."


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
    from nondet.analysis import copies
    from nondet.io.outputs import is_table, read_labels, read_outputs
    from nondet.measures import look_like_probabilities
    from nondet.reporting import prose as words
    from nondet.reporting import table

    if columns and not is_table(outputs):
        raise BadInput(f"--columns is for tables, .csv or .parquet (got {outputs}); leave it out")
    array = read_outputs(outputs, columns or [], say)
    if labels is None and outputs.suffix.lower() == ".npy":
        raise BadInput(f"--labels must name the file of the labels (got none, and {outputs} holds one array); add it")
    truth = read_labels(labels or outputs)
    classes_alone = array.ndim == 2 and array.dtype.kind in "iu"
    measures = copies.measure(array, truth, examples=examples, name=str(outputs))
    if not classes_alone and look_like_probabilities(array):
        say(PROBABILITIES)
    if measures.copies:
        say(words.capital(copies.copies_words(str(outputs), measures.copies)))
    caution = words.few_runs({"outputs": measures.runs})
    if caution:
        say(caution)
    if json:
        print_json(measures.as_dict())
        return 0
    print_table(
        table.for_terminal([table.measured_row(measures)]),
        words.measured_words(measures, examples),
        CLASSES_ALONE if classes_alone else "",
        f"The ensembles are {measures.sampled_pairs} sampled pairs, not all." if measures.sampled_pairs else "",
    )
    return 0
