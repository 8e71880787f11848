"""From which epoch on it matters that a source varies."""

from __future__ import annotations

from collections.abc import Sequence

from nondet.analysis.results import ConditionResult, Results
from nondet.reporting.plots.section import Drawing, Section, intervals, names_of, sentence, value
from nondet.reporting.plots.seen import Runs
from nondet.reporting.plots.spreads import COLUMNS
from nondet.reporting.plots.style import line_plot

SHOWN = ("disagreement", "accuracy.sd", "perplexity.sd")


def onsets(results: Results, runs: Runs) -> Section | None:
    """The section of conditions that differ in nothing but their onset."""
    groups: dict[str, list[ConditionResult]] = {}
    for c in sorted(results.conditions, key=lambda c: c.condition.onset):
        if c.effect is not None:
            groups.setdefault(c.condition.name.partition("@")[0], []).append(c)
    groups = {name: found for name, found in groups.items() if len(found) > 1}
    columns = [column for column in COLUMNS if column[0] in SHOWN]
    drawings = [_drawing(results, groups, *column) for column in columns] if groups else []
    text = (
        "Before its onset every run of a condition is one and the same training; from then on its sources vary. As "
        "long as a curve stays up, the epochs before hardly mattered."
    )
    found = tuple(drawing for drawing in drawings if drawing)
    return Section("onset", "When it matters", text, found) if found else None


def _drawing(
    results: Results, groups: dict[str, list[ConditionResult]], dotted: str, name: str, label: str
) -> Drawing | None:
    series = {group: _points(found, dotted) for group, found in groups.items()}
    series = {group: points for group, points in series.items() if points}
    if not series:
        return None
    known = intervals(results, dotted)
    bars = {
        group: {c.condition.onset: known[c.condition.name] for c in found if c.condition.name in known}
        for group, found in groups.items()
    }
    caption = (
        f"{sentence(label)}, by the epoch from which on the sources vary{', with 95 % intervals' if known else ''}."
    )
    described = ". ".join(
        f"{group}: " + ", ".join(f"{estimate:.3g} from epoch {at}" for at, estimate in points.items())
        for group, points in series.items()
    )
    figure = line_plot(series, bars, "onset (epoch)", label, among=names_of(results))
    return Drawing(f"onset-{name}", caption, f"{caption} {described}.", figure)


def _points(found: Sequence[ConditionResult], dotted: str) -> dict[int, float]:
    return {c.condition.onset: estimate for c in found if (estimate := value(c, dotted)) is not None}
