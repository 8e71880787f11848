"""Decisions as tables and in words: comparisons, and plans."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

from nondet.analysis.comparison import Comparison
from nondet.analysis.more_runs import MOST_RUNS, POWER
from nondet.analysis.plan import Plan
from nondet.io.plain import plain
from nondet.measures.churn import Churn
from nondet.reporting.table import DASH
from nondet.stats.estimate import Estimate
from nondet.stats.looks import steps

COLUMNS = 3
"""As many comparisons fit beside each other."""

LARGE = 1e6
"""Figures from here on have three digits and an exponent: diverged runs may have any."""

_METHODS = {"welch": "independent runs", "paired": "{} pairs", "widened": "runs, {} pairs counted in"}
_MINUS = "\N{MINUS SIGN}"


def comparison_tables(found: Sequence[Comparison]) -> Iterator[tuple[list[str], list[list[str]]]]:
    """Titles and rows of tables that have a column for A and for each of a few that are compared with it."""
    for _, same in groupby(found, key=lambda c: (c.runs[0], c.means[0], c.sds[0])):  # A without what it shares with B
        comparisons = list(same)
        for start in range(0, len(comparisons), COLUMNS):
            part = comparisons[start : start + COLUMNS]
            yield ["", f"A: {plain(part[0].a)}", *(plain(c.b) for c in part)], _rows(part)


def _rows(found: Sequence[Comparison]) -> list[list[str]]:
    a, metric = found[0], found[0].metric
    share = f"{100 * (1 - a.level):g} % interval"
    rows = [
        ["runs", str(a.runs[0]), *(str(c.runs[1]) for c in found)],
        [metric.words + (" (%)" if metric.unit == "%" else ""), *_both(found, lambda c: c.means)],
        ["SD", *_both(found, lambda c: c.sds)],
        [f"difference to A [{share}]", "", *(_signed(c.difference.value, c) + _range(c) for c in found)],
        ["p-value", "", *(_chance(c.p_value) for c in found)],
        ["compared as", "", *(_METHODS[c.method].format(c.pairs) for c in found)],
        ["chance that a run beats one of A", "", *(_superiority(c) for c in found)],
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
        rows.insert(6 if a.churn else 5, [f"p-value among {a.comparisons}", "", *(_chance(c.p_holm) for c in found)])
    return rows


def _both(found: Sequence[Comparison], figure: Callable[[Comparison], tuple[float, float]]) -> list[str]:
    return [_figure(figure(found[0])[0], found[0]), *(_figure(figure(c)[1], c) for c in found)]


def comparisons_words(found: Sequence[Comparison]) -> list[str]:
    """The sentences below the tables, the verdicts last."""
    sentences = [plain(note) for c in found for note in c.notes]
    if len(found) == 1:
        sentences += [method_words(found[0]), churn_words(found[0])]
    return [*dict.fromkeys(sentences), *(c.sentence for c in found)]


def comparison_words(c: Comparison) -> str:
    """The verdict in one or two sentences, which claim no more than the intervals hold."""
    if c.chance is not None and c.verdict != "different":
        return _by_chance(c)
    return {"better": _ranked, "worse": _ranked, "different": _different, "alike": _alike, "undecided": _undecided}[
        c.verdict
    ](c)


def method_words(c: Comparison) -> str:
    """How the runs were compared, and why."""
    if c.correlation is None:
        return "Compared as independent runs (Welch's t-test)."
    if c.method == "widened":
        return (
            f"Compared as runs of which {c.pairs} pairs have equal seeds: their values correlate at "
            f"{c.correlation:.2f}, which widens the interval of Welch's t-test."
        )
    if c.method == "paired":
        text = f"Compared as {c.pairs} pairs of runs with equal seeds, whose values correlate at {c.correlation:.2f}"
        return text + ("; the difference is of these runs alone." if c.pairs < max(c.runs) else ".")
    return (
        f"Compared as independent runs (Welch's t-test): the values of runs with equal seeds correlate at "
        f"{c.correlation:.2f}, too little for pairs to help."
    )


def churn_words(c: Comparison) -> str:
    """What the change adds to the churn of training."""
    if c.churn is None:
        return ""
    inside = (c.churn.within_a + c.churn.within_b) / 2
    text = (
        f"A run of {plain(c.b)} and one of {plain(c.a)} answer {c.churn.between:.2f} % of the test set differently, "
        f"two runs of the same arm {inside:.2f} %"
    )
    if c.churn.interval is None:
        return text + "."
    if c.churn.interval[0] <= 0:
        return text + ": that the change itself adds churn is not shown."
    low, high = c.churn.interval
    return text + f": the change itself adds {c.churn.excess:.2f} ({low:.2f} to {high:.2f}) points."


def _different(c: Comparison) -> str:
    estimate = c.difference.value
    return (
        f"{plain(c.b)} and {plain(c.a)} are conditions of one study, which vary other sources of one recipe: the mean "
        f"{c.metric.words} of {plain(c.b)} is {_amount(abs(estimate), c)} {'higher' if estimate > 0 else 'lower'} "
        f"({_interval(c)}). That makes neither of them better: the seeds that a condition keeps fixed are lucky or "
        "unlucky ones."
    )


def _by_chance(c: Comparison) -> str:
    low, high = c.superiority_interval
    seen = f"one run of it beats one of {plain(c.a)} with a chance of {c.superiority:.2f} ({low:.2f} to {high:.2f})"
    if c.verdict == "alike":
        return (
            f"{plain(c.b)} and {plain(c.a)} are alike, by a chance of {c.chance:g} that a run of the one beats one of "
            f"the other: of {plain(c.b)}, {seen}."
        )
    if c.verdict == "undecided":
        return f"Not decided by a chance of {c.chance:g} whether {plain(c.b)} is better: {seen}. {_way_on(c)}"
    return f"{plain(c.b)} is {c.verdict} than {plain(c.a)}, by a chance of {c.chance:g}: {seen}."


def _ranked(c: Comparison) -> str:
    estimate = c.difference.value
    low, high = c.superiority_interval
    text = (
        f"{plain(c.b)} is {c.verdict} than {plain(c.a)}{_where(c)}: its mean {c.metric.words} is "
        f"{_amount(abs(estimate), c)} {'higher' if estimate > 0 else 'lower'} ({_interval(c)})"
    )
    if c.comparisons > 1:
        text += f", p = {_chance(c.p_holm)} for {c.comparisons} comparisons"
    return (
        text
        + f". One run of it beats one of {plain(c.a)} with a chance of {c.superiority:.2f} ({low:.2f} to {high:.2f})."
    )


def _alike(c: Comparison) -> str:
    if c.inner is None:
        return (
            f"{plain(c.b)} and {plain(c.a)} are alike within {c.margin:g}{_unit(c)} of {c.metric.words}{_where(c)}: "
            f"all {sum(c.runs)} runs are. Were half of either's runs further apart, none of so many would show it "
            f"with a chance of {_chance(c.p_alike or 0.0)}."
        )
    low, high = c.inner
    return (
        f"{plain(c.b)} and {plain(c.a)} are alike within {c.margin:g}{_unit(c)} of {c.metric.words}{_where(c)}: the "
        f"{100 * (1 - 2 * c.level):g} % interval of the difference, {_signed(low, c)} to {_signed(high, c)}, "
        "lies inside."
    )


def _where(c: Comparison) -> str:
    """Of scores alone it is not known what they are of."""
    return " on test sets like this one" if c.examples else " on this test set" if c.test_set else ""


def _undecided(c: Comparison) -> str:
    seen = _signed(c.difference.value, c) + _unit(c)
    text = f"Not decided whether {plain(c.b)} is better or worse than {plain(c.a)}: the difference seen is {seen} "
    text += f"({_interval(c)})"
    if c.comparisons > 1 and c.p_value <= c.level:
        text += f", which is not enough among {c.comparisons} comparisons"
    return f"{text}. {_way_on(c)}"


def _way_on(c: Comparison) -> str:
    margin = "" if c.margin else "; or name a margin within which a difference does not matter"
    if c.more_runs is None:
        return f"How many runs would decide does not follow from runs whose {c.metric.words} does not vary."
    if not c.more_runs_aim:
        return (
            f"To tell so small a difference from none would take more than {MOST_RUNS:,} further runs of each{margin}."
        )
    aim = "show that they are alike within the margin" if c.more_runs_aim == "alike" else "decide"
    return (
        f"About {c.more_runs:,} more runs of each would {aim}{_between(c)} with a chance of {100 * POWER:g} %, if the "
        "difference and the SDs are those seen."
    )


def _between(c: Comparison) -> str:
    if c.more_runs_range is None:
        return ""
    low, high = c.more_runs_range
    most = f"more than {MOST_RUNS:,}" if high is None else f"{high:,}"
    return "" if low == high else f" (as far as these tell, {low or 1:,} to {most})"


def _interval(c: Comparison) -> str:
    if not c.difference.known:
        same = f"no interval, as all runs of each have the same {c.metric.words}"
        return f"{same}; permutation test: p = {_chance(c.p_permutation)}"
    share = f"{100 * (1 - c.level):g} % interval"
    return f"{share} {_signed(c.difference.low, c)} to {_signed(c.difference.high, c)}"


def _range(c: Comparison) -> str:
    if not c.difference.known:
        return ""
    return f" [{_signed(c.difference.low, c)}, {_signed(c.difference.high, c)}]"


def _superiority(c: Comparison) -> str:
    low, high = c.superiority_interval
    return f"{c.superiority:.2f} [{low:.2f}, {high:.2f}]"


def _excess(churn: Churn) -> str:
    error = churn.errors["excess"]
    return f"{churn.excess:.2f}" + ("" if error is None else f" ± {error:.2f}")


def _ratio(ratio: Estimate) -> str:
    if math.isnan(ratio.value):
        return DASH
    if not ratio.known:
        return f"{ratio.value:.2f}"
    return f"{ratio.value:.2f} [{ratio.low:.2f}, {ratio.high:.2g}]"


def _amount(value: float, c: Comparison) -> str:
    return _figure(value, c) + _unit(c)


def _unit(c: Comparison) -> str:
    return f" {c.metric.points}" if c.metric.points else ""


def _figure(value: float, c: Comparison) -> str:
    decimals = c.metric.decimals
    if abs(value) >= LARGE:
        return f"{value:.3g}"
    return f"{value:.{decimals}f}" if value == 0 or abs(value) >= 0.5 * 10.0**-decimals else f"{value:.0e}"


def _signed(value: float, c: Comparison) -> str:
    return (_MINUS if value < 0 else "+" if value > 0 else "") + _figure(abs(value), c)


def _chance(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 else f"{p:.0e}"


def plan_words(plan: Plan) -> str:
    """A plan in a few sentences."""
    unit = f" {plan.points.removesuffix('s') if plan.effect == 1 else plan.points}" if plan.points else ""
    of = f" of {plan.metric.replace('_', '-')}" if plan.metric and plan.points != "nats" else ""
    text = (
        f"{plan.runs_per_arm:,} runs of each arm find a difference of {plan.effect:g}{unit}{of} with "
        f"a chance of {100 * plan.power:g} % (two-sided t-test at {100 * plan.level:.3g} %), if one run's SD is "
        f"{plan.sd.value:.3g}"
    )
    if plan.looks > 1:
        *first, last = steps(plan.runs_per_arm, plan.looks)
        at = f"after {', '.join(map(str, first))} and {last} runs of each" if first else f"after {last} runs of each"
        text = text.replace("two-sided t-test at", f"looked at {at}, each time by a two-sided t-test at", 1)
    if not plan.pilot:
        return text + " in both arms."
    text += f" in both arms, as in the {plan.pilot_runs} runs of {plain(plan.pilot)}."
    if not plan.sd.known:
        text += " So few runs give that SD no interval: the number is a guess."
    else:
        high = "more than a million" if plan.high is None else f"{plan.high:,}"
        text += f" The SD is known only to lie between {plan.sd.low:.3g} and {plan.sd.high:.3g} (95 %), which " + (
            f"makes it {plan.low:,} to {high}." if plan.low != plan.high else "changes nothing."
        )
    text += f" With the pilot's runs as one arm, {plan.runs_to_train:,} runs are to be trained"
    return text + (f": about {duration(plan.seconds)} at the pilot's pace." if plan.seconds else ".")


def duration(seconds: float) -> str:
    """A time in the largest unit that leaves it above 2."""
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} seconds" if seconds >= 2 else f"{seconds:.1g} seconds"
