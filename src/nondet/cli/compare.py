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
    """Is B better than A, worse, alike, or is it not decided yet; and how many more runs would decide.

    Parameters
    ----------
    a
        A study's folder (its condition `all`, or its only one), STUDY:condition, or outputs or scores of others, as
        for `nondet measure`. Where each is one run, also samples that an evaluation harness logged, or a table of
        scores by example.
    b
        Likewise: what to compare with A. Without it A is a file of scores that holds all arms.
    others
        More of them, each to be compared with A; verdicts then count in how many there are (Holm).
    labels
        Class numbers (n,) in a file; needed with outputs of others that do not hold them.
    columns
        Of tables: the column of predicted classes, or those of the logits in the order of the classes, joined by
        commas; found by their names if left out.
    margin
        The largest difference that does not matter, in the metric's unit: within it, A and B are alike.
    level
        The chance of a false "better" or "worse", and of a false "alike".
    metric
        What is compared: accuracy, cross_entropy or perplexity; accuracy if left out, and perplexity of language
        models. Of scores the column or key, such as metrics.test.score; the only one if left out. Of logs
        and tables by example the score's name.
    cluster
        Of one run each: what examples have in common that depend on each other, such as questions on one text: a key
        of the log's samples, a column of the table, or a file of one cluster for each example.
    arm
        Of scores: the column that tells what was trained, or several joined by commas; by its name if left out.
    seed
        Of scores: the column that tells one run of an arm from another.
    dataset
        Of scores: the column that tells what the runs were trained or tested on.
    of
        Of scores in one file: the arm that others are compared with; the first if left out.
    with_
        Of scores in one file: what is compared with it; all other arms if left out.
    better
        Of scores: which are better, higher or lower; by words in the metric's name if left out.
    paired
        Of scores: compare runs with equal seeds as pairs, since a seed decides the same in both, such as the split.
    chance
        Decide by the chance that a run of B beats one of A, which must be above one half and may be this, such as 0.75,
        in place of the means.
    examples
        Of outputs: errors and intervals that hold for other test examples too, drawn as these were.
    groups
        The same, where examples were drawn in groups, such as questions on one text: a file of one group for each
        example, or a column of A's table. Of one run each what --cluster takes.
    looks
        How often the runs are looked at in all, this time included; each look then has its share of the level.
    form
        How it is printed.
    """
    from nondet import api
    from nondet.analysis.models_apart import ModelComparisons

    found = api.compare(
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
