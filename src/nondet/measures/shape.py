"""Find what makes an interval of the mean or SD of runs miss the true value more often than it says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nondet.stats.intervals import FEW
from nondet.stats.values import Floats

OUTLYING, FAR = 5.0, 10.0
"""A run so many robust SDs from the median is outlying; one so many SDs worse than it has collapsed."""

FEWEST = 5
"""Fewer runs cannot show that one is outlying."""

SKEWED = 0.05
"""Runs are called skewed if the test of their skewness has at most this p-value."""

SHOWS_SKEW = 8

TIED = 0.5
"""Runs are called tied if at least this share of them has the best value of all, or the worst."""

UNSEEN = 0.05
"""A failure that affects a smaller share of runs is rare enough not to be mentioned."""

SHOWN, NAMED = 3, 10
"""How many conditions with few runs are named, and how many runs."""


@dataclass(frozen=True)
class Shape:
    """What one number for each run shows.

    Attributes:
        one_class: places of runs that answer only one class. worse: places of runs far worse than the others.
        outlying: places of other runs far from the median. skewed: whether the values are skewed. tied: how many runs
            have the best or the worst value of all, if they are many. distinct: how many different values there are.
    """

    one_class: tuple[int, ...] = ()
    worse: tuple[int, ...] = ()
    outlying: tuple[int, ...] = ()
    skewed: bool = False
    tied: int = 0
    distinct: int = 0

    @property
    def collapsed(self) -> tuple[int, ...]:
        """Places of runs that answer only one class, or are far worse than the others."""
        return tuple(sorted({*self.one_class, *self.worse}))


def shape_of(
    values: Floats, better: int = 1, predicted: NDArray[Any] | None = None, labels: NDArray[Any] | None = None
) -> Shape:
    """Return the shape of the values of N runs.

    A run is outlying if it is over OUTLYING robust SDs from the median. The robust SD is 1.4826 times the median
    distance from it, or 1.2533 times the mean distance if that is 0 (Iglewicz & Hoaglin 1993, How to Detect and Handle
    Outliers). Skewness is tested as in D'Agostino 1970 (Biometrika 57; scipy.stats.skewtest).

    Args:
        values: `(N,)`. better: 1 if more is better, -1 if less is.
        predicted, labels: answers `(N, n)` and the truth `(n,)`, if they are known.
    """
    from scipy.stats import skewtest

    one_class = np.zeros(len(values), dtype=np.bool_)
    if predicted is not None and labels is not None and predicted.ndim == 2 and predicted.shape[1] >= FAR:
        several = labels.size == 0 or bool((labels != labels.flat[0]).any())
        one_class = np.array([several and bool((run == run[0]).all()) for run in predicted], dtype=np.bool_)
    if len(values) < FEWEST or not np.ptp(values):
        return Shape(_places(one_class), distinct=len(set(values.tolist())))
    distance = values - np.median(values)
    robust = 1.4826 * float(np.median(np.abs(distance))) or 1.2533 * float(np.abs(distance).mean())
    steps = distance / robust
    worse = (steps * better < -FAR) & ~one_class
    outlying = (np.abs(steps) > OUTLYING) & ~one_class & ~worse
    ties = [int(np.count_nonzero(values == end)) for end in (values.min(), values.max())]
    tied = max(ties) if max(ties) >= max(3.0, TIED * len(values)) else 0
    skewed = len(values) >= SHOWS_SKEW and float(skewtest(values).pvalue) <= SKEWED
    return Shape(_places(one_class), _places(worse), _places(outlying), skewed, tied, len(set(values.tolist())))


def _places(which: NDArray[np.bool_]) -> tuple[int, ...]:
    return tuple(np.flatnonzero(which).tolist())


def shape_words(shape: Shape, values: Floats, what: str, numbers: Sequence[object] = ()) -> list[str]:
    """Return the cautions, one sentence each; none if there is nothing to report.

    Args:
        what: the name of the values. numbers: those of the runs, for people; from 1 if left out.
    """
    number = list(numbers) or range(1, len(values) + 1)
    found: list[str] = []
    median = f"the median {what} is {np.median(values):.4g}"
    for places, said in (
        (shape.one_class, "collapsed, and answers only one class"),
        (shape.worse, f"collapsed: {median}, and the others are near it"),
        (shape.outlying, f"is outlying: {median}"),
    ):
        if places:
            listed = _listed([f"{number[place]} ({values[place]:.4g})" for place in places])
            verb = (
                said if len(places) == 1 else said.replace("is outlying", "are outlying").replace("answers", "answer")
            )
            found.append(f"{listed} {verb}.")
    causes: list[str] = []
    if shape.collapsed or shape.outlying:
        causes.append("of such runs")
    elif shape.skewed:
        causes.append(f"the {what} of runs is skewed")
    if shape.tied:
        causes.append(f"{shape.tied} of {len(values)} runs share the highest or lowest {what}, as at a ceiling")
    elif 1 < shape.distinct <= 3 and len(values) >= SHOWS_SKEW:
        causes.append(f"{len(values)} runs have only {shape.distinct} different values, as with few test examples")
    if causes:
        because = " and ".join(causes)
        found.append(
            f"Because {because}, the intervals of mean and SD may contain the true value less often than 95 times in "
            "100."
        )
    return found


def about(name: str, sentence: str) -> str:
    """Return a caution with the name of what it is about in front; the name of a run keeps its capitals."""
    first, _, rest = sentence.partition(" ")
    return f"{name}: {first.lower() if first in ('Run', 'Runs', 'Because') else first} {rest}"


def few_runs(numbers: Mapping[str, int]) -> str:
    """Return a caution about what so few runs cannot show; empty if there are enough.

    With fewer than FEW runs it is about the intervals. With more it is only about rare failures, until there are enough
    runs to show a failure that affects a share UNSEEN of all. `numbers`: runs that did not fail, by name.
    """
    several = {name: runs for name, runs in numbers.items() if runs > 1}
    few = {name: runs for name, runs in several.items() if runs < FEW}
    least = min(several.values(), default=0)
    if not several or unseen(least) <= UNSEEN:
        return ""
    named = few or {name: runs for name, runs in several.items() if unseen(runs) > UNSEEN}
    listed = _first([f"{name} {runs}" for name, runs in named.items()], SHOWN)
    share = f"{100 * unseen(least):.0f} %"
    if few:
        return (
            f"Intervals of fewer than {FEW} runs are rough ({listed}): they may contain the true value less "
            f"often than 95 times in 100, or be too wide. A failure that affects up to {share} of runs may not show in "
            f"{least}; use {FEW} runs or more."
        )
    return (
        f"Rare failures may not have shown yet ({listed}): one that affects up to {share} of runs may not show "
        f"in {least}, and the intervals leave it out."
    )


def unseen(runs: int) -> float:
    """Return the largest share of runs that may fail while so many show none with a chance of 5 %: about 3 / N.

    Source: Hanley & Lippman-Hand, "If nothing goes wrong, is everything all right?", JAMA 249, 1983.
    """
    return 1 - 0.05 ** (1 / runs)


def _listed(runs: Sequence[str]) -> str:
    plain = "" if runs[0][:3].lower() == "run" else "Run" + "s" * (len(runs) > 1) + " "
    return plain + _first(runs, NAMED)


def _first(names: Sequence[str], most: int) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
