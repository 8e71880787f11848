"""One number per run of one recipe, wherever it comes from: a study, outputs, a file of numbers, or numbers."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike

from nondet.analysis.arms import Given, read_arms
from nondet.analysis.independence import without_copies
from nondet.analysis.runs import OpenStudy, Runs
from nondet.errors import BadInput
from nondet.io.numbers import read_numbers
from nondet.stats.values import LARGEST_VALUE, Floats, as_array

LOWER = {
    *("loss", "error", "err", "errors", "perplexity", "ppl", "nll", "mse", "rmse", "mae", "wer", "cer", "fid", "bpb"),
    *("bpc", "brier", "ece", "regret", "entropy"),
}
"""Words in the names of scores of which less is better."""


@dataclass(frozen=True, eq=False)
class Numbers:
    """One number per run.

    Attributes:
        name: of the runs. values: `(N,)`, in their order. metric: the name of the number; empty where it has none.
        better: 1 where more is better, -1 where less is.
        words, points, decimals: of the number in a sentence, of a difference's unit, and how many are shown.
        notes: what a reader must know of the runs, a sentence each.
        control: whether the study's control is exactly zero; None where there is none.
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
    given: Given,
    what: str,
    *,
    metric: str | None = None,
    better: str | None = None,
    labels: str | Path | ArrayLike | None = None,
    columns: Sequence[str] = (),
    say: Callable[[str], None] = lambda line: None,
) -> Numbers:
    """The numbers that are meant.

    Args:
        given: numbers `(N,)`; a file of them; or what `compare` takes, of which `metric` names the score.
        what: a name for numbers that have none. better: "higher" or "lower"; by the score's name if left out.

    Raises:
        BadInput: nothing is there, or it holds no number for each run. Damaged: a study's run is not what was written.
    """
    if better not in (None, "higher", "lower"):
        raise BadInput(
            f"<<better>> must be higher or lower (got {better}); say which values of the score are good ones"
        )
    found = _plain(given, what, metric) or _of_arm(given, metric, labels, columns, say)
    return found if better is None else replace(found, better=1 if better == "higher" else -1)


def _plain(given: Given, what: str, metric: str | None) -> Numbers | None:
    """Of numbers as they are, or in a file; None of anything else."""
    if isinstance(given, str | Path):
        path = Path(given)
        column = read_numbers(path, metric) if path.is_file() else None
        return column and _named(str(given), column.values, column.name or metric or "")
    if isinstance(given, OpenStudy | Runs | tuple):
        return None
    array = as_array(given, what)
    if array.ndim != 1 or array.dtype.kind not in "fiu":
        return None
    values = array.astype(np.float64)
    if not (np.abs(values) <= LARGEST_VALUE).all():
        raise BadInput(
            f"{what} must be finite numbers (got {values[~(np.abs(values) <= LARGEST_VALUE)][0]}); leave that run out, "
            "or give a run that failed the score that a failure is worth"
        )
    return _named(what, values, metric or "")


def lower_is_better(metric: str) -> bool:
    """Whether less of a score is better, by its name."""
    return not LOWER.isdisjoint(re.split(r"[^a-z]+", metric.lower()))


def _named(name: str, values: Floats, metric: str) -> Numbers:
    lower = lower_is_better(metric)
    note = f"Less {metric} is taken for better, by its name." if lower else ""
    return Numbers(name, values, metric, -1 if lower else 1, metric or "score", notes=(note,) if note else ())


def _of_arm(
    given: Given,
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
