"""Compare two arms, or several with one."""

from __future__ import annotations

from pathlib import Path

from nondet.cli.console import Flag, Words, answer
from nondet.io.streams import say


def compare(
    a: str,
    b: str,
    /,
    *others: str,
    labels: Path | None = None,
    columns: Words = None,
    margin: float | None = None,
    level: float = 0.05,
    metric: str | None = None,
    cluster: str | None = None,
    json: Flag = False,
) -> int:
    """Is B better than A, worse, alike, or is it not decided yet; and how many more runs would decide.

    Parameters
    ----------
    a
        A study's folder (its condition `all`, or its only one), STUDY:condition, or outputs of others, as for
        `nondet measure`. Where each is one run, also samples that an evaluation harness logged, or a table of scores by
        example.
    b
        Likewise: what to compare with A.
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
        models. Of logs and tables by example: the score's name.
    cluster
        Of one run each: what examples have in common that depend on each other, such as questions on one text: a key
        of the log's samples, a column of the table, or a file of one cluster for each example.
    json
        As JSON, for scripts.
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
        say=say,
    )
    if isinstance(found, ModelComparisons):
        return answer(found, json=json)
    return answer(found, json=json, control=not found.broken, probabilities=found.probabilities)
