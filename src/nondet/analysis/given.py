"""Read what names an arm of any kind: a study, outputs of others, or scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from nondet.analysis.arms import Arm, Given, read_arms
from nondet.analysis.opened import OpenStudy
from nondet.analysis.runs import Runs
from nondet.analysis.score_arms import Choice, arms_by_dataset, score_arms, split_arm
from nondet.errors import BadInput
from nondet.io.nearest import require_there
from nondet.io.roles import Asked
from nondet.io.rows import holds_outputs, holds_scores
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


def arms_given(
    names: Sequence[Any],
    labels: str | Path | ArrayLike | None = None,
    metric: str | None = None,
    columns: Sequence[str] = (),
    asked: Asked = Asked(),  # noqa: B008 - it is frozen
    choice: Choice = Choice(),  # noqa: B008
    say: Callable[[str], None] = lambda line: None,
) -> list[Arm]:
    """Read the arms that `names` stand for, all of one kind: see `read_arms` and `score_arms`.

    Raises:
        BadInput: as these do; or scores are mixed with runs that have outputs.
    """
    scores = [] if labels is not None or columns else [is_scores(name, asked) for name in names]
    if not any(scores):
        _refuse_choices(names, asked, choice)
        return read_arms(names, labels, metric, columns, say)
    if not all(scores):
        other = names[scores.index(False)]
        raise BadInput(
            f"arms must be of one kind (got scores in {names[scores.index(True)]} and none in {other}); "
            "compare scores with scores, and outputs with outputs"
        )
    if metric:
        asked = replace(asked, metric=(metric,))
    return score_arms(names, asked, choice, say)


def by_dataset(
    names: Sequence[Any],
    labels: object,
    metric: str | None,
    columns: Sequence[str],
    asked: Asked,
    choice: Choice,
    say: Callable[[str], None],
) -> dict[str, list[Arm]]:
    """Return the arms of a table of scores for each data set, if it has several; otherwise nothing, silently."""
    if labels is not None or columns or not all(is_scores(name, asked) for name in names):
        return {}
    said: list[str] = []
    found = arms_by_dataset(names, replace(asked, metric=(metric,) if metric else ()), choice, said.append)
    for line in said if found else ():
        say(line)
    return found


def _refuse_choices(names: Sequence[Any], asked: Asked, choice: Choice) -> None:
    """Refuse options that are for scores only."""
    given = {
        "arm": asked.arm,
        "seed": asked.seed,
        "dataset": asked.dataset,
        "of": choice.of,
        "with": choice.against,
        "better": choice.better,
        "paired": choice.paired,
    }
    for name, value in given.items():
        if value:
            for path in names:
                require_there(path)
            raise BadInput(f"<<{name}>> is for scores, one number for each run (got {names[0]}); leave it out")
