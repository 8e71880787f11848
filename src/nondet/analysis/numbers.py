"""One number per run of one recipe, wherever it comes from: a study, outputs, a file of numbers, or a program."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from nondet.analysis.arms import read_arms
from nondet.analysis.given import AnyGiven, is_scores
from nondet.analysis.independence import without_copies
from nondet.analysis.options import PLAIN, Options
from nondet.analysis.score_arms import one_arm
from nondet.errors import BadInput
from nondet.measures.figure import Score
from nondet.stats.values import Floats


@dataclass(frozen=True, eq=False)
class Numbers:
    """One number per run.

    Attributes:
        name: of the runs. values: `(N,)`, in the runs' order. score: what they are.
        metric: the name of the number; empty if it has none.
        notes: what a reader must know about the runs, a sentence each.
        control: whether the study's control is exactly zero; None if there is none.
    """

    name: str
    values: Floats
    score: Score
    metric: str = ""
    notes: tuple[str, ...] = ()
    control: bool | None = None


def numbers_of(given: AnyGiven, what: str, how: Options = PLAIN) -> Numbers:
    """Read the numbers of one recipe's runs.

    Args:
        given: numbers `(N,)`; scores in a file; or what `compare` accepts. what: a name for numbers that have none.

    Raises:
        BadInput: nothing is there, or not one number for each run. Damaged: a study's run is not what was written.
    """
    if how.better not in (None, "higher", "lower"):
        raise BadInput(
            f"<<better>> must be higher or lower (got {how.better}); say which values of the score are better"
        )
    if not how.for_outputs and is_scores(given, how.asked):
        return _of_scores(given, what, how)
    if how.of:
        raise BadInput(
            f"an arm can be chosen by name from a file of scores only (got {how.of!a} and no such file); for a study "
            "give STUDY:CONDITION, for outputs the arm's own file"
        )
    arm = without_copies(read_arms([cast(Any, given)], how)[0])
    better = {None: arm.metric.better, "higher": 1, "lower": -1}[how.better]
    return Numbers(arm.name, arm.values, replace(arm.metric, better=better), arm.metric.name, arm.notes, arm.control)


def _of_scores(given: Any, what: str, how: Options) -> Numbers:
    arm, score = one_arm(given, how)
    notes = [f"{arm.failed} failed run{'s are' if arm.failed > 1 else ' is'} left out."] if arm.failed else []
    if how.better is None and score.better < 0:
        notes.append(f"Lower {score.name} is taken to be better, judging by its name.")
    metric = "" if arm.metric == "score" else arm.metric
    name = f"{given}:{how.of}" if how.of else str(given)
    name = name if isinstance(given, str | Path) else what
    return Numbers(name, arm.values, score, metric, tuple(notes))
