"""Whether the sources' effects are the same: as tables and in words."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from nondet.analysis.alike import Alike, Group, listed
from nondet.io.plain import plain
from nondet.reporting.finding import MOST, Finding, Part, named, said
from nondet.running import until
from nondet.stats.equivalence import Pair, figure

SHOWN = 3
"""How many pairs a sentence names."""

VERDICTS = {"equivalent": "alike", "different": "differ", "undecided": "open"}


def parts(found: Alike) -> list[Part]:
    """Return a table for each onset, what its cells are, and what is found."""
    several = len(found.groups) > 1
    tables = [
        Part(
            ("", *(found.figures[metric.name].short for metric in group.metrics)),
            _rows(group),
            above=f"Sources that vary from epoch {group.onset} on:" if several else "",
        )
        for group in found.groups
    ]
    left_out = [f"Left out: {name} ({reason})." for name, reason in found.left_out.items()]
    asked = until.words(found.study.until) if found.study else ""
    # what the finding leaves out: which pairs are alike in how many metrics, and what has no effect
    details = [
        f"From epoch {group.onset} on: {text}" if several else text
        for group in found.groups
        if (text := " ".join(filter(None, (_likeness(found, group), _without_effect(found, group)))))
    ]
    return [*tables, Part(below=[_legend(found), *left_out, asked, *said(found, *details)])]


def _rows(group: Group) -> list[tuple[str, ...]]:
    """Return two rows for each pair, one with the ratio and verdict, one with the ratio's interval.

    Pairs that differ come first, then undecided ones.
    """
    by_place = {(p.a, p.b, p.metric): p for p in group.pairs}
    names = [metric.name for metric in group.metrics]
    p_values = {test.metric: f"{test.p_holm:.2g}" for test in group.omnibus}
    table = [("all the same? p =", *(p_values.get(name, "") for name in names))]
    for a, b in _named_pairs(group):
        of_metrics = [by_place.get((a, b, name)) for name in names]
        table.append((f"{a} / {b}", *map(_ratio, of_metrics)))
        table.append(("", *map(_interval, of_metrics)))
    return table


def _named_pairs(group: Group) -> list[tuple[str, str]]:
    """Return the names of each pair, from those that differ in most metrics to those that are alike in most."""
    verdicts: dict[tuple[str, str], Counter[str]] = {}
    for pair in group.pairs:
        verdicts.setdefault((pair.a, pair.b), Counter())[pair.verdict] += 1
    return sorted(verdicts, key=lambda names: (-verdicts[names]["different"], verdicts[names]["equivalent"]))


def finding(found: Alike) -> Finding:
    """Return the clearest pair, preferably one that differs, and how many pairs differ and how many are alike."""
    pairs = [pair for group in found.groups for pair in group.pairs]
    differing = [pair for pair in pairs if pair.verdict == "different"]
    same = [pair for pair in pairs if pair.verdict == "equivalent"]
    what = "arms" if found.study is None else "sources"
    headline = f"No two {what} were shown to differ in any metric, and no two to be alike."
    if differing or same:
        clearest = (
            min(differing, key=lambda p: (p.ratio is None, p.p_different_holm, -abs(math.log(p.ratio or 1.0))))
            if differing
            else min(same, key=lambda p: (p.p_holm, abs(math.log(p.ratio or 1.0))))
        )
        headline = _headline(found, clearest, "differ" if differing else "are alike")
    every = {(p.a, p.b): None for p in pairs}
    counts = [
        f"{_pairs_named(chosen, len(every))} {verb} in at least one metric."
        for chosen, verb in ((differing, "differ"), (same, "are alike"))
        if chosen
    ]
    tests = [_differences(found, group) for group in found.groups[:1]]
    share = f"{100 - 200 * found.level:g} % intervals"
    caveats = [
        *map(plain, found.all_notes),
        f"Verdicts use a margin of {found.margin:g} and are adjusted for the number of pairs (Holm); brackets show "
        f"{share}, which are not adjusted.",
    ]
    return Finding(headline, (*counts, *tests)[:MOST], tuple(caveats))


def _headline(found: Alike, pair: Pair, verb: str) -> str:
    metric = found.figures[pair.metric].words.removeprefix("the ").removeprefix("1 - ")
    interval = "" if pair.low is None else f" [{_number(pair.low)}, {_number(pair.high)}]"
    ratio = "" if pair.ratio is None else f": the ratio of their effects is {_number(pair.ratio)}{interval}"
    return f"{named(pair.a)} and {named(pair.b)} {verb} in {metric}{ratio}."


def _pairs_named(chosen: Sequence[Pair], every: int) -> str:
    """Say how many pairs, with the names of a few."""
    names = [f"{plain(a)} and {plain(b)}" for a, b in dict.fromkeys((p.a, p.b) for p in chosen)]
    if every == 1:
        return names[0]
    more = f"; {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"Of the {every} pairs {len(names)} ({'; '.join(names[:SHOWN])}{more})"


def _legend(found: Alike) -> str:
    """Explain the tables' cells."""
    runs = sorted({n for group in found.groups for n in group.runs.values()})
    many = f"{runs[0]}" if len(runs) == 1 else f"{runs[0]} to {runs[-1]}"
    shared = "" if found.study is None else ", without the reference run that all share"
    each = "per arm" if found.study is None else "per condition"
    return (
        f"Each cell: the ratio of the two effects, its {100 - 200 * found.level:g} % interval, and "
        f"whether the two were shown to be alike within a margin of {found.margin:g}, to differ, or neither (open). "
        f"These verdicts are adjusted for the number of pairs (Holm); the intervals are not. From {many} runs "
        f"{each}{shared}."
    )


