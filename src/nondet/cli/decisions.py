"""Plan how many runs a comparison needs, and decide on one candidate after another."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from nondet.cli.console import TEXT, Labels, Printed, Words, answer
from nondet.errors import BadInput, Damaged
from nondet.io.streams import say


def plan(
    *,
    effect: float,
    sd: float | None = None,
    study: str | None = None,
    power: float = 0.8,
    level: float = 0.05,
    metric: str | None = None,
    labels: Labels = None,
    columns: Words = None,
    arm: str = "",
    seed: str = "",
    of: str = "",
    looks: int = 1,
    form: Printed = TEXT,
) -> int:
    """Compute how many runs each of two arms needs to find a difference, and what they cost.

    Parameters
    ----------
    effect
        The smallest difference that matters, in the metric's unit: points of accuracy, nats, or perplexity.
    sd
        The SD of one run's metric, if it is known.
    study
        A pilot instead of --sd: a study's folder (its condition `all`, or its only one), STUDY:condition, or outputs or
        scores made elsewhere, as for `nondet compare`; FILE:arm is one arm of a file of scores.
    power
        The chance of finding the difference if it exists.
    level
        The chance of finding a difference that does not exist.
    metric
        Which metric differs: accuracy, cross_entropy or perplexity. With a pilot, if left out, accuracy, or perplexity
        for language models.
    columns
        For a table as pilot: its columns of outputs, as for `nondet compare`.
    arm
        For scores as pilot: the column that says what was trained.
    seed
        For scores as pilot: the column that tells runs apart.
    of
        For scores as pilot: which arm of the file to use; the first if left out.
    looks
        How many times you intend to look at the runs, as for `nondet compare`; each look then uses its share of the
        level.
    """
    import nondet

    if (sd is None) == (study is None):
        raise BadInput(f"plan needs either --sd or --study (got {'none' if sd is None else 'both'}); give one")
    if study is None and labels is not None:
        raise BadInput(f"--labels is for the outputs of a pilot (got {labels} with --sd); leave it out")
    if study is None and columns:
        raise BadInput("--columns is for the table of a pilot (got it with --sd); leave it out")
    found = nondet.plan(
        effect,
        sd=sd,
        pilot=study,
        power=power,
        level=level,
        metric=metric,
        labels=labels,
        columns=columns or [],
        arm=arm,
        seed=seed,
        of=of,
        looks=looks,
        say=say,
    )
    return answer(found, form, control=found.control)


def floor(
    runs: str,
    /,
    *,
    new_runs: int = 1,
    level: float = 0.05,
    metric: str | None = None,
    labels: Labels = None,
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
    columns
        For a table of outputs, as for `nondet compare`.
    arm
        In a table of scores: the column that says what was trained.
    seed
        In a table of scores: the column that tells runs apart.
    of
        In a table of scores: the arm to use.
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
    labels: Labels = None,
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
