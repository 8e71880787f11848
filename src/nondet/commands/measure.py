"""Measure the outputs of others."""

from __future__ import annotations

from pathlib import Path

from nondet.commands.common import Flag, print_json, print_table
from nondet.errors import BadInput
from nondet.streams import say

PROBABILITIES = (
    "warning: the outputs look like probabilities (all from 0 to 1, each example's sum 1), and correlations, "
    "cross-entropies and ensembles are defined for logits; give the logits, or the logarithms of the probabilities"
)

CLASSES_ALONE = "Predicted classes alone give accuracy and disagreement; the other measures need logits."


def measure(outputs: Path, /, *, labels: Path | None = None, examples: Flag = False, json: Flag = False) -> int:
    """Measure what somebody else's training left.

    Parameters
    ----------
    outputs
        Logits (N, n, c) of runs, test examples and classes, or predicted classes (N, n): a file .npy, .npz,
        .safetensors, .parquet or .csv, or a folder of one array a run.
    labels
        Class numbers (n,) in a file of these kinds; without it, what is named labels beside the outputs.
    examples
        Errors and intervals that hold for other test examples too, drawn as these were.
    json
        As JSON: one condition of the JSON that `nondet show` prints.
    """
    from nondet.measures import look_like_probabilities, measure_predictions
    from nondet.measures import measure as measure_logits
    from nondet.measures.files import read_labels, read_outputs
    from nondet.report import table, words

    array = read_outputs(outputs)
    if labels is None and outputs.suffix.lower() == ".npy":
        raise BadInput(f"--labels must name the file of the labels (got none, and {outputs} holds one array); add it")
    truth = read_labels(labels or outputs)
    classes_alone = array.ndim == 2 and array.dtype.kind in "iu"
    if classes_alone:
        measures = measure_predictions(array, truth, examples=examples)
    else:
        measures = measure_logits(array, truth, examples=examples)
        if look_like_probabilities(array):
            say(PROBABILITIES)
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
