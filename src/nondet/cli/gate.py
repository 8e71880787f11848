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
    """Keep a change (status 0), discard it (1), or run it again (4): for loops that try one after another.

    Parameters
    ----------
    base
        Repeats of the recipe as it is: scores in a file, FILE:arm, a study's folder, STUDY:condition, or outputs of
        others, as for `nondet compare`.
    candidate
        All runs of the changed recipe so far, likewise; those of --with in the baseline's file if left out.
    ledger
        A file that holds every look at every candidate; made if there is none. Lines are only added to it.
    name
        Of the candidate, if its path is also that of others; what is decided of a name stays so.
    alpha
        The chance that any change of all in the ledger is kept that is no improvement; 0.05 if left out.
    effect
        The smallest improvement that must not be missed, in the metric's unit; the baseline's SD if left out.
    limit
        Runs of the candidate after which it is discarded; twice those of a test of fixed size if left out.
    better
        Which values of the metric are better, higher or lower; by its name if left out.
    metric
        A column of the files, or a score of studies' runs; the only one, or the first, if left out.
    labels
        Class numbers (n,) in a file, with outputs of others that do not hold them.
    columns
        Of tables of outputs, as for `nondet compare`.
    arm
        The column of a table of scores that tells what was trained.
    seed
        Its column that tells one run from another.
    of
        The arm of that table that is the baseline.
    with_
        The arm that is the candidate, of the candidate's table or the same.
    form
        How it is printed.
    """
    from nondet import api

    try:
        found = api.gate(
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
