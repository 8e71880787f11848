"""What the command of each record shows: tables, and the sentences with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from nondet.io.streams import WARNING
from nondet.records import Record
from nondet.reporting import table

if TYPE_CHECKING:
    from nondet.analysis.alike import Alike
    from nondet.analysis.comparison import Comparisons
    from nondet.analysis.datasets import OverDatasets
    from nondet.analysis.floor import Floor
    from nondet.analysis.gate import Gate
    from nondet.analysis.models_apart import ModelComparisons
    from nondet.analysis.plan import Plan
    from nondet.analysis.remedies.stabilize import Stabilized
    from nondet.analysis.reproduce.audit import Audit
    from nondet.analysis.reproduce.diverge import Diverged
    from nondet.analysis.reproduce.resume import Resumed
    from nondet.analysis.results import Results
    from nondet.analysis.scored import ScoreMeasures
    from nondet.analysis.unstable import Unstable
    from nondet.measures.measured import Measures
    from nondet.reporting.finding import Finding


WIDTH = 120
"""The width of output that does not go to a terminal."""

CLASSES_ALONE = "Predicted classes alone give accuracy and disagreement; the other measures need logits."


@dataclass(frozen=True)
class Part:
    """A table, or none; a sentence above it, and those below it.

    wide: how many characters it needs, if many. intervals: the rows with intervals in place of lopsided errors, for a
        terminal. short: shorter names of rows, for when there is no room.
    """

    head: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    below: Sequence[str] = ()
    above: str = ""
    wide: int = WIDTH
    intervals: Sequence[Sequence[str]] = ()
    short: Mapping[str, str] = field(default_factory=dict[str, str])


def parts(found: Record) -> list[Part]:
    """Return what a record's command prints; for a record without one, its tidy table."""
    known = _PARTS.get(type(found).__name__)  # by name, so that nothing is imported for other records
    if known is not None:
        return known(found)
    columns = found.tidy()
    return [Part(tuple(columns), [tuple(map(str, row)) for row in zip(*columns.values(), strict=True)])]


def _said(found: Record, *more: str) -> list[str]:
    """Return a record's finding, then what else is said, then the caveats."""
    said: Finding | None = found.finding
    return [said.text, *more, *said.caveats] if said else [*more]


def _results(found: Results) -> list[Part]:
    from nondet.reporting import crossing, dead, finding, prose
    from nondet.running import until

    said = finding.of_study(found)
    below = [
        prose.failures(found),
        *dead.dead_words(found),
        *((said.text, said.caution) if said else ()),
        *dead.unreached_words(found),
        until.words(found.study.until, found.dead),
    ]
    head, rows, above = table.head(found.kind.figures), table.rows(found), prose.control_words(found)
    first = Part(head, rows, below, above, intervals=table.rows(found, intervals=True), short=table.SHORT)
    c = found.crossing
    return [first, *([Part(crossing.head(c), crossing.rows(c), crossing.words(c))] if c else [])]


def _measures(found: Measures) -> list[Part]:
    pairs, said = found.sampled_pairs, found.finding
    below = [
        said.text,
        said.caution,
        CLASSES_ALONE if found.classes_alone else "",
        f"The ensembles are those of {pairs} sampled pairs, not of all." if pairs else "",
    ]
    skew = table.lopsided(found.figures, [found])
    rows, intervals = [table.measured_row(found)], [table.measured_row(found, skew)]
    return [Part(table.head(found.figures), rows, below, intervals=intervals)]


def _scores(found: ScoreMeasures) -> list[Part]:
    from nondet.reporting import scores

    return [Part(scores.head(found), scores.rows(found), _said(found, scores.words(found)))]


def _comparisons(found: Comparisons) -> list[Part]:
    from nondet.reporting import decisions, verdicts

    *tables, (head, rows) = decisions.comparison_tables(found.comparisons)
    alone = found.comparisons[0] if len(found.comparisons) == 1 else None
    below = _said(found, verdicts.method_words(alone) if alone else "")
    return [*(Part(h, r, short=decisions.SHORT) for h, r in tables), Part(head, rows, below, short=decisions.SHORT)]


def _models(found: ModelComparisons) -> list[Part]:
    from nondet.reporting import one_run

    return [Part(one_run.HEAD, one_run.rows(found.comparisons), _said(found))]


def _over_datasets(found: OverDatasets) -> list[Part]:
    from nondet.reporting import datasets

    return [Part(datasets.HEAD, datasets.rows(found), _said(found))]


