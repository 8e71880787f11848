"""Measure the outputs of others."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from nondet.cli.console import TEXT, Flag, Printed, Words, answer
from nondet.io.streams import say


def measure(
    outputs: Path,
    /,
    *more: Path,
    labels: Path | None = None,
    columns: Words = None,
    examples: Flag = False,
    groups: str | None = None,
    metric: Words = None,
    arm: str = "",
    seed: str = "",
    dataset: str = "",
    failed: Literal["count", "drop"] | None = None,
    form: Printed = TEXT,
) -> int:
    """Measure what somebody else's training left: outputs, or scores.

    Parameters
    ----------
    outputs
        Logits (N, n, c) of runs, test examples and classes, or predicted classes (N, n): a file .npy, .npz,
        .safetensors, .parquet or .csv, or a folder of one array a run. Or scores, one number for each run: a table,
        one number a line, a tree in JSON for each run, or what a tracker or trainer has left.
    more
        More files of scores, which make one table with the first.
    labels
        Class numbers (n,) in a file of these kinds; without it, what is named labels beside the outputs.
    columns
        Of a table: the column of predicted classes, or those of the logits in the order of the classes, joined by
        commas; found by their names if left out.
    examples
        Errors and intervals that hold for other test examples too, drawn as these were.
    groups
        The same, where examples were drawn in groups, such as questions on one text: a file of one group for each
        example, or a column of the table.
    metric
        Of scores: the columns or keys to measure, such as metrics.test.score; all scores if left out.
    arm
        Of scores: the column that tells what was trained, or several joined by commas; by its name if left out.
    seed
        Of scores: the column that tells one run of an arm from another.
    dataset
        Of scores: the column that tells what the runs were trained or tested on.
    failed
        Runs whose outputs are not all finite, or that have no score: count them as failed, or drop them. Outputs with
        such runs are refused if it is left out; of scores they are counted.
    form
        How it is printed.
    """
    import nondet

    found = nondet.measure(
        [outputs, *more],
        labels,
        failed or 0,
        examples,
        groups=groups,
        columns=columns or (),
        metric=metric or (),
        arm=arm,
        seed=seed,
        dataset=dataset,
        say=say,
    )
    return answer(found, form)
