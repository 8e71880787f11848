"""What a crossed design shows: the share of the variance that each source causes."""

from __future__ import annotations

import math

from nondet.analysis.results import Results
from nondet.reporting import crossing as components
from nondet.reporting.plots.section import Drawing, Section
from nondet.reporting.plots.seen import Runs
from nondet.reporting.plots.spreads import forest, listed


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
