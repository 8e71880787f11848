"""What some designs show: how sources act together, from which epoch they matter, and what the layers represent."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from nondet.analysis.results import ConditionResult, Results
from nondet.reporting import crossing as components
from nondet.reporting.finding import capital
from nondet.reporting.plots.section import PANELS, Drawing, Runs, Section, estimates, names_of
from nondet.reporting.plots.spreads import forest, listed
from nondet.reporting.plots.style import INK, SMALLEST, line_plot, new, short
from nondet.stats.values import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NUMBERED = 6
"""Up to this many epochs, a cell has room for its number."""


def crossing(results: Results, runs: Runs) -> Section | None:
    """Return the section of a crossed design."""
    found = results.crossing
    if found is None:
        return None
    design = found.design
    text = (
        f"Every combination of {design.levels} seeds of {', '.join(design.vary)} is one run. That shows how much of "
        "the variance each of these sources causes alone, and how much they cause together."
    )
    table = (components.head(found), tuple(components.rows(found))) if found.disagreement else None
    parts = found.split[found.performance].parts if found.performance in found.split else ()
    shares = {
        components.TIMES.join(design.vary[axis] for axis in axes): part.share
        for axes, part in parts
        if not found.is_dead(axes)
    }
    estimates = {name: 100 * share.value for name, share in shares.items() if not math.isnan(share.value)}
    if not estimates:
        return Section("crossed", "Sources crossed", text, (), table)
    known = {name: (100 * share.low, 100 * share.high) for name, share in shares.items() if not math.isnan(share.low)}
    label = f"share of the variance of {found.performance} (%)"
    title = f"S{label[1:]} by what varies"
    shown = f"{title}{', with 95 % intervals' if known else ''}. {listed(estimates, known)}."
    caption = "A line is a 95 % interval." if known else ""
    drawing = Drawing("crossed-shares", title, shown, forest(estimates, known, label), caption)
    return Section("crossed", "Sources crossed", text, (drawing,), table)


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
    title = f"{capital(label)}, by the epoch from which the sources vary"
    described = ". ".join(
        f"{group}: " + ", ".join(f"{estimate:.3g} from epoch {at}" for at, estimate in points.items())
        for group, points in series.items()
    )
    figure = line_plot(series, bars, "onset (epoch)", label, among=names_of(results))
    caption = "Vertical lines are 95 % intervals." if known else ""
    return Drawing(f"onset-{name}", title, f"{title}. {described}. {caption}".strip(), figure, caption)


def representations(results: Results, runs: Runs) -> Section | None:
    """Return the section of CKA, if a study was tracked."""
    able = [c for c in results.conditions if not c.dead and any(s["cka_unbiased"] is not None for s in c.similarity)]
    looked = sorted(able, key=lambda c: c.condition.onset > 0)[:PANELS]
    if not looked:
        return None
    names = list(dict.fromkeys(s["layer"] for c in looked for s in c.similarity))
    at = sorted({s["epoch"] for c in looked for s in c.similarity})
    grids: dict[str, Floats] = {}
    for c in looked:
        grid = grids[c.condition.name] = np.full((len(names), len(at)), np.nan)
        for s in c.similarity:
            if s["cka_unbiased"] is not None:
                grid[names.index(s["layer"]), at.index(s["epoch"])] = s["cka_unbiased"]
    title = "CKA by layer and epoch, a panel for each condition"
    described = "; ".join(f"{name}: {_range(grid, names, at)}" for name, grid in grids.items())
    text = (
        "Linear CKA compares two runs' activations on the same test examples: it is 1 if one is the other "
        "rotated, mirrored or scaled, and about 0 if they have nothing in common."
        + (f" Shown: {len(looked)} of {len(able)} conditions." if len(looked) < len(able) else "")
    )
    picture = layers(grids, names, at, "CKA of two runs")
    drawing = Drawing("cka", title, f"{title}. {described}.", picture, "Unbiased; the mean over pairs of runs.")
    return Section("representations", "What the layers represent", text, (drawing,))


def _range(grid: Floats, names: Sequence[str], at: Sequence[int]) -> str:
    row, column = divmod(int(np.nanargmin(grid)), grid.shape[1])
    return (
        f"lowest {grid[row, column]:.2f} (layer {names[row]}, after epoch {at[column]}), highest {np.nanmax(grid):.2f}"
    )


def layers(grids: Mapping[str, Floats], names: Sequence[str], at: Sequence[int], label: str) -> Figure:
    """Draw a value from 0 to 1 for each layer (row) and epoch (column), in a panel for each name; NaN stays empty."""
    height = max(0.16 * len(names), 0.5) + 0.2
    figure, panels = new(0.75 + height * len(grids), nrows=len(grids), sharex=True)
    for axes, (name, grid) in zip(panels, grids.items(), strict=True):
        axes.imshow(grid, cmap="cividis", vmin=0.0, vmax=1.0, aspect="auto", interpolation="none")
        axes.set_yticks(range(len(names)), [short(layer) for layer in names])
        axes.set_xticks(range(len(at)), [str(epoch) for epoch in at])
        axes.set_title(short(name))
        axes.tick_params(length=0)
        axes.grid(False)
        if len(at) <= NUMBERED:
            _numbers(axes, grid)
    panels[-1].set_xlabel("after epoch")
    bar = figure.colorbar(panels[0].images[0], ax=panels, location="top", shrink=0.6, aspect=30, pad=0.01)
    bar.set_label(label)
    bar.ax.grid(False)
    return figure


def _numbers(axes: Axes, grid: Floats) -> None:
    for (row, column), number in np.ndenumerate(grid):
        if np.isfinite(number):
            colour = "white" if number < 0.53 else INK
            shown = f"{round(number, 2) + 0.0:.2f}"
            axes.text(column, row, shown, ha="center", va="center", fontsize=SMALLEST, color=colour)
