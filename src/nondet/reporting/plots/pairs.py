"""How much every two runs disagree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nondet.analysis.results import Results
from nondet.reporting.plots.section import Drawing, Section
from nondet.reporting.plots.seen import Runs, Seen, keys_by_design
from nondet.reporting.plots.style import new, short
from nondet.stats.values import Floats

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Answered = NDArray[np.integer[Any]]

SHOWN = 240
"""Runs whose pairs are shown, about."""


def pairs(results: Results, runs: Runs) -> Section | None:
    """The section of all pairs of runs."""
    groups = _groups(results, runs)
    answers = [(name, [run.predicted for run in members if run.predicted is not None]) for name, members in groups]
    kind = "tokens" if results.kind.sampled else f"test {results.kind.example}s"
    return pairs_of(answers, kind, len(runs))


def pairs_of(
    groups: Sequence[tuple[str, Sequence[Answered]]], kind: str, among: int, what: str = "condition"
) -> Section | None:
    """The section of runs by name, of each its answers (n,). kind: of the examples. among: how many runs there are."""
    chosen = [run for _, members in groups for run in members]
    if len(chosen) < 2:
        return None
    matrix = disagreements(chosen)
    sizes = [(name, len(members)) for name, members in groups]
    within = "; ".join(f"{name} {share:.3g} %" for name, share in _within(matrix, sizes))
    left_out = f" Shown: {len(chosen)} of {among} runs, evenly chosen." if len(chosen) < among else ""
    drawing = Drawing(
        "pairs",
        f"Disagreement of every two runs, in percent of the {kind}, grouped by {what}. A run that several "
        f"{what}s share stands in the first of them.{left_out}",
        f"Heat map of the disagreement between {len(chosen)} runs: {_mean(matrix):.3g} % on average"
        + (f"; within one {what} {within}." if within else "."),
        heat(matrix, sizes, "disagreement of two runs (%)"),
    )
    text = (
        f"Each cell is two runs, and its colour the share of {kind} that they answer differently. A run unlike all "
        "others is a light cross; a group whose runs are alike is a dark square."
    )
    return Section("pairs", "Every pair of runs", text, (drawing,))


def _groups(results: Results, runs: Runs) -> list[tuple[str, list[Seen]]]:
    """The runs by the first condition that has them; evenly chosen where there are very many."""
    designs = keys_by_design(results, runs)
    most = max(2, SHOWN // max(1, len(designs)))
    taken: set[str] = set()
    groups: list[tuple[str, list[Seen]]] = []
    for name, all_keys in designs.items():
        keys = [key for key in all_keys if key not in taken]
        taken.update(keys)
        if keys:
            places = np.unique(np.linspace(0, len(keys) - 1, min(most, len(keys))).round().astype(np.int64))
            groups.append((name, [runs[keys[place]] for place in places]))
    return groups


def disagreements(runs: Sequence[Answered]) -> Floats:
    """Percent of examples on which two runs' answers differ, (M, M)."""
    answers = np.stack(list(runs))  # (M, n)
    return np.stack([100.0 * (answers != row).mean(axis=1) for row in answers])


def _within(matrix: Floats, sizes: Sequence[tuple[str, int]]) -> list[tuple[str, float]]:
    ends = np.cumsum([size for _, size in sizes])
    blocks = [(name, matrix[end - size : end, end - size : end]) for (name, size), end in zip(sizes, ends, strict=True)]
    return [(name, _mean(block)) for name, block in blocks if len(block) > 1]


def _mean(matrix: Floats) -> float:
    return float(matrix[np.triu_indices(len(matrix), 1)].mean())


def heat(matrix: Floats, groups: Sequence[tuple[str, int]], label: str) -> Figure:
    """A square of pairs of runs; a name and a number of runs for each group, in order."""
    figure, (axes,) = new(3.4)
    shown = axes.imshow(matrix, cmap="cividis", vmin=0.0, vmax=float(matrix.max()) or 1.0, interpolation="none")
    ends = np.cumsum([0, *(size for _, size in groups)])
    for end in ends[1:-1]:
        axes.axhline(end - 0.5, color="white", lw=0.8)
        axes.axvline(end - 0.5, color="white", lw=0.8)
    middles = (ends[1:] + ends[:-1] - 1) / 2
    axes.set_yticks(middles, [short(name) for name, _ in groups])
    axes.set_xticks(middles, [short(name) for name, _ in groups], rotation=90)
    axes.tick_params(length=0, labelsize=7.0 if len(groups) <= 12 else 5.0)
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    bar = figure.colorbar(shown, ax=axes, location="top", shrink=0.75, aspect=30, pad=0.015)
    bar.set_label(label)
    bar.ax.grid(False)
    return figure
