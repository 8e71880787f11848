"""The noise floor of a recipe."""

from __future__ import annotations

from pathlib import Path

from nondet.cli.console import TEXT, Printed, Words, answer
from nondet.io.streams import say


def floor(
    runs: str,
    /,
    *,
    new_runs: int = 1,
    level: float = 0.05,
    metric: str | None = None,
    labels: Path | None = None,
    columns: Words = None,
    arm: str = "",
    seed: str = "",
    of: str = "",
    form: Printed = TEXT,
) -> int:
    """How far new runs of the same recipe may lie from these by chance: what is smaller is noise.

    Parameters
    ----------
    runs
        Repeats of one recipe: scores in a file, FILE:arm, a study's folder, STUDY:condition, or outputs of others, as
        for `nondet compare`.
    new_runs
        How many new runs are judged by their mean.
    level
        The chance that new runs of the same recipe lie outside of the interval.
    metric
        A column of the file, or a score of a study's runs; the only one, or the first, if left out.
    labels
        Class numbers (n,) in a file, with outputs of others that do not hold them.
    columns
        Of a table of outputs, as for `nondet compare`.
    arm
        The column of a table of scores that tells what was trained.
    seed
        Its column that tells one run from another.
    of
        The arm of that table that is meant.
    form
        How it is printed.
    """
    from nondet import api

    found = api.floor(
        runs,
        new_runs,
        level=level,
        metric=metric,
        labels=labels,
        columns=columns or [],
        arm=arm,
        seed=seed,
        of=of,
        say=say,
    )
    return answer(found, form, control=found.control)
