"""How much each pair of runs disagrees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nondet.analysis.outside import Outside
from nondet.analysis.results import Results
from nondet.reporting.plots.section import Drawing, Runs, Section, keys_by_design
from nondet.reporting.plots.style import new, short
from nondet.stats.values import Floats

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Answered = NDArray[np.integer[Any]]

SHOWN = 240
"""About how many runs' pairs are shown."""


def pairs(results: Results, runs: Runs) -> Section | None:
    """Return the section of all pairs of runs."""
    designs = keys_by_design(results, runs)
    most = max(2, SHOWN // max(1, len(designs)))
    taken: set[str] = set()
    answers: list[tuple[str, list[Answered]]] = []
    for name, all_keys in designs.items():  # a run is shown in the first condition that has it
        keys = [key for key in all_keys if key not in taken]
        taken.update(keys)
        if keys:
            chosen = [runs[keys[place]].predicted for place in _evenly(len(keys), most)]
            answers.append((name, [predicted for predicted in chosen if predicted is not None]))
    kind = "tokens" if results.kind.sampled else f"test {results.kind.example}s"
    return pairs_of(answers, kind, len(runs))


def pairs_outside(found: Outside) -> Section | None:
    """Return the section of all pairs of runs made elsewhere."""
    most = max(2, SHOWN // len(found.arms))
    groups = [
        (name, list(arm.predictions[_evenly(len(arm), most)]))
        for name, arm in found.arms.items()
        if arm.predictions is not None
    ]
    return pairs_of(groups, f"test {found.kind.example}s", sum(map(len, found.arms.values())), "arm")


def pairs_of(
    groups: Sequence[tuple[str, Sequence[Answered]]], kind: str, among: int, what: str = "condition"
) -> Section | None:
    """Return the section of runs by name, each as its answers (n,). kind: of examples. among: how many runs exist."""
    chosen = [run for _, members in groups for run in members]
    if len(chosen) < 2:
        return None
    matrix = disagreements([run for _, members in groups for run in side_by_side(members)])
    sizes = [(name, len(members)) for name, members in groups]
    blocks = _within(matrix, sizes)
    within = "; ".join(f"{name} {pairs.mean():.3g} %" for name, pairs in blocks)
    left_out = f" Shown: {len(chosen)} of {among} runs, evenly chosen." if len(chosen) < among else ""
    drawing = Drawing(
        "pairs",
        f"Disagreement of every pair of runs, in percent of the {kind}, grouped by {what}",
        f"Heat map of the disagreement between {len(chosen)} runs: {_pairs(matrix).mean():.3g} % on average"
        + (f"; within one {what} {within}." if within else "."),
        heat(matrix, sizes, "disagreement of two runs (%)"),
        f"Within one {what}, similar runs are next to each other. The colours span the pairs from the 2nd to the 98th "
        f"percentile.{left_out}",
    )
    shared = (
        "All conditions share the reference run, which is shown in the first of them. " if what == "condition" else ""
    )
    text = (
        f"Each cell is two runs, and its colour is the share of {kind} that they answer differently. A run unlike all "
        f"others is a light stripe; similar runs make a dark triangle. {shared}".strip()
    )
    rows = tuple((name, *(f"{x:.2f}" for x in (pairs.min(), np.median(pairs), pairs.max()))) for name, pairs in blocks)
    table = ((f"within one {what} (%)", "least", "median", "most"), rows)
    return Section("pairs", "Every pair of runs", text, (drawing,), table if rows else None)


def _evenly(many: int, most: int) -> NDArray[np.int64]:
    """Return the places of at most so many of many things, evenly chosen."""
    return np.unique(np.linspace(0, many - 1, min(most, many)).round().astype(np.int64))


def disagreements(runs: Sequence[Answered]) -> Floats:
    """Return the percentage of examples on which two runs' answers differ, (M, M)."""
    answers = np.stack(list(runs))  # (M, n)
    return np.stack([100.0 * (answers != row).mean(axis=1) for row in answers])


def side_by_side(runs: Sequence[Answered]) -> list[Answered]:
    """Order the runs so that similar ones are neighbours: as the leaves of a cluster tree (average linkage), ordered so
    that the distances between neighbours sum to the least (Bar-Joseph et al. 2001)."""
    if len(runs) < 3:
        return list(runs)
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    tree = linkage(squareform(disagreements(runs)), "average", optimal_ordering=True)
    return [runs[place] for place in leaves_list(tree)]


def _within(matrix: Floats, sizes: Sequence[tuple[str, int]]) -> list[tuple[str, Floats]]:
    """Return the pairs within each group of two runs or more."""
    ends = np.cumsum([size for _, size in sizes])
    blocks = [(name, matrix[end - size : end, end - size : end]) for (name, size), end in zip(sizes, ends, strict=True)]
    return [(name, _pairs(block)) for name, block in blocks if len(block) > 1]


def _pairs(matrix: Floats) -> Floats:
    return matrix[np.triu_indices(len(matrix), 1)]


def heat(matrix: Floats, groups: Sequence[tuple[str, int]], label: str) -> Figure:
    """Draw a triangle of pairs of runs; `groups` has each group's name and number of runs, in order.

    The colours span the pairs except the outermost 2 % on each side, so that ordinary pairs also differ in colour.
    """
    figure, (axes,) = new(3.4)
    below = np.tril_indices(len(matrix), -1)
    low, high = np.quantile(matrix[below], [0.02, 0.98])
    beyond = {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}
    extend = beyond[bool(matrix[below].min() < low), bool(matrix[below].max() > high)]
    if low == high:
        low, high, extend = 0.0, float(high) or 1.0, "neither"
    pairs = np.full(matrix.shape, np.nan)
    pairs[below] = matrix[below]
    shown = axes.imshow(pairs, cmap="cividis", vmin=low, vmax=high, interpolation="none")
    ends = np.cumsum([0, *(size for _, size in groups)])
    for end in ends[1:-1]:
        axes.plot([-0.5, end - 0.5], [end - 0.5] * 2, color="white", lw=0.8)
        axes.plot([end - 0.5] * 2, [end - 0.5, len(matrix) - 0.5], color="white", lw=0.8)
    middles = (ends[1:] + ends[:-1] - 1) / 2
    names = [short(name) for name in _legible(groups, len(matrix))]
    axes.set_yticks(middles, names)
    axes.set_xticks(middles, names, rotation=90)
    axes.tick_params(length=0)
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    bar = figure.colorbar(shown, cax=axes.inset_axes((0.44, 0.9, 0.54, 0.035)), orientation="horizontal", extend=extend)
    bar.set_label(label)
    bar.ax.xaxis.set_label_position("top")
    bar.ax.locator_params(nbins=4)
    bar.ax.grid(False)
    bar.outline.set_visible(False)
    return figure


LINE = 0.05
"""The height of a line of text, as a share of the triangle's side."""


def _legible(groups: Sequence[tuple[str, int]], runs: int) -> list[str]:
    """Return the names of the groups; empty where a name would overlap the one before it."""
    names: list[str] = []
    last, begin = -1.0, 0
    for name, size in groups:
        middle = (begin + size / 2) / runs
        begin += size
        legible = last < 0 or middle - last >= LINE
        names.append(name if legible else "")
        last = middle if legible else last
    return names
