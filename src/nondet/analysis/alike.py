"""Whether the sources' effects are the same: as a table, as JSON, and in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from nondet.analysis.effects import Effects
from nondet.stats.equivalence import Omnibus, Pair, figure, omnibus, pairs

TITLES = MappingProxyType(
    {
        "accuracy.sd": "acc. SD",
        "perplexity.sd": "PPL SD",
        "cross_entropy.sd": "CE SD",
        "disagreement": "disagree",
        "correlation.pearson": "1 - corr.",
        "ensemble_delta.accuracy": "ens. acc.",
        "ensemble_delta.cross_entropy": "ens. CE",
    }
)
"""The metrics as a table's columns are called."""

WORDS = MappingProxyType(
    {
        "accuracy.sd": "the accuracy SD",
        "perplexity.sd": "the perplexity SD",
        "cross_entropy.sd": "the cross-entropy SD",
        "disagreement": "disagreement",
        "correlation.pearson": "1 - correlation",
        "ensemble_delta.accuracy": "the ensemble's gain in accuracy",
        "ensemble_delta.cross_entropy": "the ensemble's gain in cross-entropy",
    }
)

VERDICTS = MappingProxyType({"equivalent": "alike", "different": "differ", "undecided": "open"})


@dataclass(frozen=True)
class Alike:
    """The tests of the conditions with one onset."""

    effects: Effects
    omnibus: tuple[Omnibus, ...]
    pairs: tuple[Pair, ...]
    margin: float
    level: float


def alike(effects: Effects, margin: float, level: float) -> Alike:
    """All tests of these conditions; BadInput if the margin or the level cannot be."""
    found = [pair for metric in effects.metrics for pair in pairs(metric, margin, level)]
    return Alike(effects, tuple(omnibus(effects.metrics)), tuple(found), margin, level)


def as_json(found: Sequence[Alike], left_out: Mapping[str, str]) -> dict[str, Any]:
    """The JSON contract of `nondet alike --json`; `runs_needed` counts the reference run too, as --runs does."""
    return {
        "omnibus": [{**vars(test), "onset": a.effects.onset} for a in found for test in a.omnibus],
        "pairs": [
            {**vars(pair), "runs_needed": _runs_needed(pair), "onset": a.effects.onset}
            for a in found
            for pair in a.pairs
        ],
        "margin": found[0].margin,
        "level": found[0].level,
        "runs": {name: runs for a in found for name, runs in a.effects.runs.items()},
        "left_out": [{"condition": name, "reason": reason} for name, reason in left_out.items()],
        "sentence": " ".join(sentence(a) for a in found),
    }


def rows(found: Alike) -> list[tuple[str, ...]]:
    """The table's cells: for each pair and metric the ratio, the verdict and the ratio's interval."""
    by_place = {(p.a, p.b, p.metric): p for p in found.pairs}
    names = [metric.name for metric in found.effects.metrics]
    p_values = {test.metric: f"{test.p_holm:.2g}" for test in found.omnibus}
    table = [("all the same? p =", *(p_values.get(name, "") for name in names))]
    for a, b in dict.fromkeys((p.a, p.b) for p in found.pairs):
        table.append((f"{a} / {b}", *(_cell(by_place.get((a, b, name))) for name in names)))
    return table


def head(found: Alike) -> tuple[str, ...]:
    """The table's column titles."""
    return ("", *(TITLES[metric.name] for metric in found.effects.metrics))


def legend(found: Sequence[Alike]) -> str:
    """What the tables' cells are."""
    runs = sorted({n for one in found for n in one.effects.runs.values()})
    many = f"{runs[0]}" if len(runs) == 1 else f"{runs[0]} to {runs[-1]}"
    return (
        f"Each cell: ratio of the two effects, its {100 - 200 * found[0].level:g} % interval, and whether the two were "
        f"shown alike within a margin of {found[0].margin:g}, shown to differ, or neither (open). These verdicts are "
        f"adjusted for the number of pairs (Holm), the intervals are not. From {many} runs a condition, without the "
        "reference run that all share."
    )


