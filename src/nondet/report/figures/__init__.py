"""The figures of a study, in the order of its page. matplotlib is imported when the first of them is drawn."""

from __future__ import annotations

from collections.abc import Callable

from nondet.report.figures.crossing import crossing
from nondet.report.figures.curves import drifting, training
from nondet.report.figures.layers import representations
from nondet.report.figures.onsets import onsets
from nondet.report.figures.pairs import pairs
from nondet.report.figures.section import Drawing, Section
from nondet.report.figures.seen import Runs, look_at
from nondet.report.figures.spreads import accuracies, columns
from nondet.report.figures.style import styled
from nondet.report.results import Results

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
    """Every section that a study has something for, its figures drawn."""
    runs = look_at(results.study)
    with styled():
        return [section for make in _SECTIONS if (section := make(results, runs))]
