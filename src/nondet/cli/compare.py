"""Compare two arms, or several with one."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from nondet.cli.console import Flag, Words, print_json, print_table
from nondet.cli.measure import PROBABILITIES
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
    metric: Literal["accuracy", "cross_entropy", "perplexity"] | None = None,
    json: Flag = False,
) -> int:
    """Is B better than A, worse, alike, or is it not decided yet; and how many more runs would decide.

    Parameters
    ----------
    a
        A study's folder (its condition `all`, or its only one), STUDY:condition, or outputs of others, as for
        `nondet measure`.
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
        What is compared; accuracy if left out, and perplexity of language models.
    json
        As JSON, for scripts.
    """
    from nondet.analysis.arms import read_arms
    from nondet.analysis.compare import check_options
    from nondet.analysis.compare import compare as compare_arms
    from nondet.reporting import decisions, table
    from nondet.reporting import prose as words

    check_options(margin, level)
    arms = read_arms([a, b, *others], labels, metric, columns or [], say)
    found = compare_arms(arms, margin, level)
    if json:
        print_json(decisions.comparisons_dict(found))
    else:
        *tables, last = (table.for_terminal(rows, head) for head, rows in decisions.comparison_tables(found))
        for one in tables:
            print_table(one)
        print_table(last, *decisions.comparisons_words(found))
    for arm in arms:
        if arm.probabilities:
            say(f"{arm.name}: {PROBABILITIES}")
    if any(arm.control is False for arm in arms):
        say(words.CONTROL_NOT_ZERO)
        return 3
    return 0