def _plan(found: Plan) -> list[Part]:
    return [Part(below=_said(found))]


def _floor(found: Floor) -> list[Part]:
    return [Part(below=_said(found))]


def _gate(found: Gate) -> list[Part]:
    return [Part(below=_said(found))]


def _alike(found: Alike) -> list[Part]:
    from nondet.reporting import alike
    from nondet.running import until

    several = len(found.groups) > 1
    shown = [
        Part(
            alike.head(found, group),
            alike.rows(group),
            above=f"Sources that vary from epoch {group.onset} on:" if several else "",
        )
        for group in found.groups
    ]
    left_out = [f"Left out: {name} ({reason})." for name, reason in found.left_out.items()]
    asked = until.words(found.study.until) if found.study else ""
    words = [asked, *_said(found, *alike.details(found))]
    return [*shown, Part(below=[alike.legend(found), *left_out]), Part(below=words)]


def _unstable(found: Unstable) -> list[Part]:
    from nondet.reporting import unstable

    return [
        Part(unstable.HEAD, unstable.rows(found)),
        Part(unstable.HEAD_CLASSES, unstable.class_rows(found)),
        Part(below=[found.sentence]),
    ]


def _stabilized(found: Stabilized) -> list[Part]:
    from nondet.reporting import remedies

    head, rows = remedies.head(found.methods), remedies.rows(found.methods)
    intervals = remedies.rows(found.methods, intervals=True)
    return [Part(head, rows, _said(found), wide=WIDTH + 40, intervals=intervals)]


def _diverged(found: Diverged) -> list[Part]:
    from nondet.reporting import reproduce

    return [Part(below=[reproduce.diverged_words(found)])]


def _audit(found: Audit) -> list[Part]:
    from nondet.reporting import reproduce

    rows = reproduce.audit_rows(found)
    head = reproduce.HEAD if rows else ()
    return [
        Part(head, rows, [*reproduce.audit_findings(found), *reproduce.audit_told(found), reproduce.audit_words(found)])
    ]


def _resumed(found: Resumed) -> list[Part]:
    from nondet.reporting import reproduce

    return [Part(below=[reproduce.resumed_words(found)])]


_PARTS: dict[str, Callable[[Any], list[Part]]] = {
    "Results": _results,
    "Measures": _measures,
    "ScoreMeasures": _scores,
    "Comparisons": _comparisons,
    "OverDatasets": _over_datasets,
    "ModelComparisons": _models,
    "Plan": _plan,
    "Floor": _floor,
    "Gate": _gate,
    "Alike": _alike,
    "Unstable": _unstable,
    "Stabilized": _stabilized,
    "Diverged": _diverged,
    "Audit": _audit,
    "Resumed": _resumed,
}


def beside(found: Record) -> list[str]:
    """Return what a record's command says about the runs on standard error, and the record itself below its table.

    These are warnings, marked as such, and for a study how to continue it.
    """
    from nondet.reporting import prose

    known = _BESIDE.get(type(found).__name__)
    warnings = [WARNING + sentence for sentence in known(found) if sentence] if known else []
    missing = prose.unfinished(cast("Results", found)) if type(found).__name__ == "Results" else ""
    return [*warnings, *([missing] if missing else [])]


def _beside_measures(found: Measures) -> list[str]:
    from nondet.analysis.independence import copies_words
    from nondet.measures.shape import few_runs
    from nondet.reporting import prose

    copied = [prose.capital(words) for words in copies_words(found.name, found.copies, found.near)]
    probable = prose.PROBABILITIES if found.probabilities else ""
    return [probable, *copied, few_runs({"outputs": found.runs}), *found.notes]


def _beside_results(found: Results) -> list[str]:
    from nondet.reporting import prose

    return prose.cautions(found)


def _beside_comparisons(found: Comparisons) -> list[str]:
    from nondet.reporting import prose

    return [f"{name}: {prose.PROBABILITIES}" for name in found.probabilities]


def _beside_plan(found: Plan) -> list[str]:
    from nondet.reporting import prose

    return [f"{found.pilot}: {prose.PROBABILITIES}"] if found.probabilities else []


_BESIDE: dict[str, Callable[[Any], list[str]]] = {
    "Measures": _beside_measures,
    "Results": _beside_results,
    "Comparisons": _beside_comparisons,
    "Plan": _beside_plan,
}
