"""The spread of scores from elsewhere: each arm's mean and SD, with their errors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from nondet.analysis.score_arms import score_of
from nondet.analysis.scores import ScoredArm
from nondet.measures.shape import about, few_runs, shape_of, shape_words
from nondet.records import Record, finding, picked
from nondet.stats.estimate import UNKNOWN, Estimate, listed, number
from nondet.stats.intervals import mean_estimate
from nondet.stats.spread import sd_of
from nondet.stats.values import Floats, sd_error


@dataclass(frozen=True)
class ArmScores:
    """One arm's runs by one metric, on one data set.

    mean: over the sound runs, with its error and Student's 95 % interval. sd: with ddof = 1, its bootstrap error, and
    the 95 % interval of every table. Both are in the unit of the scores. runs: including the failed ones.
    notes: why these intervals may miss the truth more often than they say.
    """

    name: str
    metric: str
    runs: int
    failed: int
    mean: Estimate
    sd: Estimate
    dataset: str = ""
    notes: tuple[str, ...] = ()
    values: Floats = field(default_factory=lambda: np.empty(0), repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        return {
            **picked(self, "name dataset runs failed" if self.dataset else "name runs failed"),
            **listed({"mean": self.mean, "sd": self.sd}),
        }


@dataclass(frozen=True, repr=False)
class ScoreMeasures(Record):
    """The arms of some scores; `found["base"]` is the first one of this name."""

    arms: tuple[ArmScores, ...]

    @property
    def notes(self) -> list[str]:
        """Why the intervals may miss the truth more often than they say, a sentence each."""
        few = few_runs({arm.name: len(arm.values) for arm in self.arms})
        return [*filter(None, [few]), *dict.fromkeys(note for arm in self.arms for note in arm.notes)]

    @property
    def metrics(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(arm.metric for arm in self.arms))

    def __getitem__(self, name: str) -> ArmScores:
        return next(arm for arm in self.arms if arm.name == name)

    def to_dict(self) -> dict[str, Any]:
        """The JSON of `nondet measure` for scores: one metric with its arms, or a list of several."""
        found: list[dict[str, Any]] = [
            {"metric": metric, "arms": [arm.to_dict() for arm in self.arms if arm.metric == metric]}
            for metric in self.metrics
        ]
        notes = [note for arm in self.arms for note in arm.notes]
        parts = found[0] if len(found) == 1 else {"metrics": found}
        return parts | ({"notes": notes} if notes else {}) | finding(self)

    def tidy(self) -> dict[str, list[Any]]:
        """A row for each arm and metric."""
        names = ("name", "metric", "dataset", "runs", "failed")
        found: Mapping[str, list[Any]] = {name: [getattr(arm, name) for arm in self.arms] for name in names}
        sides = {
            f"{figure}_{side}": [number(getattr(getattr(arm, figure), side)) for arm in self.arms]
            for figure in ("mean", "sd")
            for side in ("value", "error", "low", "high")
        }
        return {**found, **sides}


def measure_scores(arms: Sequence[ScoredArm], dropped: bool = False) -> ScoreMeasures:
    """Return the mean and the SD of each arm, with errors over its runs; unknown for fewer than two sound runs.

    dropped: whether failed runs are left out of the count.
    """
    return ScoreMeasures(tuple(_measured(replace(arm, failed=0) if dropped else arm) for arm in arms))


def _measured(arm: ScoredArm) -> ArmScores:
    mean, sd = mean_and_sd(arm.values)
    where = f"{arm.name}, {arm.dataset}" if arm.dataset else arm.name
    shape = shape_of(arm.values, score_of(arm.metric).better)
    notes = tuple(about(where, note) for note in shape_words(shape, arm.values, arm.metric, arm.names))
    runs = len(arm.values) + arm.failed
    return ArmScores(arm.name, arm.metric, runs, arm.failed, mean, sd, arm.dataset, notes, arm.values)


def mean_and_sd(values: Floats) -> tuple[Estimate, Estimate]:
    """Return the mean and the SD (ddof = 1) of scores `(N,)`, as far as they are known."""
    runs = len(values)
    if runs < 2:
        return (Estimate(float(values[0])) if runs else UNKNOWN), UNKNOWN
    mean, spread = mean_estimate(values), sd_of(values)
    if mean.low == mean.high:  # equal runs do not show how far others would spread
        mean = Estimate(mean.value, mean.error)
    return mean, Estimate(spread.value, math.sqrt(runs / (runs - 1)) * sd_error(values), spread.low, spread.high)
