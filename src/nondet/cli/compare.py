"""Compare two arms, or several with one."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from nondet.cli.console import TEXT, Flag, Printed, With, Words, answer
from nondet.io.streams import say


def compare(
    a: str,
    b: str | None = None,
    /,
    *others: str,
    labels: Path | None = None,
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
    labels
        A file of class numbers (n,), needed for outputs made elsewhere that do not contain them.
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
    form
        How it is printed.
    """
    import nondet
    from nondet.analysis.models_apart import ModelComparisons

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
    if isinstance(found, ModelComparisons):
        return answer(found, form)
    return answer(found, form, control=not found.broken)
