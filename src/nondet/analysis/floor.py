"""The noise floor of a recipe: how far its new runs may lie from the runs that are there, by chance alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nondet.analysis.numbers import Numbers
from nondet.errors import BadInput
from nondet.measures.figure import Score
from nondet.records import Record, finding, picked
from nondet.stats.intervals import FEWEST_WITH_TAILS
from nondet.stats.prediction import between_extremes, prediction_reach, unlike_normal
from nondet.stats.spread import sd_of

NOT_NORMAL = 0.01
"""Runs whose Shapiro-Wilk p-value is at most this get a caution."""


@dataclass(frozen=True, repr=False)
class Floor(Record):
    """Where the mean of new runs of the same recipe lies, in a share 1 - level of cases.

    Attributes:
        name: of the runs. metric: their number, and score, how it is written.
        mean, sd: of the runs (ddof = 1). runs: how many. new_runs: whose mean is predicted.
        floor: half the interval's width; a smaller difference from the mean of the runs is noise.
        low, high: the prediction interval, mean - floor to mean + floor.
        notes: what else a reader must know. sentence: the answer in words.
    """

    name: str
    metric: str
    score: Score
    mean: float
    sd: float
    runs: int
    new_runs: int
    level: float
    floor: float
    low: float
    high: float
    notes: tuple[str, ...]
    control: bool | None = None
    sentence: str = ""

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        found = picked(self, "metric mean sd runs new_runs level floor low high")
        return {**found, "notes": list(self.notes), "sentence": self.sentence, **finding(self)}

    def tidy(self) -> dict[str, list[Any]]:
        """One row."""
        return {name: [getattr(self, name)] for name in ("mean", "sd", "runs", "new_runs", "level", "low", "high")}


def floor(numbers: Numbers, new_runs: int = 1, level: float = 0.05) -> Floor:
    """Return the prediction interval for the mean of `new_runs` new runs; see `prediction_reach`."""
    values = numbers.values
    if new_runs < 1:
        raise BadInput(
            f"<<new_runs>> must be at least 1 (got {new_runs}); give the number of runs to be judged together"
        )
    if not 0 < level < 1:
        raise BadInput(f"level must be above 0 and below 1 (got {level}); try 0.05")
    if len(values) < 2:
        raise BadInput(f"runs must be at least 2 to show how much they vary (got {len(values)}); add repeats")
    mean, sd = float(values[0] + (values - values[0]).mean()), sd_of(values).value
    reach = prediction_reach(sd, len(values), new_runs, level)
    return Floor(
        name=numbers.name,
        metric=numbers.metric,
        score=numbers.score,
        mean=mean,
        sd=sd,
        runs=len(values),
        new_runs=new_runs,
        level=level,
        floor=reach,
        low=mean - reach,
        high=mean + reach,
        notes=(*numbers.notes, *cautions(numbers, sd)),
        control=numbers.control,
    )


def cautions(numbers: Numbers, sd: float) -> list[str]:
    """Return why an interval for normal values may miss more often than it says."""
    values, found = numbers.values, unlike_normal(numbers.values)
    if not sd:
        return [
            f"All {len(values)} runs have the same {numbers.score.words}, which says nothing about new ones: add runs."
        ]
    if found is not None and found <= NOT_NORMAL:
        inside = 100 * between_extremes(len(values))
        return [
            f"The runs are not normal (Shapiro-Wilk p = {found:.1g}), so the interval may miss more on one side. "
            f"Whatever the shape, one new run lies between the smallest and the largest of these, {values.min():g} and "
            f"{values.max():g}, with a chance of {inside:.0f} %."
        ]
    if len(values) < FEWEST_WITH_TAILS:
        return [f"{len(values)} runs do not show whether their values are normal, as the interval assumes."]
    return []
