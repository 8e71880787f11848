"""All measures of a condition's runs in one record, each with its error and interval."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from nondet.errors import BadInput
from nondet.measures.figure import Figure, nested
from nondet.measures.shape import shape_of, shape_words
from nondet.records import Record, finding
from nondet.stats import looks
from nondet.stats.estimate import UNKNOWN, Estimate, interval, number
from nondet.stats.values import LARGEST_VALUE


@dataclass(frozen=True, repr=False)
class Measures(Record):
    """The measures of some runs by dotted name: `found["accuracy.sd"]` is an `Estimate`.

    Attributes:
        figures: what was measured, in the order of the JSON.
        estimates: the estimate of each measure, by name.
        runs: how many runs there are, including failed ones.
        failed: how many of them failed; nothing else here counts them.
        sd_errors: for each score the bootstrap error of its SD, over runs alone.
        copies: the number of each run that was left out -> that of the earlier run that it equals, counted from 1.
        near: the same for each run that is too near an earlier one to be a separate training.
        sampled_pairs: how many pairs the ensembles' gains come from, if not from all.
        drawn: whether errors and intervals hold for other test examples too.
        classes_alone: whether only predicted classes are known. probabilities: whether outputs look like
            probabilities, although they should be logits.
        notes: why intervals may miss the true value more often than they say, judging by the first score.
        name: that of the runs, for people.
    """

    figures: tuple[Figure, ...]
    estimates: Mapping[str, Estimate]
    runs: int
    failed: int = 0
    sd_errors: Mapping[str, float] = field(default_factory=dict[str, float])
    copies: Mapping[int, int] = field(default_factory=dict[int, int])
    near: Mapping[int, int] = field(default_factory=dict[int, int])
    sampled_pairs: int | None = None
    drawn: bool = False
    classes_alone: bool = False
    probabilities: bool = False
    notes: tuple[str, ...] = ()
    name: str = "outputs"

    def __getitem__(self, name: str) -> Estimate:
        if name not in self.estimates:
            raise BadInput(f"these runs have no measure {name!r}; choose from {', '.join(self.estimates)}")
        return self.estimates[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.estimates)

    def get(self, name: str) -> Estimate:
        """Return the estimate of this name; an unknown one if these runs do not have it."""
        return self.estimates.get(name, UNKNOWN)

    @property
    def sound(self) -> int:
        """How many runs did not fail."""
        return self.runs - self.failed

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON of `nondet measure`: one condition, and the finding."""
        return {**self.as_condition(), **finding(self)}

    def as_condition(self) -> dict[str, Any]:
        """Return the JSON of one condition, with None for NaN."""
        values = {name: number(e.value) for name, e in self.estimates.items()}
        for name, error in self.sd_errors.items():
            values[f"{name}.sd_error"] = number(error)
        found = {"runs": self.runs, "failed": self.failed, **nested(values)}
        found["errors"] = {name: number(e.error) for name, e in self.estimates.items()}
        found["intervals"] = {name: interval(e) for name, e in self.estimates.items()}
        if self.copies or self.near:
            found["copies"] = listed_copies(self.copies, self.near)
        if self.sampled_pairs:
            gains = [name for name in self.estimates if name.startswith("ensemble_delta.")]
            found["sampled_pairs"] = dict.fromkeys(gains, self.sampled_pairs)
        return found

    def tidy(self) -> dict[str, list[Any]]:
        """Return a row for each measure: its name, value, error, and the ends of its 95 % interval."""
        rows = [e.to_dict() for e in self.estimates.values()]
        return {"figure": list(self.estimates), **{side: [row[side] for row in rows] for side in UNKNOWN.to_dict()}}


def listed_copies(copies: Mapping[int, int], near: Mapping[int, int]) -> list[dict[str, int]]:
    """List for JSON each run that was left out, and the earlier run that it equals or is near to."""
    exact = [{"run": run, "equal_to": first} for run, first in copies.items()]
    return exact + [{"run": run, "near": first} for run, first in near.items()]


def measured(
    figures: Sequence[Figure],
    answers: Any,
    failed: int = 0,
    drawn: bool = False,
    copies: Mapping[int, int] | None = None,
    name: str = "outputs",
) -> Measures:
    """Return every measure of the answers of N runs that did not fail, at least two.

    Args:
        figures: those of the answers' kind. failed: how many other runs failed.
        drawn: whether errors and intervals should hold for other test examples too, drawn as these were.
    """
    if failed < 0:
        raise BadInput(f"failed runs must be 0 or more (got {failed}); count the runs that left no outputs")
    groups = getattr(answers, "groups", None)
    count = answers.examples if groups is None else int(groups.max()) + 1
    estimates = {figure.name: figure.estimate(answers, count if drawn else None) for figure in figures}
    spreads = [figure for figure in figures if figure.spread]
    over_runs = estimates if not drawn else {figure.name: figure.estimate(answers) for figure in spreads}
    errors = {figure.name.removesuffix(".sd"): over_runs[figure.name].error for figure in spreads}
    gains = [e.value for name, e in estimates.items() if name.startswith("ensemble_delta.")]
    return Measures(
        figures=tuple(figures),
        estimates=estimates,
        runs=answers.runs + failed,
        failed=failed,
        sd_errors=errors,
        copies=copies or {},
        sampled_pairs=answers.sampled_pairs if gains and not math.isnan(gains[0]) else None,
        drawn=drawn,
        classes_alone=answers.classes_alone,
        probabilities=getattr(answers, "probabilities", False),
        notes=(*_notes(spreads, answers), *getattr(answers, "cautions", ())),
        name=name,
    )


def after_rule(found: Measures) -> Measures:
    """Return the same for runs that were added until an error was small enough; their intervals are wider."""
    widened = {
        figure.name: looks.after_rule(e, found.sound, figure.origin).within(
            figure.bounds[0], max(figure.bounds[1], e.value)
        )
        for figure, e in zip(found.figures, found.estimates.values(), strict=True)
    }
    return replace(found, estimates=widened)


def _notes(spreads: Sequence[Figure], answers: Any) -> list[str]:
    """Return what the values of the first score say about their intervals."""
    known = (figure for figure in spreads if figure.effect and not (figure.logits and answers.classes_alone))
    figure = next(known, None)
    if figure is None or figure.effect is None:
        return []
    values = figure.effect(answers)
    if not (np.abs(values) <= LARGEST_VALUE).all():
        return []
    shape = shape_of(values, figure.better, getattr(answers, "predicted", None), getattr(answers, "labels", None))
    return shape_words(shape, values, figure.name.removesuffix(".sd").replace("_", "-"))


def not_measured(figures: Sequence[Figure], runs: int, failed: int) -> dict[str, Any]:
    """Return the JSON of a condition with fewer than two runs that did not fail."""
    spreads = {figure.name.removesuffix(".sd"): math.nan for figure in figures if figure.spread}
    unknown = {figure.name: UNKNOWN for figure in figures}
    return Measures(tuple(figures), unknown, runs, failed, spreads).as_condition()
