"""From which epoch it matters that a source varies."""

from __future__ import annotations

from nondet.analysis.results import ConditionResult, Results
from nondet.reporting.plots.section import Drawing, Section, estimates, names_of, sentence
from nondet.reporting.plots.seen import Runs
from nondet.reporting.plots.style import line_plot


def onsets(results: Results, runs: Runs) -> Section | None:
    """Return the section of conditions that differ only in their onset."""
    groups: dict[str, list[ConditionResult]] = {}
    for c in sorted(results.conditions, key=lambda c: c.condition.onset):
        if c.effect is not None:
            groups.setdefault(c.condition.name.partition("@")[0], []).append(c)
    groups = {name: found for name, found in groups.items() if len(found) > 1}
    first = f"{results.kind.scores[0].name}.sd"
    shown = [figure for figure in results.kind.figures if figure.name in (first, "disagreement")]
    drawings = [_drawing(results, groups, figure.name, figure.plot, figure.label) for figure in shown if groups]
    text = (
        "Before its onset, all runs of a condition are the same training; from then on, its sources vary. As "
        "long as a curve stays high, the earlier epochs hardly mattered."
    )
    found = tuple(drawing for drawing in drawings if drawing)
    return Section("onset", "When it matters", text, found) if found else None


def _drawing(
    results: Results, groups: dict[str, list[ConditionResult]], dotted: str, name: str, label: str
) -> Drawing | None:
    values, known = estimates(results, dotted)
    series = {
        group: {c.condition.onset: values[c.condition.name] for c in found if c.condition.name in values}
        for group, found in groups.items()
    }
    series = {group: points for group, points in series.items() if points}
    if not series:
        return None
    bars = {
        group: {c.condition.onset: known[c.condition.name] for c in found if c.condition.name in known}
        for group, found in groups.items()
    }
    title = f"{sentence(label)}, by the epoch from which the sources vary"
    described = ". ".join(
        f"{group}: " + ", ".join(f"{estimate:.3g} from epoch {at}" for at, estimate in points.items())
        for group, points in series.items()
    )
    figure = line_plot(series, bars, "onset (epoch)", label, among=names_of(results))
    caption = "Vertical lines are 95 % intervals." if known else ""
    return Drawing(f"onset-{name}", title, f"{title}. {described}. {caption}".strip(), figure, caption)
