"""One number per run of one recipe, wherever it comes from: a study, outputs, a file of numbers, or a program."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import ArrayLike

from nondet.analysis.arms import read_arms
from nondet.analysis.given import AnyGiven, is_scores
from nondet.analysis.independence import without_copies
from nondet.analysis.score_arms import Choice, one_arm
from nondet.errors import BadInput
from nondet.io.roles import Asked
from nondet.stats.values import Floats


@dataclass(frozen=True, eq=False)
class Numbers:
    """One number per run.

    Attributes:
        name: of the runs. values: `(N,)`, in the runs' order. metric: the name of the number; empty if it has none.
        better: 1 if more is better, -1 if less is.
        words, points, decimals: the number's name in a sentence, a difference's unit, and how many decimals to show.
        notes: what a reader must know about the runs, a sentence each.
        control: whether the study's control is exactly zero; None if there is none.
    """

    name: str
    values: Floats
    metric: str = ""
    better: int = 1
    words: str = "score"
    points: str = ""
    decimals: int = 4
    notes: tuple[str, ...] = ()
    control: bool | None = None


def numbers_of(
    given: AnyGiven,
    what: str,
    *,
    metric: str | None = None,
    better: Literal["higher", "lower"] | None = None,
    labels: str | Path | ArrayLike | None = None,
    columns: Sequence[str] = (),
    arm: str = "",
    seed: str = "",
    of: str = "",
    say: Callable[[str], None] = lambda line: None,
) -> Numbers:
    """Read the numbers of one recipe's runs.

    Args:
        given: numbers `(N,)`; scores in a file; or what `compare` accepts, with `metric` to name the score.
        arm, seed: columns of a table of scores. of: which of several arms.
        what: a name for numbers that have none. better: "higher" or "lower"; by the score's name if left out.

    Raises:
        BadInput: nothing is there, or not one number for each run. Damaged: a study's run is not what was written.
    """
    if better not in (None, "higher", "lower"):
        raise BadInput(f"<<better>> must be higher or lower (got {better}); say which values of the score are better")
    asked = Asked((metric,) if metric else (), arm, seed)
    if labels is None and not columns and is_scores(given, asked):
        return _of_scores(given, what, asked, Choice(of, better=better, compared=False), say)
    if of:
        raise BadInput(
            f"an arm can be chosen by name from a file of scores only (got {of!a} and no such file); for a study give "
            "STUDY:CONDITION, for outputs the arm's own file"
        )
    found = _of_arm(given, metric, labels, columns, say)
    return found if better is None else replace(found, better=1 if better == "higher" else -1)


def _of_scores(given: Any, what: str, asked: Asked, choice: Choice, say: Callable[[str], None]) -> Numbers:
    arm, score = one_arm(given, asked, choice, say)
    notes = [f"{arm.failed} failed run{'s are' if arm.failed > 1 else ' is'} left out."] if arm.failed else []
    if choice.better is None and score.better < 0:
        notes.append(f"Lower {score.name} is taken to be better, judging by its name.")
    metric = "" if arm.metric == "score" else arm.metric
    name = f"{given}:{choice.of}" if choice.of else str(given)
    name = name if isinstance(given, str | Path) else what
    return Numbers(name, np.asarray(arm.values), metric, score.better, metric or "score", notes=tuple(notes))


def _of_arm(
    given: AnyGiven,
    metric: str | None,
    labels: str | Path | ArrayLike | None,
    columns: Sequence[str],
    say: Callable[[str], None],
) -> Numbers:
    arm = without_copies(read_arms([cast(Any, given)], labels, metric, columns, say)[0])
    score = arm.metric
    return Numbers(
        arm.name,
        arm.values,
        score.name,
        score.better,
        score.words,
        score.points,
        score.decimals,
        arm.notes,
        arm.control,
    )