def sentence(found: Alike) -> str:
    """What was shown of these conditions, and no more."""
    text = " ".join(filter(None, (_differences(found), _likeness(found), _without_effect(found))))
    onset = found.effects.onset
    return f"From epoch {onset} on, {text[0].lower()}{text[1:]}" if onset else text


def _cell(pair: Pair | None) -> str:
    if pair is None or pair.ratio is None:
        return f"none {VERDICTS[pair.verdict]}" if pair else ""
    interval = f"\n{_number(pair.low)} to {_number(pair.high)}" if pair.low is not None else ""
    return f"{_number(pair.ratio)} {VERDICTS[pair.verdict]}{interval}"


def _number(value: float | None) -> str:
    return f"{value:.2f}" if value is not None and 0.01 <= value < 100 else f"{value:.0e}"


def _differences(found: Alike) -> str:
    shown = [WORDS[test.metric] for test in found.omnibus if test.p_holm <= found.level]
    if shown:
        return f"The sources do not all have the same effect: they differ in {_listed(shown)}."
    least = min((test.p_holm for test in found.omnibus), default=1.0)
    return f"No difference between the sources' effects was shown (p = {least:.2g}), which does not make them alike."


def _likeness(found: Alike) -> str:
    """Which pairs were shown alike; of the others, what it would take if they are."""
    metrics = [metric.name for metric in found.effects.metrics]
    names = list(dict.fromkeys((p.a, p.b) for p in found.pairs))
    counts = {m: sum(p.metric == m and p.verdict == "equivalent" for p in found.pairs) for m in metrics}
    shown = {m: count for m, count in counts.items() if count}
    both = Counter((p.a, p.b) for p in found.pairs if p.verdict == "equivalent")
    every = [pair for pair in names if both[pair] == len(metrics)]
    margin = f"at a margin of {found.margin:g}"
    if not shown:
        text = f"No two sources were shown alike in any metric {margin}"
    elif len(names) == 1:
        text = f"{names[0][0]} and {names[0][1]} were shown alike {margin} in {_listed([WORDS[m] for m in shown])}"
    else:
        parts = ", ".join(f"in {WORDS[m]} {count}" for m, count in shown.items())
        whole = "; ".join(f"{a} and {b}" for a, b in every) or "none"
        text = f"Of the {len(names)} pairs of sources these were shown alike {margin}: {parts}; in every metric {whole}"
    return text + _what_it_takes(found, [m for m in metrics if counts[m] < len(names)]) + "."


def _what_it_takes(found: Alike, names: Sequence[str]) -> str:
    """How many runs would show an undecided pair alike, in the metrics in which it takes fewest and most."""
    needed: dict[str, int] = {}
    for name in names:
        runs = [r for p in found.pairs if p.metric == name and p.verdict == "undecided" and (r := _runs_needed(p))]
        if runs:
            needed[name] = sorted(runs)[len(runs) // 2]
    if not needed:
        return ""
    low, high = min(needed, key=lambda name: needed[name]), max(needed, key=lambda name: needed[name])
    text = f". Two of equal effect would be, with about {_rounded(needed[low])} runs each in {WORDS[low]}"
    return text + (f", and with {_rounded(needed[high])} in {WORDS[high]}" if high != low else "")


def _without_effect(found: Alike) -> str:
    parts: list[str] = []
    for condition in found.effects.runs:
        own = [m for m in found.effects.metrics if condition in m.by_run]
        zero = [WORDS[m.name] for m in own if figure(m.by_run[condition], m.spread) == 0]
        if zero:
            parts.append(f"{condition} has no effect" + (f" on {_listed(zero)}" if len(zero) < len(own) else " at all"))
    return f"In these runs {'; '.join(parts)}." if parts else ""


def _runs_needed(pair: Pair) -> int | None:
    return None if pair.runs_needed is None else pair.runs_needed + 1


def _rounded(runs: int) -> str:
    """Two digits: the number is itself an estimate."""
    return f"{float(f'{runs:.2g}'):,.0f}"


def _listed(parts: Sequence[str]) -> str:
    return f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else "".join(parts)
