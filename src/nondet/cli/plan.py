"""Plan how many runs a comparison needs."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from nondet.cli.console import Flag, Words, print_json
from nondet.cli.measure import PROBABILITIES
from nondet.errors import BadInput
from nondet.io.streams import say, tell


def plan(
    *,
    effect: float,
    sd: float | None = None,
    study: str | None = None,
    power: float = 0.8,
    level: float = 0.05,
    metric: Literal["accuracy", "cross_entropy", "perplexity"] | None = None,
    labels: Path | None = None,
    columns: Words = None,
    json: Flag = False,
) -> int:
    """How many runs of each of two arms a difference takes to be found, and what they cost.

    Parameters
    ----------
    effect
        The smallest difference that matters, in the metric's unit: points of accuracy, nats, or perplexity.
    sd
        The SD of one run's metric, if it is known.
    study
        Or a pilot: a study's folder (its condition `all`, or its only one), STUDY:condition, or outputs of others, as
        for `nondet compare`.
    power
        The chance to find the difference, if it is there.
    level
        The chance to find one that is not.
    metric
        What the difference is of; of a pilot accuracy if left out, and perplexity of language models.
    labels
        With outputs of others that do not hold them: class numbers (n,) in a file.
    columns
        With a table as pilot: its columns of outputs, as for `nondet compare`.
    json
        As JSON, for scripts.
    """
    from nondet.analysis.arms import read_arms
    from nondet.analysis.plan import check_options, plan_from, plan_with
    from nondet.reporting import decisions
    from nondet.reporting import prose as words

    if (sd is None) == (study is None):
        raise BadInput(f"plan takes one of --sd and --study (got {'none' if sd is None else 'both'}); give one")
    if study is None and labels is not None:
        raise BadInput(f"--labels is for the outputs of a pilot (got {labels} beside --sd); leave it out")
    if study is None and columns:
        raise BadInput("--columns is for the table of a pilot (got it beside --sd); leave it out")
    check_options(effect, power, level)
    pilot = None if study is None else read_arms([study], labels, metric, columns or [], say)[0]
    if pilot is None:
        planned = plan_with(sd or 0.0, effect, power, level, metric)
    else:
        planned = plan_from(pilot, effect, power, level)
    if json:
        print_json({**planned.as_dict(), "sentence": decisions.plan_words(planned)})
    else:
        tell(*planned.notes, decisions.plan_words(planned))
    if pilot is not None and pilot.probabilities:
        say(f"{pilot.name}: {PROBABILITIES}")
    if pilot is not None and pilot.control is False:
        say(words.CONTROL_NOT_ZERO)
        return 3
    return 0
