"""What a comparison of arms has found: first the verdict, with the difference that it is based on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from nondet.analysis.comparison import Comparison, Comparisons
from nondet.analysis.more_runs import MOST_RUNS, POWER
from nondet.io.plain import plain
from nondet.reporting.decisions import SHORT, comparison_tables, difference, figure, p_words, signed, superiority, unit
from nondet.reporting.finding import MOST, Finding, Part, brackets, capital, named, said
from nondet.reporting.prose import PROBABILITIES


def parts(found: Comparisons) -> list[Part]:
    """Return the tables of the arms, and what is found."""
    alone = found.comparisons[0] if len(found.comparisons) == 1 else None
    tables = [Part(head, rows, short=SHORT) for head, rows in comparison_tables(found.comparisons)]
    return [*tables, Part(below=said(found, method_words(alone) if alone else ""))]


def cautions(found: Comparisons) -> list[str]:
    """Return a warning for each arm whose outputs look like probabilities."""
    return [f"{name}: {PROBABILITIES}" for name in found.probabilities]


def of_comparisons(found: Comparisons) -> Finding:
    """Return the verdict of one comparison; of several, the clearest verdict and how many there are of each."""
    notes = dict.fromkeys(note for c in found.comparisons for note in _notes(c))
    return of_several(found.comparisons, of_comparison, (*notes, *_scope(found.comparisons)))


def of_several(found: Sequence[Any], of_one: Callable[[Any], Finding], caveats: Iterable[str]) -> Finding:
    """Return the finding of the clearest of these comparisons; with others, how many verdicts there are of each."""
    first = clearest(found)
    one = of_one(first)
    if len(found) == 1:
        return one
    counts = Counter("not decided" if c.verdict == "undecided" else c.verdict for c in found)
    listed = ", ".join(f"{count} {'is' if count == 1 else 'are'} {verdict}" for verdict, count in counts.items())
    several = f"Of the {len(found)} compared with {plain(first.a)}, {listed}."
    return Finding(one.headline, (several, *one.sentences)[:MOST], tuple(caveats))


def clearest(found: Sequence[Any]) -> Any:
    """Return the comparison that is decided with the smallest p-value, and of several the largest difference."""
    return min(found, key=lambda c: (c.verdict == "undecided", c.p_holm, -abs(c.difference.value)))


def verdict_words(c: Any, seen: str) -> str:
    """Return the verdict by means, with the difference that was seen."""
    a, b = named(c.a), named(c.b)
    words = {
        "different": f"{b} and {a} differ",
        "undecided": f"It is undecided whether {b} is better or worse than {a}",
        "alike": f"{b} and {a} are alike within the margin",
    }
    return f"{words.get(c.verdict, f'{b} is {c.verdict} than {a}')}: {seen}."


def of_comparison(c: Comparison) -> Finding:
    """Return the verdict with the difference, what else shows its size, and the caveats."""
    first, *more = _by_chance(c) if c.chance is not None and c.verdict != "different" else _by_means(c)
    sentences = tuple(filter(None, [*more, churn_words(c)]))
    return Finding(first, sentences[:MOST], (*_notes(c), *_scope([c])))


def _by_means(c: Comparison) -> list[str]:
    words = plain(c.metric.words)
    if c.verdict == "different":
        why = "as conditions of one study, they vary different sources of one recipe"
        return [verdict_words(c, f"{words} {_differs(c)}"), f"That makes neither of them better: {why}."]
    if c.verdict == "undecided":
        among = c.comparisons > 1 and c.p_value <= c.level
        why = f"p = {p_words(c.p_value)} is not small enough among {c.comparisons} comparisons." if among else ""
        return [verdict_words(c, f"{words} {_differs(c)}"), why, _way_on(c)]
    if c.verdict == "alike":
        return [verdict_words(c, f"{words} differs by {difference(c, unit(c))}"), _inside(c)]
    among = f"Among {c.comparisons} comparisons, p = {p_words(c.p_holm)}." if c.comparisons > 1 else ""
    beats = f"One run of {plain(c.b)} beats one of {plain(c.a)} with a chance of {superiority(c)}."
    return [verdict_words(c, f"mean {words} {_differs(c)}"), among, beats]


def _by_chance(c: Comparison) -> list[str]:
    a, b = named(c.a), named(c.b)
    seen = f"one run of it beats one of {a} with a chance of {superiority(c)}"
    rule = f"The verdict uses a threshold of {c.chance:g} for the chance that a run of one beats a run of the other."
    if c.verdict == "alike":
        return [f"{b} and {a} are alike: {seen.replace('one run of it', f'one run of {b}', 1)}.", rule]
    if c.verdict == "undecided":
        return [f"It is undecided whether {b} is better: {seen}.", rule, _way_on(c)]
    return [f"{b} is {c.verdict} than {a}: {seen}.", rule]


def _differs(c: Comparison) -> str:
    """Say by how much the means differ, as a predicate; higher or lower if the interval shows which."""
    e = c.difference
    if not e.known or e.low <= 0 <= e.high:
        return f"differs by {difference(c, unit(c))}"
    low, high = sorted((abs(e.low), abs(e.high)))
    ends = f"[{figure(low, c)}, {figure(high, c)}]"
    return f"is {figure(abs(e.value), c)}{unit(c)} {ends} {'higher' if e.value > 0 else 'lower'}"


def _inside(c: Comparison) -> str:
    """Say why two arms count as alike."""
    margin = f"the margin of {c.margin:g}{unit(c)}"
    if c.inner is None:
        return (
            f"All {sum(c.runs)} runs lie within {margin}; if half of either's runs were further apart, all of these "
            f"would lie within it with a chance of {p_words(c.p_alike or 0.0)}."
        )
    low, high = c.inner
    share = f"{100 * (1 - 2 * c.level):g} % interval"
    return f"The {share} of the difference, {signed(low, c)} to {signed(high, c)}, lies inside {margin}."


def _way_on(c: Comparison) -> str:
    margin = "" if c.margin else "; or name a margin within which a difference does not matter"
    if c.more_runs is None:
        return f"These runs cannot show how many more would decide, because their {c.metric.words} does not vary."
    if not c.more_runs_aim:
        return f"Telling so small a difference from none would take more than {MOST_RUNS:,} more runs of each{margin}."
    aim = "show that they are alike within the margin" if c.more_runs_aim == "alike" else "decide"
    return (
        f"About {c.more_runs:,} more runs of each{_between(c)} would {aim} with a chance of {100 * POWER:g} %, if the "
        "difference and the SDs are as seen."
    )


def _between(c: Comparison) -> str:
    if c.more_runs_range is None:
        return ""
    low, high = c.more_runs_range
    most = f"more than {MOST_RUNS:,}" if high is None else f"{high:,}"
    return "" if low == high else f" ({low or 1:,} to {most}, judging by these)"


def _notes(c: Comparison) -> list[str]:
    notes = [plain(note) for note in c.all_notes]
    if not c.difference.known:
        same = f"There is no interval, because all runs of each have the same {c.metric.words}"
        notes.append(f"{same}; permutation test: p = {p_words(c.p_permutation)}.")
    return notes


def _scope(found: Sequence[Comparison]) -> list[str]:
    """Say what the verdicts apply to, and what the brackets are."""
    c, shown = found[0], brackets(found[0].level, [one.difference for one in found])
    if not c.test_set and not c.examples:
        return [*shown]
    other = "and for other test examples" if c.examples else "on this test set, but not for other test examples"
    return [f"This allows for other runs {other}.", *shown]


def method_words(c: Comparison) -> str:
    """Say how the runs were compared, and why."""
    if c.correlation is None:
        return "Compared as independent runs (Welch's t-test)."
    if c.method == "widened":
        return (
            f"Compared as runs that include {c.pairs} pairs with equal seeds: their values correlate at "
            f"{c.correlation:.2f}, which widens the interval of Welch's t-test."
        )
    if c.method == "paired":
        text = f"Compared as {c.pairs} pairs of runs with equal seeds, whose values correlate at {c.correlation:.2f}"
        return text + ("; the difference is between these runs only." if c.pairs < max(c.runs) else ".")
    return (
        f"Compared as independent runs (Welch's t-test): the values of runs with equal seeds correlate at "
        f"{c.correlation:.2f}, too weakly for pairing to help."
    )


def churn_words(c: Comparison) -> str:
    """Say what the change adds to the churn of training."""
    if c.churn is None:
        return ""
    inside = (c.churn.within_a + c.churn.within_b) / 2
    two = f"a run of {plain(c.b)} and one of {plain(c.a)} disagree on {c.churn.between:.2f} % of the test set"
    both = f"{two}, two runs of the same arm on {inside:.2f} %"
    if c.churn.interval is None:
        return f"{capital(both)}."
    low, high = c.churn.interval
    if low <= 0:
        return f"The change is not shown to add churn: {both}."
    return f"The change itself adds {c.churn.excess:.2f} points of churn [{low:.2f}, {high:.2f}] to {inside:.2f} %."