def sentences(found: Alike) -> list[str]:
    """Say what was shown for the conditions of each onset, and no more."""
    said: list[str] = []
    for group in found.groups:
        parts = (_differing(found, group), _differences(found, group), _likeness(found, group))
        text = " ".join(filter(None, (*parts, _without_effect(found, group))))
        said.append(f"From epoch {group.onset} on, {text[0].lower()}{text[1:]}" if group.onset else text)
    return said


def _ratio(pair: Pair | None) -> str:
    if pair is None:
        return ""
    return f"{'none' if pair.ratio is None else _number(pair.ratio)} {VERDICTS[pair.verdict]}"


def _interval(pair: Pair | None) -> str:
    return "" if pair is None or pair.low is None else f"{_number(pair.low)} to {_number(pair.high)}"


def _number(value: float | None) -> str:
    return f"{value:.2f}" if value is not None and 0.01 <= value < 100 else f"{value:.0e}"


def _words(found: Alike, names: Sequence[str]) -> str:
    return listed([found.figures[name].words for name in names])


def _differing(found: Alike, group: Group) -> str:
    """Name the pairs that were shown to differ, each with its metrics."""
    parts = [
        f"{a} and {b} in {_words(found, metrics)}"
        for a, b in _named_pairs(group)
        if (metrics := [p.metric for p in group.pairs if (p.a, p.b) == (a, b) and p.verdict == "different"])
    ]
    return f"These pairs differ: {'; '.join(parts)}." if parts else ""


def _differences(found: Alike, group: Group) -> str:
    shown = [test.metric for test in group.omnibus if test.p_holm <= found.level]
    if shown:
        same = (
            "The arms do not all vary alike" if found.study is None else "The sources do not all have the same effect"
        )
        return f"{same}: they differ in {_words(found, shown)}."
    least = min((test.p_holm for test in group.omnibus), default=1.0)
    effects = "between how the arms vary" if found.study is None else "between the sources' effects"
    return f"No difference {effects} was shown (p = {least:.2g}), which does not make them alike."


def _likeness(found: Alike, group: Group) -> str:
    """Say which pairs were shown to be alike, and what it would take for the others if they are."""
    metrics = [metric.name for metric in group.metrics]
    names = list(dict.fromkeys((p.a, p.b) for p in group.pairs))
    counts = {m: sum(p.metric == m and p.verdict == "equivalent" for p in group.pairs) for m in metrics}
    shown = {m: count for m, count in counts.items() if count}
    both = Counter((p.a, p.b) for p in group.pairs if p.verdict == "equivalent")
    margin, what = f"at a margin of {found.margin:g}", "arms" if found.study is None else "sources"
    if not shown:
        text = f"No two {what} were shown to be alike in any metric {margin}"
    elif len(names) == 1:
        text = f"{names[0][0]} and {names[0][1]} were shown to be alike {margin} in {_words(found, list(shown))}"
    else:
        parts = ", ".join(f"in {found.figures[m].words} {count}" for m, count in shown.items())
        whole = "; ".join(f"{a} and {b}" for a, b in names if both[a, b] == len(metrics)) or "none"
        text = (
            f"Of the {len(names)} pairs of {what} these were shown to be alike {margin}: {parts}; in "
            f"every metric {whole}"
        )
    return text + _what_it_takes(found, group, [m for m in metrics if counts[m] < len(names)]) + "."


def _what_it_takes(found: Alike, group: Group, names: Sequence[str]) -> str:
    """Say how many runs would show an undecided pair to be alike, in the metrics that take fewest and most.

    Numbers have two digits, because they are themselves estimates.
    """
    needed: dict[str, int] = {}
    for name in names:
        runs = [r for p in group.pairs if p.metric == name and p.verdict == "undecided" and (r := found.runs_needed(p))]
        if runs:
            needed[name] = sorted(runs)[len(runs) // 2]
    if not needed:
        return ""
    low, high = min(needed, key=needed.__getitem__), max(needed, key=needed.__getitem__)
    words = [
        f"{float(f'{needed[name]:.2g}'):,.0f}{each} in {found.figures[name].words}"
        for name, each in ((low, " runs each"), (high, ""))
    ]
    return f". Equal effects would be, with about {words[0]}" + (f", and with {words[1]}" if high != low else "")


def _without_effect(found: Alike, group: Group) -> str:
    parts: list[str] = []
    for condition in group.runs:
        own = [m for m in group.metrics if condition in m.by_run]
        zero = [m.name for m in own if figure(m.by_run[condition], m.spread) == 0]
        if zero:
            what = f" on {_words(found, zero)}" if len(zero) < len(own) else " at all"
            parts.append(f"{condition} has no effect{what}")
    return f"In these runs {'; '.join(parts)}." if parts else ""
