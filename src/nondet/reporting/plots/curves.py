"""What happens during training: learning curves, and how runs drift apart after one bit is changed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from nondet.analysis.reader import as_one
from nondet.analysis.results import ConditionResult, Results
from nondet.reporting.finding import capital
from nondet.reporting.plots.section import PANELS, Drawing, Runs, Section, Seen, by_design, names_of
from nondet.reporting.plots.style import DASHES, SMALLEST, colours_of, epochs, line_plot, log_axis, new, short
from nondet.stats.values import Floats

if TYPE_CHECKING:
    from matplotlib.figure import Figure

THIN_LINES = 100
"""How many runs' drifts are shown one by one."""


def training(results: Results, runs: Runs) -> Section | None:
    """Return the section of loss and accuracy curves on the training set."""
    ordered = sorted(by_design(results, runs).items(), key=lambda item: "@" in item[0])  # late onsets last
    able = {name: seen for name, seen in ordered if len(seen) > 1}
    shown = dict(list(able.items())[:PANELS])
    if not shown:
        return None
    curves = {
        what: {name: _finite(as_one([run.curves[what] for run in seen])) for name, seen in shown.items()}
        for what in next(iter(shown.values()))[0].curves
    }
    text = (
        "The line is the mean over a condition's runs, the band covers the middle four fifths of them (10th to 90th "
        "percentile), and the grey lines are the means of the other conditions."
        + (f" Shown: {len(shown)} of {len(able)} conditions." if len(shown) < len(able) else "")
    )
    own = results.study.identity.get("curves")
    labels = {"loss": "training loss (nats)", "accuracy": "training accuracy (%)"} if own is None else {}
    drawings = tuple(
        _curves(f"training-{re.sub(r'[^A-Za-z0-9_-]', '-', what)}", labels.get(what, what), found, names_of(results))
        for what, found in curves.items()
        if all(np.isfinite(values).any(axis=0).all() for values in found.values())  # something in each epoch
    )
    return Section("training", "Training", text, drawings) if drawings else None


def _finite(curves: Floats) -> Floats:
    return np.where(np.isfinite(curves), curves, np.nan)


def _curves(name: str, label: str, curves: Mapping[str, Floats], among: Sequence[str]) -> Drawing:
    values = np.concatenate([c[np.isfinite(c)] for c in curves.values()])
    log = bool(values.min() > 0 and values.max() > 20 * values.min())
    ends = {
        condition: c[np.arange(len(c)), np.isfinite(c).cumsum(axis=1).argmax(axis=1)] for condition, c in curves.items()
    }
    last = "; ".join(
        f"{condition} {end.mean():.3g} ({np.quantile(end, 0.1):.3g} to {np.quantile(end, 0.9):.3g})"
        for condition, end in ends.items()
    )
    title = f"{capital(label)} by epoch, a panel for each condition"
    alternative = (
        f"{title}{'; logarithmic axis' if log else ''}. Mean, and 10th to 90th percentile, in the last epoch: {last}."
    )
    return Drawing(name, title, alternative, bands(curves, label, log, among))


