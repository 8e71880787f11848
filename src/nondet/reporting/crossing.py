"""A crossed design as a table and in words."""

from __future__ import annotations

import math
from collections.abc import Callable

from nondet.analysis.crossing import Crossing
from nondet.reporting.finding import Finding
from nondet.reporting.prose import causes, failed_words
from nondet.stats.components import Component, Components
from nondet.stats.estimate import UNKNOWN, Estimate

DASH = "\N{EN DASH}"
TIMES = " \N{MULTIPLICATION SIGN} "
DECIDED = 0.5
"""A share counts as most of the variance if its whole interval is above this."""


def head(crossing: Crossing) -> tuple[str, ...]:
    titles = [f"{score.abbreviation or score.words} variance (%)" for score in crossing.kind.scores]
    return ("what varies", *(cell for title in titles for cell in (title, "95 %")), "disagree (%)", "95 %")


def rows(crossing: Crossing) -> list[tuple[str, ...]]:
    """Return a row for each set of sources: its shares of the variance, and how much it alone makes runs disagree."""
    table: list[tuple[str, ...]] = []
    for number, (s, pairs) in enumerate(crossing.disagreement):
        name = TIMES.join(crossing.design.vary[axis] for axis in s)
        if crossing.is_dead(s):
            table.append((f"{name} (dead)", *(DASH,) * (len(head(crossing)) - 1)))
        else:
            shares = _share_cells(crossing, lambda found, number=number: found.parts[number][1])
            table.append((name, *shares, _plus_minus(pairs, 1, 2), _range(pairs, 1, 2)))
    if len(crossing.design.vary) > 2 and table:
        table.append(("all interactions", *_share_cells(crossing, lambda found: found.interactions), DASH, DASH))
    return table


def _share_cells(crossing: Crossing, part: Callable[[Components], Component]) -> tuple[str, ...]:
    found = [crossing.split.get(score.name) for score in crossing.kind.scores]
    shares = [part(split).share if split else UNKNOWN for split in found]
    return tuple(cell for share in shares for cell in (_plus_minus(share, 100, 0), _range(share, 100, 0)))


def _plus_minus(e: Estimate, unit: float, decimals: int) -> str:
    if math.isnan(e.value):
        return DASH
    value = round(unit * e.value, decimals) + 0.0  # no -0
    return f"{value:.{decimals}f}" + ("" if math.isnan(e.error) else f" ± {unit * e.error:.{decimals}f}")


def _range(e: Estimate, unit: float, decimals: int) -> str:
    if math.isnan(e.low):
        return DASH
    return f"{unit * e.low:.{decimals}f} to {unit * e.high:.{decimals}f}"


def words(crossing: Crossing) -> list[str]:
    """Return what the crossing shows, in two or three sentences, or why it shows nothing."""
    design = crossing.design
    if crossing.failures:
        trained = not any(failure.why for failure in crossing.failures.values())
        way_out = "try a lower learning rate" if trained else "fix the training"
        return [
            f"Of the crossed design's runs, {len(crossing.failures)} failed: {failed_words(crossing.failures)}. "
            f"Variance components need a sound run in every cell, so there are none; {way_out} in a new study."
        ]
    if not crossing.disagreement:
        return [f"The crossed design has {crossing.runs} of its {design.runs} runs; variance components need them all."]
    if len(crossing.dead) == len(design.vary):
        return dead_words(crossing)
    return [*dead_words(crossing), _variance_words(crossing), _disagreement_words(crossing)]


def dead_words(crossing: Crossing) -> list[str]:
    """Say which of the crossed sources reach nothing, and why that may be; empty if all reach something."""
    if not crossing.dead:
        return []
    why = causes(crossing.dead)
    return [
        f"DEAD: in the crossed design no seed of {' or '.join(crossing.dead)} changes an output of any run by even one "
        "bit. This is not an effect of 0, and no finding includes it." + (f" Likely causes: {why}." if why else "")
    ]


def _variance_words(crossing: Crossing) -> str:
    found, design = crossing.split.get(crossing.performance), crossing.design
    if found is None:
        return f"The {crossing.performance} of a run is not finite, so its variance cannot be divided."
    total = [math.sqrt(v or 0.0) for v in (found.total.value, found.total.low, found.total.high)]
    if not total[0]:
        return f"All {design.runs} runs have the same {crossing.performance}, so there is no variance to divide."
    named = [*((f"{name} alone", c) for name, c in _alone(crossing, found)), ("their interactions", found.interactions)]
    shares = [f"{name} {_share_words(c.share)}" for name, c in named]
    most = [name for name, c in named if (c.share.low or 0.0) > DECIDED]
    verdict = (
        f"most of it is due to {most[0]}"
        if most
        else f"{design.levels} levels do not show what causes most of it; more levels would narrow the intervals"
    )
    return (
        f"Between runs whose seeds of {', '.join(design.vary)} are all new, {crossing.performance} has an SD of "
        f"{total[0]:.3g}{_unit(crossing)} ({total[1]:.2g} to {total[2]:.2g}) around {found.mean:.2f}. The shares of "
        f"that variance are: {', '.join(shares[:-1])}, and {shares[-1]}, with 95 % intervals in brackets; {verdict}."
    )


def _alone(crossing: Crossing, found: Components) -> list[tuple[str, Component]]:
    """Return each source that is not dead, with what it causes alone."""
    return [(crossing.design.vary[s[0]], c) for s, c in found.parts if len(s) == 1 and not crossing.is_dead(s)]


def _unit(crossing: Crossing) -> str:
    points = crossing.kind.scores[0].points
    return f" {points}" if points else ""


def _share_words(share: Estimate) -> str:
    value, low, high = (100 * (v or 0.0) for v in (share.value, share.low, share.high))
    if value < 0:
        return f"none visible (at most {high:.0f} %)"
    if value > 100:
        return f"all of it (at least {low:.0f} %)"
    return f"{value:.0f} % ({low:.0f} to {high:.0f})"


def _disagreement_words(crossing: Crossing) -> str:
    single = [
        f"{_plus_minus(pairs, 1, 2)} % if {crossing.design.vary[s[0]]} alone differs"
        for s, pairs in crossing.disagreement
        if len(s) == 1 and not crossing.is_dead(s)
    ]
    together = _plus_minus(crossing.disagreement[-1][1], 1, 2)
    what = crossing.kind.example
    return f"Two runs disagree on {', '.join(single)}, and on {together} % of the test {what}s if all differ."


def finding(crossing: Crossing) -> Finding:
    """Say how much runs vary if all their seeds are new, and each source's share of that."""
    found = crossing.split.get(crossing.performance)
    if found is None or not found.total.value > 0:
        return Finding("The crossed design shows no variance to divide.", (), tuple(words(crossing)))
    low, value, high = (math.sqrt(max(v, 0.0)) for v in (found.total.low, found.total.value, found.total.high))
    interval = "" if math.isnan(found.total.low) else f" [{low:.2g}, {high:.2g}]"
    spread = f"{crossing.performance} has an SD of {value:.3g}{_unit(crossing)}{interval}"
    headline = f"Between runs whose crossed seeds are all new, {spread}."
    named = [*_alone(crossing, found), ("their interactions", found.interactions)]
    shares = ", ".join(f"{name} {_share_words(c.share)}" for name, c in named)
    sentences = (f"Shares of that variance: {shares}.", _disagreement_words(crossing))
    return Finding(headline, sentences, (*dead_words(crossing), "Brackets show 95 % intervals."))
