"""The figures of a study, in the order of its page. matplotlib is imported when the first of them is drawn."""

from __future__ import annotations

from collections.abc import Callable

from nondet.analysis.results import Results
from nondet.reporting.plots.crossing import crossing
from nondet.reporting.plots.curves import drifting, training
from nondet.reporting.plots.layers import representations
from nondet.reporting.plots.onsets import onsets
from nondet.reporting.plots.pairs import pairs
from nondet.reporting.plots.section import Drawing, Section
from nondet.reporting.plots.seen import Runs, look_at
from nondet.reporting.plots.spreads import accuracies, columns
from nondet.reporting.plots.style import styled

__all__ = ["Drawing", "Section", "sections"]

_SECTIONS: tuple[Callable[[Results, Runs], Section | None], ...] = (
    accuracies,
    columns,
    crossing,
    pairs,
    training,
    drifting,
    representations,
    onsets,
)


def sections(results: Results) -> list[Section]:
    """Return every section for which a study has something to show, with its figures drawn."""
    runs = look_at(results.study)
    with styled():
        return [section for make in _SECTIONS if (section := make(results, runs))]
