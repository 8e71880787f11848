"""What a section of the page is, and what the sections share."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nondet.analysis.results import Results
from nondet.measures.measured import Measures

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


def sentence(label: str) -> str:
    """Capitalise a label, to begin a sentence."""
    return label[0].upper() + label[1:]
