"""Plan how many runs a comparison needs."""

from __future__ import annotations

from pathlib import Path

from nondet.cli.console import TEXT, Printed, Words, answer
from nondet.errors import BadInput
from nondet.io.streams import say


def plan(
    *,
    effect: float,
    sd: float | None = None,
    study: str | None = None,
    power: float = 0.8,
    level: float = 0.05,
    metric: str | None = None,
    labels: Path | None = None,
    columns: Words = None,
    arm: str = "",
    seed: str = "",
    of: str = "",
    looks: int = 1,
    form: Printed = TEXT,
) -> int:
    """How many runs of each of two arms a difference takes to be found, and what they cost.

    Parameters
    ----------
    effect
        The smallest difference that matters, in the metric's unit: points of accuracy, nats, or perplexity.
    sd
        The SD of one run's metric, if it is known.
    study
        Or a pilot: a study's folder (its condition `all`, or its only one), STUDY:condition, or outputs or scores of
        others, as for `nondet compare`; FILE:arm is an arm of a file of scores.
    power
        The chance to find the difference, if it is there.
    level
        The chance to find one that is not.
    metric
        What the difference is of: accuracy, cross_entropy or perplexity; of a pilot accuracy if left out, and
        perplexity of language models.
    labels
        With outputs of others that do not hold them: class numbers (n,) in a file.
    columns
        With a table as pilot: its columns of outputs, as for `nondet compare`.
    arm, seed
        With scores as pilot: the columns that tell what was trained, and one run from another.
    of
        With scores as pilot: which arm of the file it is; the first if left out.
    looks
        How often you mean to look at the runs, as for `nondet compare`; each look then has its share of the level.
    form
        How it is printed.
    """
    from nondet import api

    if (sd is None) == (study is None):
        raise BadInput(f"plan takes one of --sd and --study (got {'none' if sd is None else 'both'}); give one")
    if study is None and labels is not None:
        raise BadInput(f"--labels is for the outputs of a pilot (got {labels} beside --sd); leave it out")
    if study is None and columns:
        raise BadInput("--columns is for the table of a pilot (got it beside --sd); leave it out")
    found = api.plan(
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
