"""Decisions as tables and in words: comparisons, and plans."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nondet.decide.compare import MOST_RUNS, POWER, Comparison
from nondet.decide.spread import Estimate
from nondet.report.table import DASH

_DECIMALS = {"accuracy": 2, "cross_entropy": 4, "perplexity": 2}
_MINUS = "\N{MINUS SIGN}"


def comparisons_dict(found: Sequence[Comparison]) -> dict[str, Any]:
    """The JSON of `nondet compare`: of one comparison itself, of several a list, with p-values adjusted for them."""
    records = [{**c.as_dict(), "sentence": comparison_words(c)} for c in found]
    if len(found) == 1:
        return records[0]
    return {"comparisons": [{**r, "p_holm": c.p_holm} for r, c in zip(records, found, strict=True)]}


def comparison_head(found: Sequence[Comparison]) -> tuple[str, ...]:
    """Titles of the table of `comparison_rows`."""
    metric = found[0].metric
    title = "accuracy (%)" if metric.name == "accuracy" else metric.words
    share = f"{100 * (1 - found[0].level):g} %"
    several = ("p, adjusted",) if len(found) > 1 else ()
    return ("", "runs", title, "SD", f"difference ({share})", "p", *several, "beats A", "SD ratio", "churn", "excess")


def comparison_rows(found: Sequence[Comparison]) -> list[tuple[str, ...]]:
    """A's row, then one for each B. A's runs are those of the first comparison."""
    first = found[0]
    width = len(comparison_head(found))
    a = (plain(f"A  {first.a}"), str(first.runs[0]), _figure(first.means[0], first), _figure(first.sds[0], first))
    rows = [a + (DASH,) * (width - 6) + (f"{first.churn.within_a:.2f}", DASH)]
    for letter, c in zip("BCDEFGHIJKLMNOPQRSTUVWXYZ" + " " * len(found), found, strict=False):
        error = c.churn.errors["excess"]
        low, high = c.superiority_interval
        rows.append(
            (
                plain(f"{letter}  {c.b}"),
                str(c.runs[1]),
                _figure(c.means[1], c),
                _figure(c.sds[1], c),
                _signed(c.difference.estimate or 0.0, c) + _range(c.difference, c),
                _chance(c.p_value),
                *((_chance(c.p_holm),) if len(found) > 1 else ()),
                f"{c.superiority:.2f} [{low:.2f}, {high:.2f}]",
                _ratio(c.sd_ratio),
                f"{c.churn.within_b:.2f}; to A {c.churn.between:.2f}",
                f"{c.churn.excess:.2f}" + ("" if error is None else f" ± {error:.2f}"),
            )
        )
    return rows


def comparison_words(c: Comparison) -> str:
    """The verdict in one or two sentences, which claim no more than the intervals hold."""
    return {"better": _ranked, "worse": _ranked, "alike": _alike, "undecided": _undecided}[c.verdict](c)


def method_words(c: Comparison) -> str:
    """How the runs were compared, where their seeds leave a choice."""
    if c.correlation is None:
        return ""
    if c.pairs:
        return f"Compared as {c.pairs} pairs of runs with equal seeds, whose values correlate at {c.correlation:.2f}."
    return (
        f"Runs with equal seeds correlate at {c.correlation:.2f}, by which pairs gain nothing: they are compared as "
        "independent runs."
    )


def churn_words(c: Comparison) -> str:
    """What the change adds to the churn of training."""
    inside = (c.churn.within_a + c.churn.within_b) / 2
    text = (
        f"A run of {plain(c.b)} and one of {plain(c.a)} answer {c.churn.between:.2f} % of the test set differently, "
        f"two runs of the same arm {inside:.2f} %: "
    )
    if c.churn.interval is None or c.churn.interval[0] <= 0:
        return text + "that the change itself adds churn is not shown."
    low, high = c.churn.interval
    return text + f"the change itself adds {c.churn.excess:.2f} ({low:.2f} to {high:.2f}) points."


def plain(text: str) -> str:
    """A name for a terminal: control characters, which could move its cursor, become a question mark."""
    return "".join(character if character.isprintable() else "?" for character in text)


def _ranked(c: Comparison) -> str:
    estimate = c.difference.estimate or 0.0
    low, high = c.superiority_interval
    text = (
        f"{plain(c.b)} is {c.verdict} than {plain(c.a)}: its mean {c.metric.words} is {_amount(abs(estimate), c)} "
        f"{'higher' if estimate > 0 else 'lower'} ({_interval(c)})"
    )
    if c.comparisons > 1:
        text += f", p = {_chance(c.p_holm)} for {c.comparisons} comparisons"
    return (
        text
        + f". One run of it beats one of {plain(c.a)} with a chance of {c.superiority:.2f} ({low:.2f} to {high:.2f})."
    )


def _alike(c: Comparison) -> str:
    low, high = c.inner or (0.0, 0.0)
    return (
        f"{plain(c.b)} and {plain(c.a)} are alike within {c.margin:g}{_unit(c)} of {c.metric.words}: the "
        f"{100 * (1 - 2 * c.level):g} % interval of the difference, {_signed(low, c)} to {_signed(high, c)}, "
        "lies inside."
    )


def _undecided(c: Comparison) -> str:
    seen = _signed(c.difference.estimate or 0.0, c) + _unit(c)
    text = f"Not decided whether {plain(c.b)} is better or worse than {plain(c.a)}: the difference seen is {seen} "
    text += f"({_interval(c)})"
    if c.comparisons > 1 and c.p_value <= c.level:
        text += f", which is not enough among {c.comparisons} comparisons"
    return f"{text}. {_way_on(c)}"


def _way_on(c: Comparison) -> str:
    margin = "" if c.margin else "; or name a --margin within which a difference does not matter"
    if c.more_runs is None:
        return f"No run of either arm differs from the others, so no number of runs follows{margin}."
    if not c.more_runs_aim:
        return (
            f"To tell so small a difference from none would take more than {MOST_RUNS:,} further runs of each{margin}."
        )
    aim = "show that they are alike within the margin" if c.more_runs_aim == "alike" else "decide"
    return (
        f"About {c.more_runs:,} more runs of each would {aim} with a chance of {100 * POWER:g} %, if the difference "
        "and the SDs are those seen."
    )


def _interval(c: Comparison) -> str:
    if c.difference.low is None or c.difference.high is None:
        return "no interval, as no run of either arm differs from the others"
    share = f"{100 * (1 - c.level):g} % interval"
    return f"{share} {_signed(c.difference.low, c)} to {_signed(c.difference.high, c)}"


def _range(estimate: Estimate, c: Comparison) -> str:
    if estimate.low is None or estimate.high is None:
        return ""
    return f" [{_signed(estimate.low, c)}, {_signed(estimate.high, c)}]"


def _ratio(ratio: Estimate) -> str:
    if ratio.estimate is None:
        return DASH
    if ratio.low is None or ratio.high is None:
        return f"{ratio.estimate:.2f}"
    return f"{ratio.estimate:.2f} [{ratio.low:.2f}, {ratio.high:.2g}]"


def _amount(value: float, c: Comparison) -> str:
    return _figure(value, c) + _unit(c)


def _unit(c: Comparison) -> str:
    return f" {c.metric.unit}" if c.metric.unit else ""


def _figure(value: float, c: Comparison) -> str:
    decimals = _DECIMALS[c.metric.name]
    return f"{value:.{decimals}f}" if value == 0 or abs(value) >= 0.5 * 10.0**-decimals else f"{value:.0e}"


def _signed(value: float, c: Comparison) -> str:
    return (_MINUS if value < 0 else "+" if value > 0 else "") + _figure(abs(value), c)


def _chance(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 else f"{p:.0e}"
