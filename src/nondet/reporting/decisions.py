"""Comparisons of arms as tables: a column for each arm."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import groupby

from nondet.analysis.comparison import Comparison
from nondet.io.plain import plain
from nondet.measures.churn import Churn
from nondet.reporting.finding import MINUS, with_interval
from nondet.reporting.finding import signed as with_sign
from nondet.reporting.table import DASH, small
from nondet.stats.estimate import Estimate

COLUMNS = 3
"""How many comparisons fit next to each other."""

LARGE = 1e6
"""Numbers from here on have three digits and an exponent, because diverged runs can have any value."""

SHORT = {
    "difference to A [95 % interval]": "difference [95 %]",
    "chance that a run beats one of A": "a run beats A's",
}
"""Shorter names of rows, for when there is little room."""

_METHODS = {"welch": "independent runs", "paired": "{} pairs", "widened": "runs, {} pairs counted in"}


def comparison_tables(found: Sequence[Comparison]) -> Iterator[tuple[list[str], list[list[str]]]]:
    """Yield the titles and rows of tables that have a column for A and one for each of a few arms compared with it."""
    for _, same in groupby(
        found, key=lambda c: (c.runs[0], c.means[0], c.sds[0].value)
    ):  # what A is, apart from what it shares with B
        comparisons = list(same)
        for start in range(0, len(comparisons), COLUMNS):
            part = comparisons[start : start + COLUMNS]
            yield ["", f"A: {plain(part[0].a)}", *(plain(c.b) for c in part)], _rows(part)


def _rows(found: Sequence[Comparison]) -> list[list[str]]:
    a, metric = found[0], found[0].metric
    share = f"{100 * (1 - a.level):g} % interval"
    rows = [
        ["runs", str(a.runs[0]), *(str(c.runs[1]) for c in found)],
        [
            metric.words + (" (%)" if metric.unit == "%" else ""),
            figure(a.means[0], a),
            *(figure(c.means[1], c) for c in found),
        ],
        ["SD", _sd(a, 0), *(_sd(c, 1) for c in found)],
        [f"difference to A [{share}]", "", *map(difference, found)],
        ["p-value", "", *(p_words(c.p_value) for c in found)],
        ["compared as", "", *(_METHODS[c.method].format(c.pairs) for c in found)],
        ["chance that a run beats one of A", "", *map(superiority, found)],
        ["SD ratio to A", "", *(_ratio(c.sd_ratio) for c in found)],
        ["verdict", "", *(c.verdict for c in found)],
    ]
    if a.churn is not None:
        churns = [c.churn or a.churn for c in found]
        rows.insert(3, ["churn within (%)", f"{a.churn.within_a:.2f}", *(f"{c.within_b:.2f}" for c in churns)])
        rows[-1:-1] = [
            ["churn to A (%)", "", *(f"{c.between:.2f}" for c in churns)],
            ["excess churn", "", *map(_excess, churns)],
        ]
    if a.comparisons > 1:
        rows.insert(6 if a.churn else 5, [f"p-value among {a.comparisons}", "", *(p_words(c.p_holm) for c in found)])
    return rows


def _sd(c: Comparison, arm: int) -> str:
    return with_interval(c.sds[arm], lambda value: figure(value, c))


def difference(c: Comparison, unit: str = "") -> str:
    """Return the difference with its sign, and its interval if it has one."""
    return with_interval(c.difference, lambda value: signed(value, c), unit)


def superiority(c: Comparison) -> str:
    """Return the chance that a run of B beats one of A, with its interval."""
    low, high = c.superiority_interval
    return f"{c.superiority:.2f} [{low:.2f}, {high:.2f}]"


def _excess(churn: Churn) -> str:
    ends = "" if churn.interval is None else " [{:.2f}, {:.2f}]".format(*churn.interval)
    return f"{churn.excess:.2f}{ends}".replace("-", MINUS)


def _ratio(ratio: Estimate) -> str:
    if math.isnan(ratio.value):
        return DASH
    if not ratio.known:
        return f"{ratio.value:.2f}"
    return f"{ratio.value:.2f} [{ratio.low:.2f}, {_high(ratio.high)}]"


def _high(value: float) -> str:
    """Format the upper end of a ratio's interval, which may be far off, without a power of ten while it is readable."""
    return f"{value:.2g}" if value < 100 else f"{value:,.0f}" if value < 1e6 else f"{value:.0e}"


def unit(c: Comparison) -> str:
    """Return the unit of a difference, after a space."""
    return f" {c.metric.points}" if c.metric.points else ""


def figure(value: float, c: Comparison) -> str:
    """Format a value of the metric with its decimals."""
    return f"{value:.3g}" if abs(value) >= LARGE else small(value, c.metric.decimals)


def signed(value: float, c: Comparison) -> str:
    """Format a difference with its sign."""
    return with_sign(value, lambda size: figure(size, c))


def p_words(p: float) -> str:
    """Format a p-value."""
    return f"{p:.3f}" if p >= 0.001 else f"{p:.0e}"
