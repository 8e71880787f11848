"""How many runs it takes to see a difference of a given size, and what they cost."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from nondet.analysis.arm import Arm
from nondet.analysis.compare import check_criteria
from nondet.analysis.independence import without_copies
from nondet.errors import BadInput
from nondet.kinds import CLASSIFICATION
from nondet.measures.shape import few_runs
from nondet.records import Record, finding, picked
from nondet.stats.estimate import Estimate, number
from nondet.stats.looks import look_level, steps
from nondet.stats.power import LARGEST, runs_per_arm
from nondet.stats.spread import sd_of


@dataclass(frozen=True, repr=False)
class Plan(Record):
    """How many runs each of two arms needs for a two-sided t-test at `level` to find `effect` with the chance `power`.

    Attributes:
        effect: the difference of means to find, in the unit of the metric.
        sd: of the runs of either arm; for a pilot as in `nondet show`, with its 95 % interval.
        unbiased_sd: the same with ddof = 1.
        runs_per_arm: with `unbiased_sd`. low, high: with the ends of the SD's interval; None if there is none, or if
            more than a million are needed.
        pilot: the name of the pilot's arm; empty if the SD was given. pilot_runs: its independent runs.
        metric: of the difference; empty if it was not named. words: the pilot's metric in a sentence.
        seconds_per_run: mean of the pilot's recorded times, each a share of its stack's; None without a pilot.
        notes: what else a reader must know, a sentence each. sentence: the plan in words.
        copies: runs of the pilot that were left out, each with the earlier one that it equals or nearly equals.
        points: the unit of the effect, if it has one.
        looks: how often the runs are looked at, at about equal steps; `level` is that of each look.
        control: whether the pilot's control is exactly zero. probabilities: whether its outputs look like them.
    """

    effect: float
    power: float
    level: float
    sd: Estimate
    runs_per_arm: int
    unbiased_sd: float
    low: int | None = None
    high: int | None = None
    pilot: str = ""
    pilot_runs: int = 0
    metric: str = ""
    seconds_per_run: float | None = None
    notes: tuple[str, ...] = ()
    control: bool | None = None
    probabilities: bool = False
    copies: tuple[dict[str, int], ...] = ()
    points: str = ""
    sentence: str = ""
    looks: int = 1
    words: str = ""

    @property
    def all_notes(self) -> list[str]:
        """The notes, and a caution if there are few runs."""
        return [*self.notes, *filter(None, [few_runs({self.pilot: self.pilot_runs} if self.pilot else {})])]

    @property
    def runs_to_train(self) -> int:
        """What both arms need besides the runs of the pilot, which serves as one of them."""
        return self.runs_per_arm + max(0, self.runs_per_arm - self.pilot_runs)

    @property
    def seconds(self) -> float | None:
        """The time to train these runs on one machine like the pilot's."""
        return None if self.seconds_per_run is None else self.seconds_per_run * self.runs_to_train

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "runs_per_arm": self.runs_per_arm,
            "runs_per_arm_low": self.low,
            "runs_per_arm_high": self.high,
            "effect": self.effect,
            "sd": self.sd.value,
            "sd_unbiased": self.unbiased_sd,
            "sd_interval": {"low": number(self.sd.low), "high": number(self.sd.high)},
            **picked(self, "power level looks"),
            "look_after": steps(self.runs_per_arm, self.looks),
            "pilot": {"name": self.pilot, "metric": self.metric, "runs": self.pilot_runs} if self.pilot else None,
            **picked(self, "runs_to_train seconds_per_run seconds"),
            "run_hours": None if self.seconds is None else self.seconds / 3600,
            "copies": list(self.copies),
            "notes": self.all_notes,
            "sentence": self.sentence,
            **finding(self),
        }

    def tidy(self) -> dict[str, list[Any]]:
        """One row."""
        row = picked(self, "effect power level runs_per_arm low high pilot pilot_runs runs_to_train")
        row |= {"sd": self.sd.value, "sd_low": number(self.sd.low), "sd_high": number(self.sd.high)}
        return {name: [value] for name, value in row.items()}


def plan_with(
    sd: float, effect: float, power: float = 0.8, level: float = 0.05, metric: str | None = None, looks: int = 1
) -> Plan:
    """Make a plan for runs whose SD is known."""
    check_options(effect, power, level)
    check_criteria(None, None, looks)
    level = look_level(level, looks)
    if not 0 < sd < math.inf:
        raise BadInput(f"sd must be above 0 (got {sd}); give the SD of one run's metric, in the unit of the effect")
    runs = _needed(effect, sd, power, level)
    points = next((score.points for score in CLASSIFICATION.scores if score.name == metric), "")
    return Plan(effect, power, level, Estimate(sd), runs, sd, metric=metric or "", points=points, looks=looks)


def plan_from(pilot: Arm, effect: float, power: float = 0.8, level: float = 0.05, looks: int = 1) -> Plan:
    """Make a plan for runs that vary like those of a pilot."""
    check_options(effect, power, level)
    check_criteria(None, None, looks)
    level = look_level(level, looks)
    pilot = without_copies(pilot)
    sd, unbiased = pilot.sd, sd_of(pilot.values).value
    if not sd.value:
        raise BadInput(
            f"sd must be above 0, and all {len(pilot)} runs of {pilot.name} have the same {pilot.metric.words} "
            f"({pilot.values[0]:g}); use a pilot whose runs vary, or give <<sd>>"
        )
    runs = _needed(effect, unbiased, power, level)
    low, high = (runs_per_arm(effect, end, power, level) if sd.known else None for end in (sd.low, sd.high))
    return Plan(
        effect=effect,
        power=power,
        level=level,
        sd=sd,
        runs_per_arm=runs,
        low=low,
        high=high,
        pilot=pilot.name,
        pilot_runs=len(pilot),
        metric=pilot.metric.name,
        seconds_per_run=float(np.mean([made.seconds for made in pilot.runs.made])) if pilot.runs.made else None,
        notes=(*pilot.notes, *pilot.cautions),
        copies=pilot.copies,
        points=pilot.metric.points,
        control=pilot.control,
        probabilities=pilot.probabilities,
        looks=looks,
        unbiased_sd=unbiased,
        words=pilot.metric.words,
    )


def check_options(effect: float, power: float, level: float) -> None:
    """Refuse an effect that is not a finite number above 0, and a power or a level that is not a probability."""
    if not 0 < effect < math.inf:
        raise BadInput(f"effect must be above 0 (got {effect}); give the smallest difference that matters")
    for name, value, usual in (("power", power, 0.8), ("level", level, 0.05)):
        if not 0 < value < 1:
            raise BadInput(f"{name} must be above 0 and below 1 (got {value}); try {usual}")


def _needed(effect: float, sd: float, power: float, level: float) -> int:
    runs = runs_per_arm(effect, sd, power, level)
    if runs is None:
        raise BadInput(
            f"runs must be at most {LARGEST:,} for each arm, and an effect of {effect:g} with an SD of {sd:g} needs "
            "more; plan for a larger effect"
        )
    return runs
