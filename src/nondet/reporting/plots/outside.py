"""The figures of runs made elsewhere: every run's score, the measures with their intervals, every pair."""

from __future__ import annotations

import numpy as np

from nondet.analysis.outside import Outside
from nondet.reporting.plots.pairs import SHOWN, pairs_of
from nondet.reporting.plots.section import Section, estimates_of
from nondet.reporting.plots.spreads import dots, intervals
from nondet.reporting.plots.style import styled


def sections(found: Outside) -> list[Section]:
    """Return every section for which these runs have something to show, with its figures drawn."""
    names = list(found.arms)
    score = next(iter(found.arms.values())).metric
    values = {name: arm.values[np.isfinite(arm.values)] for name, arm in found.arms.items()}
    with styled():
        drawn = [
            dots(score, values, estimates_of(found.measures, f"{score.name.replace('.', '_')}.mean")[1], names, "arm"),
            intervals(found.kind.figures, lambda name: estimates_of(found.measures, name), names, "arm"),
            _pairs(found),
        ]
    return [section for section in drawn if section]


def _pairs(found: Outside) -> Section | None:
    most = max(2, SHOWN // len(found.arms))
    groups = [
        (name, arm.predictions[np.unique(np.linspace(0, len(arm) - 1, min(most, len(arm))).round().astype(np.int64))])
        for name, arm in found.arms.items()
        if arm.predictions is not None
    ]
    chosen = [(name, list(rows)) for name, rows in groups]
    return pairs_of(chosen, f"test {found.kind.example}s", sum(map(len, found.arms.values())), "arm")
