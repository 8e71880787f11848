"""The figures of a study, or of runs made elsewhere, in the order of the page. matplotlib is imported when the first of
them is drawn."""

from __future__ import annotations

import numpy as np

from nondet.analysis.outside import Outside
from nondet.analysis.results import Results
from nondet.reporting.plots.curves import drifting, training
from nondet.reporting.plots.designs import crossing, onsets, representations
from nondet.reporting.plots.pairs import pairs, pairs_outside
from nondet.reporting.plots.section import Drawing, Section, estimates_of, look_at
from nondet.reporting.plots.spreads import accuracies, columns, dots, intervals
from nondet.reporting.plots.style import styled

__all__ = ["Drawing", "Section", "sections", "sections_outside"]


def sections(results: Results) -> list[Section]:
    """Return every section for which a study has something to show, with its figures drawn."""
    runs = look_at(results.study)
    drawn = (accuracies, columns, crossing, pairs, training, drifting, representations, onsets)
    with styled():
        return [section for make in drawn if (section := make(results, runs))]


def sections_outside(found: Outside) -> list[Section]:
    """Return every section for which runs made elsewhere have something to show, with its figures drawn."""
    names = list(found.arms)
    score = next(iter(found.arms.values())).metric
    values = {name: arm.values[np.isfinite(arm.values)] for name, arm in found.arms.items()}
    with styled():
        drawn = [
            dots(score, values, estimates_of(found.measures, f"{score.name.replace('.', '_')}.mean")[1], names, "arm"),
            intervals(found.kind.figures, lambda name: estimates_of(found.measures, name), names, "arm"),
            pairs_outside(found),
        ]
    return [section for section in drawn if section]
