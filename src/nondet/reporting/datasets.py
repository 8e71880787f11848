"""Comparisons over several data sets as a table and in words."""

from __future__ import annotations

from dataclasses import replace

from nondet.analysis.datasets import OverDatasets, OverSets
from nondet.io.plain import plain
from nondet.reporting.finding import MOST, Finding, Part, brackets, named, said, with_interval
from nondet.reporting.verdicts import clearest, of_comparison, verdict_words
from nondet.stats.estimate import Estimate

HEAD = ("", "data set", "runs", "A", "B", "difference [interval]", "p", "verdict")


def parts(found: OverDatasets) -> list[Part]:
    """Return a table that has, for each comparison, a row for each data set and one for their mean."""
    table: list[tuple[str, ...]] = []
    for over in found.comparisons:
        title = f"{over.b} against {over.a}"
        for name, c in over.by_set.items():
            runs, means = f"{c.runs[0]} + {c.runs[1]}", (f"{c.means[0]:.5g}", f"{c.means[1]:.5g}")
            table.append((title, name, runs, *means, _range(c.difference), f"{c.p_holm:.2g}", c.verdict))
            title = ""
        table.append(("", "mean of all", "", "", "", _range(over.difference), f"{over.p_holm:.2g}", over.verdict))
    return [Part(HEAD, table, said(found))]


def worded(found: OverDatasets) -> OverDatasets:
    """Add the verdicts in words, for each data set and over all of them."""
    comparisons = tuple(
        replace(
            over,
            by_set={name: replace(c, sentence=of_comparison(c).text) for name, c in over.by_set.items()},
            sentence=" ".join(_said(found, over)),
        )
        for over in found.comparisons
    )
    return replace(found, comparisons=comparisons)


def finding(found: OverDatasets) -> Finding:
    """Return the clearest verdict over all data sets, and the others."""
    first = clearest(found.comparisons)
    caveats = [
        "Each data set's p-value is adjusted for their number (Holm), and the mean's for the number of arms.",
        *(_more(over) for over in found.comparisons),
        _ranks(found),
        *brackets(found.level, [over.difference for over in found.comparisons]),
    ]
    headline, *more = _said(found, first)
    others = [_said(found, over)[0] for over in found.comparisons if over is not first]
    if others:
        more = [*more[:1], *others]
    return Finding(headline, tuple(more[:MOST]), tuple(filter(None, caveats)))


def _said(found: OverDatasets, over: OverSets) -> list[str]:
    ahead = sum(c.difference.value * found.metric.better > 0 for c in over.by_set.values())
    mean = f"mean {named(found.metric.words)} over the data sets differs by {_range(over.difference)}"
    p = f"p = {over.wilcoxon_holm:.2g}"
    others = f"Wilcoxon's signed-rank test, which is about other data sets drawn as these were, has {p}."
    return [verdict_words(over, mean), f"It is ahead on {ahead} of {len(found.datasets)} data sets.", others]


def _more(over: OverSets) -> str:
    a, b, difference = over.iqm
    return (
        f"The interquartile mean of {plain(over.a)} is {a.value:.5g} ({_interval(a)}), of {plain(over.b)} "
        f"{b.value:.5g} ({_interval(b)}), and their difference {difference.value:+.4g} ({_interval(difference)}); "
        f"this assumes that the scores of all data sets are on one scale. The chance that a run of {plain(over.b)} "
        f"beats one of {plain(over.a)} is {over.improvement.value:.2f} ({_interval(over.improvement)})."
    )


def _ranks(found: OverDatasets) -> str:
    if found.ranks is None:
        return ""
    listed = ", ".join(f"{plain(name)} {rank:.2f}" for name, rank in zip(found.arms, found.ranks.mean, strict=True))
    apart = [
        f"{plain(found.arms[i])} and {plain(found.arms[j])} (p = {p:.2g})"
        for (i, j), p in found.ranks.pairs.items()
        if p <= found.level
    ]
    return (
        f"Mean ranks, where 1 is best: {listed}; all the same: p = {found.ranks.p_value:.2g} (Friedman). Nemenyi's "
        f"test tells apart: {', '.join(apart) or 'no two'}."
    )


def _range(e: Estimate) -> str:
    return with_interval(e, "{:+.4g}".format)


def _interval(e: Estimate) -> str:
    return f"{e.low:.4g} to {e.high:.4g}" if e.known else "no interval"
