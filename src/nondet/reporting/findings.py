"""The finding of every record, by type of record."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from nondet.records import Record

if TYPE_CHECKING:
    from nondet.analysis.results import Results
    from nondet.reporting.finding import Finding

_HOMES = {
    "Measures": ("finding", "of_measures"),
    "ScoreMeasures": ("scores", "finding"),
    "Plan": ("plans", "finding"),
    "Floor": ("gates", "of_floor"),
    "Gate": ("gates", "of_gate"),
    "OverDatasets": ("datasets", "of_datasets"),
    "Alike": ("alike", "finding"),
    "Unstable": ("unstable", "finding"),
    "Stabilized": ("remedies", "of_stabilized"),
    "Diverged": ("reproduce", "of_diverged"),
    "Audit": ("reproduce", "of_audit"),
    "Resumed": ("reproduce", "of_resumed"),
}


def finding_of(found: Record) -> Finding | None:
    """Return what a record has found; None for a record that answers no question."""
    name = type(found).__name__  # by name, so that nothing is imported for other records
    if name == "Results":
        return _of_results(cast("Results", found))
    if name == "Comparisons":
        from nondet.reporting import verdicts

        return verdicts.of_comparisons(cast(Any, found).comparisons)
    if name == "ModelComparisons":
        from nondet.reporting import one_run

        return one_run.of_models(cast(Any, found).comparisons)
    if name not in _HOMES:
        return None
    home, function = _HOMES[name]
    said: Callable[[Record], Finding] = getattr(import_module(f"nondet.reporting.{home}"), function)
    return said(found)


def _of_results(found: Results) -> Finding | None:
    from nondet.reporting import crossing, finding

    said = finding.of_study(found)
    return said or (crossing.finding(found.crossing) if found.crossing else None)
