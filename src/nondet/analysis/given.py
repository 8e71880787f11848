"""Read what names an arm of any kind: a study, outputs of others, or scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from nondet.analysis.arm import Arm
from nondet.analysis.arms import Given, read_arms
from nondet.analysis.opened import OpenStudy
from nondet.analysis.options import PLAIN, Options
from nondet.analysis.runs import Runs
from nondet.analysis.score_arms import arms_by_dataset, score_arms, split_arm
from nondet.errors import BadInput
from nondet.io.nearest import require_there
from nondet.io.roles import Asked
from nondet.io.rows import holds_outputs, holds_scores
from nondet.records import picked
from nondet.study.names import own_names
from nondet.study.places import address_of

AnyGiven = Given | Mapping[str, ArrayLike]
"""`Given`; or scores: a file of them, `FILE:arm`, one number for each run, or several such lists by name."""


def is_study(name: object) -> bool:
    """Whether this names a study: an open one, its folder, or something that does not exist."""
    if isinstance(name, OpenStudy):
        return True
    if not isinstance(name, str | Path) or is_scores(name):
        return False
    path = Path(name)
    if address_of(name) is not None:
        return True
    if not path.is_dir():
        return not path.exists()
    return (path / "study.json").exists() or bool(own_names(path, "runs")) or not holds_outputs(path)


def is_scores(name: object, asked: Asked = Asked()) -> bool:  # noqa: B008 - it is frozen
    """Whether this names scores, one number for each run.

    asked: options for a table of scores; with them, a table is taken for one.
    """
    if isinstance(name, Mapping):
        return True
    if isinstance(name, tuple | Runs | OpenStudy):
        return False
    if not isinstance(name, str | Path):
        return hasattr(name, "__len__") and np.ndim(name) == 1  # pyright: ignore[reportArgumentType]
    path = split_arm(name)[0]
    if not str(name) or (path.is_dir() and ((path / "study.json").exists() or own_names(path, "runs"))):
        return False
    if path.exists() and (asked.arm or asked.seed or asked.dataset):
        return True
    return holds_scores(path)


def arms_given(names: Sequence[Any], how: Options = PLAIN) -> list[Arm]:
    """Read the arms that `names` stand for, all of one kind: see `read_arms` and `score_arms`."""
    scores = [] if how.for_outputs else [is_scores(name, how.asked) for name in names]
    if not any(scores):
        options = picked(how, "arm seed dataset of") | {"with": how.against} | picked(how, "better paired")
        refuse_choices(names, options)
        return read_arms(names, how)
    if not all(scores):
        other = names[scores.index(False)]
        raise BadInput(
            f"arms must be of one kind (got scores in {names[scores.index(True)]} and none in {other}); "
            "compare scores with scores, and outputs with outputs"
        )
    return score_arms(names, how)


def by_dataset(names: Sequence[Any], how: Options) -> dict[str, list[Arm]]:
    """Return the arms of a table of scores for each data set, if it has several; otherwise nothing, silently."""
    if how.for_outputs or not all(is_scores(name, how.asked) for name in names):
        return {}
    said: list[str] = []
    found = arms_by_dataset(names, replace(how, say=said.append))
    for line in said if found else ():
        how.say(line)
    return found


def refuse_choices(names: Sequence[object], options: Mapping[str, object]) -> None:
    """Refuse options that are for scores only, if they are given."""
    for option, value in options.items():
        if value:
            for path in names:
                require_there(path)
            raise BadInput(f"<<{option}>> is for scores, one number for each run (got {names[0]}); leave it out")
