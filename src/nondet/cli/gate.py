"""Keep a change, discard it, or run it again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from nondet.cli.console import TEXT, Printed, Words, answer
from nondet.errors import BadInput, Damaged
from nondet.io.streams import say

STATUS = {"keep": 0, "discard": 1, "run again": 4}


def gate(
    base: str,
    candidate: str | None = None,
    /,
    *,
    ledger: Path,
    name: str | None = None,
    alpha: float | None = None,
    effect: float | None = None,
    limit: int | None = None,
    better: Literal["higher", "lower"] | None = None,
    metric: str | None = None,
    labels: Path | None = None,
    columns: Words = None,
    arm: str = "",
    seed: str = "",
    of: str = "",
    with_: Annotated[str, Parameter(name="--with")] = "",
    form: Printed = TEXT,
) -> int:
    """Keep a change (status 0), discard it (1), or run it again (4): for loops that try one change after another.

    Parameters
    ----------
    base
        Repeats of the recipe as it is: scores in a file, FILE:arm, a study's folder, STUDY:condition, or outputs made
        elsewhere, as for `nondet compare`.
    candidate
        All runs of the changed recipe so far, given in the same way; if left out, the arm that --with names in the
        baseline's file.
    ledger
        A file that records every look at every candidate. It is created if missing, and lines are only added to it.
    name
        The candidate's name, if others share its path. What is decided about a name is final.
    alpha
        The chance of keeping any change in the ledger that is no improvement; 0.05 if left out.
    effect
        The smallest improvement that must not be missed, in the metric's unit; the baseline's SD if left out.
    limit
        After how many runs the candidate is discarded; if left out, twice as many as a test of fixed size needs.
    better
        Whether higher or lower values of the metric are better; judged by its name if left out.
    metric
        A column of the files, or a score of studies' runs; if left out, the only one or the first.
    labels
        A file of class numbers (n,), needed for outputs made elsewhere that do not contain them.
    columns
        For tables of outputs, as for `nondet compare`.
    arm
        In a table of scores: the column that says what was trained.
    seed
        In a table of scores: the column that tells runs apart.
    of
        In a table of scores: the baseline's arm.
    with_
        In a table of scores: the candidate's arm, in the candidate's table or the baseline's.
    form
        How it is printed.
    """
    import nondet

    try:
        found = nondet.gate(
            base,
            candidate,
            ledger,
            name=name,
            alpha=alpha,
            effect=effect,
            limit=limit,
            better=better,
            metric=metric,
            labels=labels,
            columns=columns or [],
            arm=arm,
            seed=seed,
            of=of,
            with_=with_,
            say=say,
        )
    except (Damaged, OSError) as error:  # 1 means discard here, and nothing was decided
        raise BadInput(error) from error
    answer(found, form)
    return STATUS[found.verdict]
