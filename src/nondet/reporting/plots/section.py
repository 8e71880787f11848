"""What a section of the page is, and what the sections share: estimates, and what they need of each run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nondet.analysis.reader import Reader
from nondet.analysis.results import Results
from nondet.measures.measured import Measures
from nondet.stats.values import Floats
from nondet.study.study import Study

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Interval = tuple[float, float]

PANELS = 8
"""How many conditions get a panel each, those without a late onset first."""


@dataclass(frozen=True)
class Drawing:
    """A figure: its name, which is also its file's; its title; and what it shows, with the numbers, for those who
    cannot see it. caption: the text below it, if its axes do not say everything."""

    name: str
    title: str
    alternative: str
    figure: Figure
    caption: str = ""


@dataclass(frozen=True)
class Section:
    """name: its anchor on the page. text: how to read its figures. table: its titles and its rows."""

    name: str
    heading: str
    text: str
    drawings: tuple[Drawing, ...] = ()
    table: tuple[tuple[str, ...], tuple[tuple[str, ...], ...]] | None = None


def names_of(results: Results) -> list[str]:
    """Return the names of a study's conditions, in order."""
    return [c.condition.name for c in results.conditions]


def estimates(results: Results, name: str) -> tuple[dict[str, float], dict[str, Interval]]:
    """Return an estimate for each condition that has it and is not dead, and its 95 % interval where known."""
    return estimates_of({c.condition.name: c.effect for c in results.conditions if c.effect}, name)


def estimates_of(measures: Mapping[str, Measures], name: str) -> tuple[dict[str, float], dict[str, Interval]]:
    """Return an estimate for each of these that has it, and its 95 % interval where known."""
    found = {condition: m.get(name) for condition, m in measures.items()}
    values = {condition: e.value for condition, e in found.items() if math.isfinite(e.value)}
    return values, {condition: (e.low, e.high) for condition, e in found.items() if math.isfinite(e.low)}


@dataclass(frozen=True)
class Seen:
    """A run that did not fail.

    performance: its first score, such as test accuracy in percent. predicted: its answers on the test set, (n,), if
        they are classes. curves: its training curves, (epochs,), by name.
    """

    performance: float
    predicted: NDArray[np.int32] | None
    curves: Mapping[str, Floats]


Runs = Mapping[str, Seen]
"""The finished runs of a study that did not fail, by key."""


def look_at(study: Study) -> Runs:
    """Return every such run of the designs, reading one condition's runs at a time."""
    reader, found = Reader(study), dict[str, Seen]()
    for design in study.designs:
        runs = reader.runs(design)
        if not len(runs):
            continue
        both = runs if len(runs) > 1 else replace(runs, arrays={n: a.repeat(2, axis=0) for n, a in runs.arrays.items()})
        scores = runs.kind.scores[0].by_run(both.answers)  # it needs at least two runs
        predicted = getattr(both.answers, "predicted", None)
        curves = {name: curve.astype(np.float64) for name, curve in runs.curves.items()}
        for row, made in enumerate(runs.made):
            if made.key not in found:
                answers = None if predicted is None else predicted[row].astype(np.int32)
                found[made.key] = Seen(float(scores[row]), answers, {name: c[row] for name, c in curves.items()})
    return found


def keys_by_design(results: Results, runs: Runs) -> dict[str, list[str]]:
    """Return these runs' keys, in order, by condition that is not dead; a crossed design comes last, as `crossed`."""
    study = results.study
    designs = {c.condition.name: c.condition for c in results.conditions if not c.dead}
    designs |= {"crossed": study.crossed} if study.crossed else {}
    return {name: [spec.key for spec in study.specs_of(design) if spec.key in runs] for name, design in designs.items()}


def by_design(results: Results, runs: Runs) -> dict[str, list[Seen]]:
    """Return these runs, in order, by condition that is not dead, or by design."""
    return {name: [runs[key] for key in keys] for name, keys in keys_by_design(results, runs).items()}
