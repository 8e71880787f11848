"""What the layers represent: CKA by layer and epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from nondet.analysis.results import Results
from nondet.reporting.plots.section import PANELS, Drawing, Section
from nondet.reporting.plots.seen import Runs
from nondet.reporting.plots.style import INK, SMALLEST, new, short
from nondet.stats.values import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NUMBERED = 6
"""Up to this many epochs, a cell has room for its number."""


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
