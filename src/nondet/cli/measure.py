"""Measure outputs or scores made elsewhere."""

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
    """Measure the outputs or scores of trainings that were run elsewhere.

    Parameters
    ----------
    outputs
        Logits (N, n, c) of runs, test examples and classes, or predicted classes (N, n): a .npy, .npz, .safetensors,
        .parquet or .csv file, or a folder with one array per run. Or scores, one number per run: a table, a file with
        one number per line, a JSON tree for each run, or the files of a tracker or trainer.
    more
        More files of scores, which form one table with the first.
    labels
        A file of class numbers (n,), of one of these kinds; if left out, the array, column or file named labels next to
        the outputs.
    columns
        For a table: the column of predicted classes, or the columns of logits in the order of the classes, joined by
        commas; recognised by name if left out.
    examples
        Give errors and intervals that also hold for other test examples drawn in the same way.
    groups
        The same, if examples were drawn in groups, such as questions about one text: a file with the group of each
        example, or a column of the table.
    metric
        For scores: the columns or keys to measure, such as metrics.test.score; all scores if left out.
    arm
        For scores: the column that says what was trained, or several joined by commas; recognised by name if left out.
    seed
        For scores: the column that tells the runs of an arm apart.
    dataset
        For scores: the column that says what the runs were trained or tested on.
    failed
        What to do with runs whose outputs are not all finite, or that have no score: count them as failed, or drop
        them. If left out, outputs with such runs are refused, and in scores they count as failed.
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
