"""Compute the noise floor of a recipe."""

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
    """Compute how far new runs of the same recipe can be from these by chance: a smaller difference is noise.

    Parameters
    ----------
    runs
        Repeats of one recipe: scores in a file, FILE:arm, a study's folder, STUDY:condition, or outputs made elsewhere,
        as for `nondet compare`.
    new_runs
        How many new runs are judged together, by their mean.
    level
        The chance that new runs of the same recipe fall outside the interval.
    metric
        A column of the file, or a score of a study's runs; if left out, the only one or the first.
    labels
        A file of class numbers (n,), needed for outputs made elsewhere that do not contain them.
    columns
        For a table of outputs, as for `nondet compare`.
    arm
        In a table of scores: the column that says what was trained.
    seed
        In a table of scores: the column that tells runs apart.
    of
        In a table of scores: the arm to use.
    form
        How it is printed.
    """
    import nondet

    found = nondet.floor(
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
