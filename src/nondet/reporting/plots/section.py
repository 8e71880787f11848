"""What a section of the page is, and what the sections share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nondet.analysis.results import ConditionResult, Results

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Interval = tuple[float, float]

PANELS = 8
"""Conditions that have a panel each, those without a late onset first."""


@dataclass(frozen=True)
class Drawing:
    """A figure: its name, which is that of its file; what stands beside it; and the same for those who cannot see it,
    with the numbers."""

    name: str
    caption: str
    alternative: str
    figure: Figure


@dataclass(frozen=True)
class Section:
    """name: its place in the page's address. text: how to read its figures. table: its titles and its rows."""

    name: str
    heading: str
    text: str
    drawings: tuple[Drawing, ...] = ()
    table: tuple[tuple[str, ...], tuple[tuple[str, ...], ...]] | None = None


def names_of(results: Results) -> list[str]:
    """The names of a study's conditions, in order."""
    return [c.condition.name for c in results.conditions]


def value(c: ConditionResult, dotted: str) -> float | None:
    """A figure by its name in the JSON, such as accuracy.sd; None where a condition has none, or is dead."""
    found: Any = c.effect.as_dict() if c.effect else {}
    for name in dotted.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def intervals(results: Results, dotted: str) -> dict[str, Interval]:
    """The 95 % intervals of such a figure, by condition, where they are known."""
    known: dict[str, Interval] = {}
    for c in results.conditions:
        found: Any = (c.effect.as_dict() if c.effect else {}).get("intervals", {}).get(dotted)
        if found and None not in found:
            known[c.condition.name] = (found[0], found[1])
    return known


def sentence(label: str) -> str:
    """A label as the beginning of a sentence."""
    return label[0].upper() + label[1:]
