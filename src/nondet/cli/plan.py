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
    labels
        A file of class numbers (n,), needed for outputs made elsewhere that do not contain them.
    columns
        For a table as pilot: its columns of outputs, as for `nondet compare`.
    arm, seed
        For scores as pilot: the columns that say what was trained and tell runs apart.
    of
        For scores as pilot: which arm of the file to use; the first if left out.
    looks
        How many times you intend to look at the runs, as for `nondet compare`; each look then uses its share of the
        level.
    form
        How it is printed.
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
