"""Two models, one run each, compared over examples: as a table and in words."""

from __future__ import annotations

from collections.abc import Sequence

from nondet.analysis.models_apart import ModelComparison
from nondet.io.plain import plain

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
    """A row for each comparison."""
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


def model_words(c: ModelComparison) -> str:
    """The verdict, the flips, and of what it speaks."""
    return f"{_verdict(c)} {_flips(c)} {_scope()}"


def _verdict(c: ModelComparison) -> str:
    a, b = plain(c.a), plain(c.b)
    unit = f" {c.points}" if c.points else ""
    share = f"{100 * (1 - c.level):g} % interval"
    seen = f"{_signed(c.difference.value)}{unit}"
    if c.difference.known:
        seen += f" ({share} {_signed(c.difference.low)} to {_signed(c.difference.high)})"
    if c.verdict == "alike":
        return f"{b} and {a} are alike within {c.margin:g}{unit} of {plain(c.metric)} on examples like these: {seen}."
    if c.verdict == "undecided":
        return f"Not decided whether {b} is better or worse than {a} on examples like these: {seen}."
    among = f", p = {c.p_holm:.2g} for {c.comparisons} comparisons" if c.comparisons > 1 else ""
    return f"{b} is {c.verdict} than {a} on examples like these: its mean {plain(c.metric)} differs by {seen}{among}."


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
    return f"{text}; verdict and interval count {c.clusters:,} clusters of examples (p = {c.p_value:.2g})."


def _scope() -> str:
    return (
        "This speaks of these two models, one run each, and not of the two recipes: another run of either may answer "
        "otherwise, and how much only repeats with other seeds show."
    )


def _signed(value: float) -> str:
    return ("\N{MINUS SIGN}" if value < 0 else "+" if value > 0 else "") + f"{abs(value):.3g}"
