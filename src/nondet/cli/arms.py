"""Measure runs made elsewhere, compare arms, and test whether they vary alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from nondet.cli.console import (
    NONE_GIVEN,
    TEXT,
    Elsewhere,
    Flag,
    Labels,
    Printed,
    With,
    Words,
    answer,
    say_unfinished,
)
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


def compare(
    a: str,
    b: str | None = None,
    /,
    *others: str,
    labels: Labels = None,
    columns: Words = None,
    margin: float | None = None,
    level: float = 0.05,
    metric: str | None = None,
    cluster: str | None = None,
    arm: str = "",
    seed: str = "",
    dataset: str = "",
    of: str = "",
    with_: With = None,
    better: Literal["higher", "lower"] | None = None,
    paired: Flag = False,
    chance: float | None = None,
    examples: Flag = False,
    groups: str | None = None,
    looks: int = 1,
    form: Printed = TEXT,
) -> int:
    """Decide whether B is better than A, worse or alike; if that is not decided yet, say how many more runs would
    decide.

    Parameters
    ----------
    a
        A study's folder (its condition `all`, or its only one), STUDY:condition, or outputs or scores made elsewhere,
        as for `nondet measure`. If each arm is one run, also the samples that an evaluation harness logged, or a table
        of scores by example.
    b
        What to compare with A, given in the same way. Without it, A must be a file of scores that contains all arms.
    others
        More arms to compare with A; the verdicts are then adjusted for their number (Holm).
    columns
        For tables: the column of predicted classes, or the columns of logits in the order of the classes, joined by
        commas; recognised by name if left out.
    margin
        The largest difference that does not matter, in the metric's unit: within it, A and B are alike.
    level
        The chance of a false "better" or "worse", and of a false "alike".
    metric
        What to compare: accuracy, cross_entropy or perplexity; if left out, accuracy, or perplexity for language
        models. For scores, the column or key, such as metrics.test.score; if left out, the only one. For logs and
        tables by example, the score's name.
    cluster
        If each arm is one run: which examples depend on each other, such as questions about one text. Give a key of the
        log's samples, a column of the table, or a file with the cluster of each example.
    arm
        For scores: the column that says what was trained, or several joined by commas; recognised by name if left out.
    seed
        For scores: the column that tells the runs of an arm apart.
    dataset
        For scores: the column that says what the runs were trained or tested on.
    of
        For scores in one file: the arm to compare the others with; the first if left out.
    with_
        For scores in one file: the arms to compare with --of; all the others if left out.
    better
        For scores: whether higher or lower is better; judged by words in the metric's name if left out.
    paired
        For scores: compare runs with equal seeds as pairs, because a seed decides the same thing in both, such as the
        split.
    chance
        Decide by the chance that a run of B beats a run of A, not by the means. Give the chance that matters, above one
        half, such as 0.75.
    examples
        For outputs: give errors and intervals that also hold for other test examples drawn in the same way.
    groups
        The same, if examples were drawn in groups, such as questions about one text: a file with the group of each
        example, or a column of A's table. If each arm is one run, the same as --cluster.
    looks
        How many times you look at the runs in all, this time included; each look then uses its share of the level.
    """
    import nondet

    found = nondet.compare(
        a,
        b,
        *others,
        labels=labels,
        columns=columns or [],
        margin=margin,
        level=level,
        metric=metric,
        cluster=cluster,
        arm=arm,
        seed=seed,
        dataset=dataset,
        of=of,
        with_=with_ or (),
        better=better,
        paired=paired,
        chance=chance,
        examples=examples,
        groups=groups,
        looks=looks,
        say=say,
    )
    return answer(found, form, control=not found.broken)


def alike(
    study: str,
    /,
    *others: str,
    margin: float = 1.25,
    level: float = 0.05,
    elsewhere: Elsewhere = NONE_GIVEN,
    form: Printed = TEXT,
) -> int:
    """Test whether a study's sources have the same effect, and which pairs are alike within a margin.

    For each metric there is one permutation test of all conditions, and for each pair of conditions the ratio of their
    effects with an equivalence test. Only conditions that start to vary at the same epoch are compared.

    Parameters
    ----------
    study
        The study's folder. Or outputs or scores made elsewhere, as for `nondet compare`, to test whether the runs of
        several arms vary equally.
    others
        More outputs or scores; each is an arm.
    margin
        The largest ratio of two effects that still counts as alike, above 1.
    level
        The share of false positives to allow.
    """
    import nondet

    given: dict[str, Any] = {**vars(elsewhere), "columns": elsewhere.columns or ()}
    found = nondet.alike(study, margin, level, others=others, **given, say=say)
    status = answer(found, form, control=found.control)
    say_unfinished(found)
    return status
