"""Two models, one run each, compared over examples: as a table and in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from nondet.analysis.models_apart import ModelComparison
from nondet.io.plain import plain
from nondet.reporting.finding import MOST, Finding, brackets, named

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


def rows(found: Sequence[ModelComparison]) -> list[list[str]]:
    """Return a row for each comparison."""
    return [
        [
            plain(c.a),
            plain(c.b),
            f"{c.examples:,}",
            f"{c.means[0]:.4g} ± {c.errors[0]:.2g}",
            f"{c.means[1]:.4g} ± {c.errors[1]:.2g}",
            f"{_signed(c.difference.value)} [{_signed(c.difference.low)}, {_signed(c.difference.high)}]"
            if c.difference.known
            else _signed(c.difference.value),
            f"{c.better_in:,}",
            f"{c.worse_in:,}",
            f"{c.p_value:.2g}",
            c.verdict,
        ]
        for c in found
    ]


def of_models(found: Sequence[ModelComparison]) -> Finding:
    """Return the clearest verdict, and how many there are of each."""
    first = min(found, key=lambda c: (c.verdict == "undecided", c.p_holm, -abs(c.difference.value)))
    one = of_model(first)
    if len(found) == 1:
        return one
    counts = Counter("not decided" if c.verdict == "undecided" else c.verdict for c in found)
    listed = ", ".join(f"{count} {'is' if count == 1 else 'are'} {verdict}" for verdict, count in counts.items())
    said = f"Of the {len(found)} compared with {plain(first.a)}, {listed}."
    notes = dict.fromkeys(note for c in found for note in of_model(c).caveats)
    return Finding(one.headline, (said, *one.sentences)[:MOST], tuple(notes))


def of_model(c: ModelComparison) -> Finding:
    """Return the verdict, the flips, and what the verdict applies to."""
    among = f"Among {c.comparisons} comparisons, p = {c.p_holm:.2g}." if c.comparisons > 1 else ""
    notes = (*c.notes, _scope(), *brackets(c.level, [c.difference]))
    return Finding(_verdict(c), (*filter(None, (among, _flips(c))),), notes)


def model_words(c: ModelComparison) -> str:
    """Return the verdict, the flips, and what the verdict applies to."""
    found = of_model(c)
    return f"{found.text} {_scope()}"


def _verdict(c: ModelComparison) -> str:
    a, b = named(c.a), named(c.b)
    unit = f" {c.points}" if c.points else ""
    seen = f"mean {named(c.metric)} differs by {_signed(c.difference.value)}{unit}"
    if c.difference.known:
        seen += f" [{_signed(c.difference.low)}, {_signed(c.difference.high)}]"
    if c.verdict == "alike":
        return f"{b} and {a} are alike within the margin: {seen}."
    if c.verdict == "undecided":
        return f"It is undecided whether {b} is better or worse than {a}: {seen}."
    return f"{b} is {c.verdict} than {a}: {seen}."


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


def _scope() -> str:
    return (
        "This is about these two models, one run each, and not about the two recipes: another run of either may "
        "answer differently, and only repeats with other seeds show by how much."
    )


def _signed(value: float) -> str:
    return ("\N{MINUS SIGN}" if value < 0 else "+" if value > 0 else "") + f"{abs(value):.3g}"