def bands(curves: Mapping[str, Floats], label: str, log: bool = False, among: Sequence[str] = ()) -> Figure:
    """Draw each name's curves (N, epochs) in its own panel: their mean, and a band from the 10th to the 90th
    percentile. The other names' means are grey."""
    rows = -(-len(curves) // 2)
    grid = {"nrows": rows, "ncols": min(2, len(curves)), "sharex": True, "sharey": True}
    figure, panels = new(0.35 + 1.05 * rows, **grid)
    colours = colours_of(list(curves), among)
    for axes, (name, values) in zip(panels, curves.items(), strict=False):
        colour, at = colours[name], np.arange(1, values.shape[1] + 1)
        for other in curves.values():
            axes.plot(np.arange(1, other.shape[1] + 1), np.nanmean(other, axis=0), color="#c3c8ce", lw=0.6)
        axes.fill_between(at, *np.nanquantile(values, [0.1, 0.9], axis=0), color=colour, alpha=0.3, lw=0)
        axes.plot(at, np.nanmean(values, axis=0), color=colour)
        axes.set_title(short(name))
        if log:
            log_axis(axes)
        epochs(axes, len(at))
    for axes in panels[len(curves) :]:
        axes.set_visible(False)
        panels[len(curves) - 2].tick_params(labelbottom=True)  # nothing is below it
    figure.supxlabel("epoch", fontsize=SMALLEST)
    figure.supylabel(label, fontsize=SMALLEST)
    return figure


def drifting(results: Results, runs: Runs) -> Section | None:
    """Return the section of how a change of one bit grows during training."""
    alive = [c for c in results.conditions if not c.dead]
    bits = sorted((c for c in alive if c.condition.vary == ("bit",)), key=lambda c: c.condition.onset)
    reference = runs.get(next(iter(results.study.specs()), ""))
    apart = _apart(results, runs, bits[0], reference) if bits and reference else np.empty((0, 0))
    if reference is None or not len(apart):
        distances = tuple(_distances(results))
        text = "How far are the runs' parameters from the first run's?"
        return Section("drift", "How runs drift apart", text, distances) if distances else None
    late = bits[0].condition.onset
    text = (
        "One weight of the reference run is moved to the next floating-point number, "
        f"{f'after epoch {late}' if late else 'before training'}, and everything else stays the same. "
    )
    if not apart.any():
        text += "The training loss of no run differs, at any epoch."
        return Section("drift", "How runs drift apart", text, tuple(_distances(results)))
    beside = {
        c.condition.name: np.median(found, axis=0)
        for c in alive
        if c.condition.name == "all" and len(found := _apart(results, runs, c, reference))
    }
    return Section(
        "drift",
        "How runs drift apart",
        f"{text}How far is a run's training loss then from the reference run's?",
        (_drift(apart, beside, names_of(results)), *_distances(results)),
        _at_epochs(apart, beside),
    )


def _at_epochs(apart: Floats, beside: Mapping[str, Floats]) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Return the medians at a few epochs, including the first and the last."""
    medians = {"one bit": np.median(apart, axis=0), **beside}
    last = apart.shape[1]
    at = sorted({1, 2, 5, 10, 20, 50, 100, last} & {*range(1, last + 1)})
    head = ("after epoch", *(f"{short(name)}, median" for name in medians))
    return head, tuple((str(epoch), *(f"{m[epoch - 1]:.1e}" for m in medians.values())) for epoch in at)


def _apart(results: Results, runs: Runs, c: ConditionResult, reference: Seen) -> Floats:
    """Return how far a condition's training losses are from the reference run's, (N, epochs); empty if unknown."""
    others = [run for run in by_design(results, runs)[c.condition.name] if run is not reference]
    own = "curves" in results.study.identity  # a script's loss may be any loss
    if not others or own or "loss" not in reference.curves:
        return np.empty((0, 0))
    return np.abs(np.array([run.curves["loss"] for run in others]) - reference.curves["loss"])


def _drift(apart: Floats, beside: Mapping[str, Floats], among: Sequence[str]) -> Drawing:
    median = np.median(apart, axis=0)
    first, last = int(np.flatnonzero(apart.any(axis=0))[0]), len(median) - 1
    return Drawing(
        "drift",
        "Distance of the training loss from the reference run's, by epoch",
        f"Line plot of the distance of the training loss from the reference run's, median of {len(apart)} runs with "
        f"one changed bit: {median[first]:.2g} nats in epoch {first + 1}, {median[last]:.2g} in epoch {last + 1}"
        + "".join(f"; where {name} varies {curve[last]:.2g} in epoch {last + 1}" for name, curve in beside.items())
        + ".",
        drift(apart, beside, "difference of loss (nats)", among),
        "A thin line is a run with one changed bit; where it has no point, nothing differs. The reference run itself "
        "is left out.",
    )


def drift(runs: Floats, beside: Mapping[str, Floats], label: str, among: Sequence[str] = ()) -> Figure:
    """Draw how far runs are from the reference, (N, epochs): each as a thin line, their median as a thick one, and
    other medians, (epochs,). Zeros are left out, because the axis is logarithmic."""
    figure, (axes,) = new(2.4)
    at = np.arange(1, runs.shape[1] + 1)
    colours = colours_of(["bit", *beside], among)
    axes.plot(at, _positive(runs[:THIN_LINES]).T, color=colours["bit"], lw=0.5, alpha=0.45)
    axes.plot(at, _positive(np.median(runs, axis=0)), color=colours["bit"], lw=2.0, label="one bit, median")
    for number, (name, curve) in enumerate(beside.items(), start=1):
        axes.plot(at, _positive(curve), color=colours[name], ls=DASHES[number], label=f"{short(name)}, median")
    log_axis(axes)
    epochs(axes, len(at))
    axes.set_xlabel("epoch")
    axes.set_ylabel(label)
    figure.legend(loc="outside upper left", ncols=2)
    return figure


def _positive(values: Floats) -> Floats:
    return np.where(values > 0, values, np.nan)


def _distances(results: Results) -> list[Drawing]:
    """Draw the parameters' distance from the reference run's, if a study was tracked."""
    series = {
        c.condition.name: {d["epoch"]: d["l2"] for d in c.distance if d["l2"]}
        for c in results.conditions
        if not c.dead and any(d["l2"] for d in c.distance)
    }
    if not series:
        return []
    ends = "; ".join(f"{name} {points[max(points)]:.2g} after epoch {max(points)}" for name, points in series.items())
    title = "Distance (L2) of the parameters from the first run's"
    figure = line_plot(series, {}, "after epoch", "distance of parameters", log=True, among=names_of(results))
    shown = f"{title}, mean over the other runs, on a logarithmic axis. {ends}."
    return [Drawing("parameter-distance", title, shown, figure, "The mean over the other runs (L2).")]
