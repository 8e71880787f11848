"""How well the runs do, and how certain the table's numbers are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from nondet.analysis.results import Results
from nondet.measures.figure import Figure as Figures
from nondet.measures.figure import Score
from nondet.reporting.finding import capital
from nondet.reporting.plots.section import Drawing, Interval, Runs, Section, by_design, estimates, names_of
from nondet.reporting.plots.style import COLOURS, INK, MARKERS, colours_of, log_axis, new, short
from nondet.stats.values import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MANY = 2000
"""Above this many dots, a figure stores them as one picture."""

FEW = 12
"""Up to this many dots in a row, there is room for large ones."""


def accuracies(results: Results, runs: Runs) -> Section | None:
    """Return the section of every run's score."""
    score = results.kind.scores[0]
    values = {name: np.array([run.performance for run in seen]) for name, seen in by_design(results, runs).items()}
    values = {name: v[np.isfinite(v)] for name, v in values.items() if np.isfinite(v).any()}  # perplexity may overflow
    if not values:
        return None
    known = {c: i for c, i in estimates(results, f"{score.name}.mean")[1].items() if c in values}
    return dots(score, values, known, names_of(results))


def dots(
    score: Score,
    values: Mapping[str, Floats],
    known: Mapping[str, Interval],
    among: Sequence[str],
    what: str = "condition",
) -> Section:
    """Return the section of every run's score by name, with the mean and its interval."""
    name, label = score.name, score.label
    described = "; ".join(
        f"{condition}: {len(v)} runs from {v.min():.4g} to {v.max():.4g}, mean {v.mean():.4g}"
        for condition, v in values.items()
    )
    drawing = Drawing(
        name,
        f"{capital(label)} of every run, by {what}",
        f"Dot plot of {label} by {what}. {described}.",
        strip(values, known, label, among),
        f"The vertical stroke is the mean{', and the line through it is its 95 % interval' if known else ''}.",
    )
    better = "higher" if score.better > 0 else "lower"
    number = f"{{:.{_decimals(np.concatenate(list(values.values())), score.decimals)}f}}".format
    table = (
        (what, "lowest", "median", "highest"),
        tuple((row, number(v.min()), number(np.median(v)), number(v.max())) for row, v in values.items()),
    )
    text = f"One dot is one run; {better} is better."
    return Section("runs", f"{capital(name)} of every run", text, (drawing,), table)


def _decimals(values: Floats, most: int) -> int:
    """Return as few decimals as these values need, and no more than `most`."""
    return next((d for d in range(most) if np.allclose(values, values.round(d), rtol=0, atol=1e-9)), most)


def strip(runs: Mapping[str, Floats], means: Mapping[str, Interval], label: str, among: Sequence[str] = ()) -> Figure:
    """Draw every run's value as a dot, in a row for each name, with the mean and its 95 % interval, if there is one."""
    figure, (axes,) = new(0.45 + 0.3 * len(runs))
    width = float(np.ptp(np.concatenate(list(runs.values())))) / 70
    many = sum(map(len, runs.values())) > MANY
    size = 2.6 if max(map(len, runs.values())) > FEW else 4.0
    colours = colours_of(list(runs), among)
    for row, (name, values) in enumerate(runs.items()):
        axes.plot(
            values,
            row + _beside(values, width),
            "o",
            ms=size,
            mew=0,
            color=colours[name],
            alpha=0.65,
            zorder=3,
            rasterized=many,
        )
        if name in means:
            axes.plot(means[name], [row, row], color=INK, lw=1.0)
        axes.plot([float(values.mean())], [row], "|", color=INK, ms=10, mew=1.4)
    _rows(axes, list(runs))
    axes.set_xlabel(label)
    return figure


def _beside(values: Floats, width: float) -> Floats:
    """Return offsets, at most 0.36, that put values closer than `width` side by side."""
    bins = np.round((values - values.min()) / width).astype(np.int64) if width else np.zeros(len(values), np.int64)
    offsets = np.zeros(len(values))
    for place in np.unique(bins):
        inside = np.flatnonzero(bins == place)
        offsets[inside] = np.arange(len(inside)) - (len(inside) - 1) / 2
    return offsets * min(0.11, 0.36 / max(1.0, float(np.abs(offsets).max())))


