"""The measures of a condition's runs: each is one object, from which table, JSON, page and rules follow.

A kind of task lists its measures; others can be added to it, see `nondet.kinds`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import NDArray

from nondet.measures import by_example
from nondet.stats.estimate import UNKNOWN, Estimate, certain
from nondet.stats.intervals import mean_estimate, sd_estimate
from nondet.stats.values import LARGEST_VALUE, Floats

Bounds = tuple[float, float]


@dataclass(frozen=True)
class Score:
    """One number for each run, such as its accuracy, by which runs are compared; its mean and its SD are measures.

    Attributes:
        name: in JSON. words: in a sentence. abbreviation: in titles, if it is not `words`.
        unit: that of its mean. points: that of a difference.
        better: 1 if more is better, -1 if less is.
        by_run: computes the numbers `(N,)` from the answers of N runs.
        bounds: the range of its mean. most: the largest possible SD.
        title, sd_title: titles of the columns for its mean and its SD in tables; without a title there is no column.
            plot: the name of the SD's figure. short: the title of its SD in the table of `nondet alike`.
        logits: whether it needs logits, and not only predicted classes.
        table: computes it by run and example `(N, n)`, in units of `unit_of_table`, if it is a mean over examples.
    """

    name: str
    words: str
    by_run: Callable[[Any], Floats]
    abbreviation: str = ""
    unit: str = ""
    points: str = ""
    better: int = 1
    decimals: int = 2
    bounds: Bounds = (-math.inf, math.inf)
    most: float = math.inf
    title: str = ""
    sd_title: str = ""
    plot: str = ""
    short: str = ""
    logits: bool = False
    table: Callable[[Any], NDArray[Any]] | None = None
    unit_of_table: float = 1.0

    @property
    def label(self) -> str:
        """The label of an axis of its values."""
        return f"test {self.words}" + (f" ({self.unit})" if self.unit else "")

    def figures(self) -> tuple[Figure, Figure]:
        """Return the measures of its mean and its SD over runs."""
        points = f" ({self.points})" if self.points else ""
        return (
            Figure(
                f"{self.name}.mean",
                lambda answers: self._estimate(mean_estimate, answers),
                label=self.label,
                words=f"the mean {self.words}",
                unit=self.unit,
                title=self.title,
                decimals=self.decimals,
                bounds=self.bounds,
                logits=self.logits,
                added=self._added(by_example.added_variance),
                share=self.bounds == (0.0, 100.0),
            ),
            Figure(
                f"{self.name}.sd",
                lambda answers: self._estimate(sd_estimate, answers),
                label=f"SD of {self.words}{points}",
                words=f"the {self.words} SD",
                unit=self.points,
                title=self.sd_title,
                decimals=self.decimals,
                plot=self.plot,
                bounds=(0.0, self.most),
                origin=0.0,
                logits=self.logits,
                added=self._added(by_example.sd_added),
                effect=self.by_run,
                spread=True,
                short=self.short,
                better=self.better,
            ),
        )

    def _estimate(self, estimate: Callable[[Floats], Estimate], answers: Any) -> Estimate:
        values = self.by_run(answers)
        return estimate(values) if values.max() <= LARGEST_VALUE else UNKNOWN  # the squares of larger ones overflow

    def _added(self, variance: Callable[..., float]) -> Callable[[Any], float] | None:
        table = self.table
        if table is None:
            return None
        return lambda answers: self.unit_of_table**2 * variance(table(answers), groups=getattr(answers, "groups", None))


def score(name: str, words: str, by_run: Callable[[Any], Floats], abbreviation: str = "", **rest: Any) -> Score:
    """Make a score whose titles follow from its words, apart from those in `rest`."""
    short = f"{abbreviation or words} SD"
    plot = f"{name.replace('_', '-')}-sd"
    made = Score(name, words, by_run, abbreviation, title=words, sd_title=short, plot=plot, short=short)
    return replace(made, **rest)


PERCENT: dict[str, Any] = {"unit": "%", "points": "points", "bounds": (0.0, 100.0), "most": 50.0}
"""What all scores that are percentages have."""


@dataclass(frozen=True)
class Figure:
    """One measure of a condition's runs.

    Attributes:
        name: dotted, as in JSON and in `--until`.
        compute: computes the measure with its error and interval over runs, from the answers of the runs.
        label: on an axis, with the unit. words: in a sentence. unit: that of the measure, if it has one.
        title, decimals: those of its column in tables; without a title there is no column. plot: the name of its
            figure, if it has one.
        bounds: its range. origin: its value if all runs are equal, which it never passes, if there is such a number;
            its distance from that value is skewed, so its interval is computed on the logarithm of the distance.
        logits: whether it needs logits, and not only predicted classes.
        added: computes the variance that drawing the test examples adds; without it, `--examples` changes nothing.
        sampled: whether it is measured on a sample of the examples if runs keep the logits of only a sample; errors
            and intervals are then for all examples, with or without `--examples`.
        share: whether it is a share of the examples in percent, which is skewed near 0 and 100.
        effect: computes a number for each run `(N,)`, larger if the effect is larger, which `nondet alike` compares by
            its mean, or by its SD if `spread`. short: its title there.
        better: that of its score.
        kinds: for a measure from another package, the kinds of task that have it.
    """

    name: str
    compute: Callable[[Any], Estimate]
    label: str = ""
    words: str = ""
    unit: str = ""
    title: str = ""
    decimals: int = 2
    plot: str = ""
    bounds: Bounds = (-math.inf, math.inf)
    origin: float | None = None
    logits: bool = False
    added: Callable[[Any], float] | None = None
    sampled: bool = False
    share: bool = False
    effect: Callable[[Any], Floats] | None = None
    spread: bool = False
    short: str = ""
    better: int = 1
    kinds: tuple[str, ...] = ()

    def estimate(self, answers: Any, drawn: int | None = None) -> Estimate:
        """Return the measure of these answers, with its error and its interval within the bounds.

        If all runs are equal, there is no error over runs. Runs that differ may still have the same value, such as
        those that are right on every example. That does not prove that all other runs would have it too, so the
        interval is unknown, although the formulas of the errors give 0.

        Args:
            drawn: how many test examples there are, if errors and intervals are for others too, drawn as these were.
        """
        if self.logits and answers.classes_alone:
            return UNKNOWN
        e = self.compute(answers)
        if self.sampled:
            drawn = drawn or getattr(answers, "sample", None)
        added = self.added(answers) if drawn and self.added else 0.0
        if answers.equal and not math.isnan(e.value):
            e, added = certain(e.value), 0.0 if math.isnan(added) else added
        elif e.low == e.high:
            e = Estimate(e.value, e.error)
        if drawn:
            e = (
                by_example.widened_share(e, added, drawn)
                if self.share
                else by_example.widened(e, added, drawn, self.origin)
            )
        if not (math.isfinite(e.low) and math.isfinite(e.high)):  # an infinite interval says nothing
            return Estimate(e.value, e.error)
        return e.within(self.bounds[0], max(self.bounds[1], e.value))  # an unbiased variance may pass the bound


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values by dotted name as nested dictionaries: {"a.b": 1} becomes {"a": {"b": 1}}."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        *parents, last = name.split(".")
        place = found
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    return found


def columns(figures: Sequence[Figure]) -> list[Figure]:
    """Return the measures that have a column in tables."""
    return [figure for figure in figures if figure.title]
