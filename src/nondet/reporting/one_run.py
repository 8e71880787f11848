"""Two models, one run each, compared over examples: as a table and in words."""

from __future__ import annotations

from nondet.analysis.models_apart import ModelComparison, ModelComparisons
from nondet.io.plain import plain
from nondet.reporting.finding import Finding, Part, brackets, named, said, signed, with_interval
from nondet.reporting.verdicts import of_several, verdict_words

HEAD = (
    "A",
    "B",
    "examples",
    "mean of A",
    "mean of B",
    "difference [interval]",
    "B higher in",
    "lower in",
    "p",
    "verdict",
)

SCOPE = (
    "This is about these two models, one run each, and not about the two recipes: another run of either may "
    "answer differently, and only repeats with other seeds show by how much."
)


def parts(found: ModelComparisons) -> list[Part]:
    """Return a table with a row for each comparison."""
    rows = [
        [
            plain(c.a),
            plain(c.b),
            f"{c.examples:,}",
            f"{c.means[0]:.4g} ± {c.errors[0]:.2g}",
            f"{c.means[1]:.4g} ± {c.errors[1]:.2g}",
            with_interval(c.difference, _signed),
            f"{c.better_in:,}",
            f"{c.worse_in:,}",
            f"{c.p_value:.2g}",
            c.verdict,
        ]
        for c in found.comparisons
    ]
    return [Part(HEAD, rows, said(found))]


def of_models(found: ModelComparisons) -> Finding:
    """Return the clearest verdict, and how many there are of each."""
    notes = dict.fromkeys(note for c in found.comparisons for note in of_model(c).caveats)
    return of_several(found.comparisons, of_model, notes)


def of_model(c: ModelComparison) -> Finding:
    """Return the verdict, the flips, and what the verdict applies to."""
    among = f"Among {c.comparisons} comparisons, p = {c.p_holm:.2g}." if c.comparisons > 1 else ""
    notes = (*c.notes, SCOPE, *brackets(c.level, [c.difference]))
    unit = f" {c.points}" if c.points else ""
    seen = f"mean {named(c.metric)} differs by {with_interval(c.difference, _signed, unit)}"
    return Finding(verdict_words(c, seen), (*filter(None, (among, _flips(c))),), notes)


def model_words(c: ModelComparison) -> str:
    """Return the verdict, the flips, and what the verdict applies to."""
    return f"{of_model(c).text} {SCOPE}"


def _flips(c: ModelComparison) -> str:
    if c.mcnemar is not None:
        text = (
            f"Of {c.examples:,} examples {plain(c.b)} is right on {c.better_in:,} where {plain(c.a)} is wrong, and "
            f"wrong on {c.worse_in:,} where it is right (exact McNemar test: p = {c.mcnemar:.2g})"
        )
    else:
        text = f"Of {c.examples:,} examples {plain(c.b)} scores higher on {c.better_in:,} and lower on {c.worse_in:,}"
    if c.clusters is None:
        return f"{text}."
    return f"{text}; the verdict and the interval count {c.clusters:,} clusters of examples (p = {c.p_value:.2g})."


def _signed(value: float) -> str:
    return signed(value, "{:.3g}".format)