def columns(results: Results, runs: Runs) -> Section | None:
    """Return the section of the table's columns as figures, with their intervals."""
    return intervals(results.kind.figures, lambda name: estimates(results, name), names_of(results))


def intervals(
    figures: Sequence[Figures],
    find: Callable[[str], tuple[dict[str, float], dict[str, Interval]]],
    among: Sequence[str],
    what: str = "condition",
) -> Section | None:
    """Return the section of the figures that have a plot; `find` returns a figure's values and intervals, by name."""
    drawings: list[Drawing] = []
    for figure in figures:
        values, known = find(figure.name)
        if not figure.plot or not values:
            continue
        title = f"{capital(figure.label)}, by {what}"
        picture = forest(values, known, figure.label, among, anchor=figure.origin or 0.0)
        shown = f"{title}{', with 95 % intervals' if known else ''}. {listed(values, known)}."
        drawings.append(Drawing(figure.plot, title, shown, picture))
    lines = "A line is a 95 % interval. " if any(find(figure.name)[1] for figure in figures if figure.plot) else ""
    text = (
        f"The numbers of each {what}. {lines}If two intervals do not overlap, chance alone hardly explains the "
        "difference, unless the two were picked from many. If they overlap, that does not make the two alike; the "
        "commands `compare` and `alike` test it."
    )
    return Section("intervals", "How sure the numbers are", text, tuple(drawings)) if drawings else None


def listed(values: Mapping[str, float], known: Mapping[str, Interval]) -> str:
    """Return estimates by name as text, with their intervals."""
    return "; ".join(
        f"{name} {estimate:.3g}" + (f" ({known[name][0]:.3g} to {known[name][1]:.3g})" if name in known else "")
        for name, estimate in values.items()
    )


def forest(
    values: Mapping[str, float],
    known: Mapping[str, Interval],
    label: str,
    among: Sequence[str] = (),
    anchor: float | None = 0.0,
    coloured: bool = True,
) -> Figure:
    """Draw a value for each name, and its 95 % interval if there is one.

    anchor: a number that the axis must include, unless it is logarithmic, as it is if one row would leave the others no
        room. coloured: whether each name has its own colour.
    """
    figure, (axes,) = new(0.45 + 0.19 * len(values))
    colours = colours_of(list(values), among) if coloured else dict.fromkeys(values, COLOURS[0])
    for row, (name, estimate) in enumerate(values.items()):
        colour = colours[name]
        if name in known:
            axes.plot(known[name], [row, row], color=colour, lw=1.6, solid_capstyle="butt")
        axes.plot([estimate], [row], MARKERS[COLOURS.index(colour)], color=colour, ms=4.5, mew=0, clip_on=False)
    _rows(axes, list(values))
    if _stretched(values, known):
        log_axis(axes, "x")
    elif anchor is not None:
        _reach(axes, anchor)
    axes.set_xlabel(label)
    return figure


STRETCH = 4
"""How many times further than the middle row the furthest may reach on an axis that is not logarithmic."""


def _stretched(values: Mapping[str, float], known: Mapping[str, Interval]) -> bool:
    """Whether one row would leave the others no room; never if some numbers are not above 0."""
    begins = [known[name][0] if name in known else value for name, value in values.items()]
    ends = [known[name][1] if name in known else value for name, value in values.items()]
    return min(begins) > 0 and max(ends) > STRETCH * float(np.median(ends))


def _reach(axes: Axes, anchor: float) -> None:
    """Make the horizontal axis include a number, at its very end if all others are on one side of it."""
    low, high = axes.dataLim.intervalx
    if low >= anchor:
        axes.set_xlim(left=anchor, right=high + 0.04 * (high - anchor) if high > anchor else anchor + 1.0)
    elif high <= anchor:
        axes.set_xlim(left=low - 0.04 * (anchor - low), right=anchor)


def _rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), [short(name) for name in names])
    axes.set_ylim(len(names) - 0.45, -0.55)
    axes.grid(False, axis="y")
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.margins(x=0.04)
    axes.locator_params(axis="x", nbins=6)
    axes.ticklabel_format(axis="x", useOffset=False)
