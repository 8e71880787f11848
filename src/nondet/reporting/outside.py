"""A page about runs made elsewhere: outputs or scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from shlex import quote

from nondet.analysis.arm import Arm
from nondet.analysis.outside import Outside
from nondet.io.plain import plain
from nondet.measures.shape import few_runs
from nondet.reporting import table
from nondet.reporting.finding import Finding, capital, with_interval
from nondet.reporting.glossary import glossary
from nondet.reporting.page import hero, rendered, with_picture
from nondet.reporting.plots import sections_outside
from nondet.reporting.results import of_measures
from nondet.reporting.unstable import Cards, cards_of
from nondet.stats.estimate import Estimate

NOTE = "Each row is an arm: runs of one recipe, made elsewhere, so nothing is known about their control."
NO_PICTURES = "only a study's task has pictures, and these runs were made elsewhere"


def page(found: Outside, condition: str = "") -> str:
    """Return the page, as HTML.

    Args:
        condition: the arm whose most unstable examples are shown; the first if empty.

    Raises:
        BadInput: there is no such arm.
    """
    shown, figures = found.chosen(condition), found.kind.figures
    score = shown.metric.name.replace(".", "_")
    spread = {figure.name: figure.plot for figure in figures}.get(f"{score}.sd", "")
    first = [score, spread] if len(found.arms) == 1 else [spread, score]
    begin, rest = with_picture(hero(finding(found)), sections_outside(found), first)
    return rendered(
        task=Path(found.name).name or found.name,
        note=NOTE,
        facts=_facts(found),
        ran=[],
        zero=None,
        control="",
        hero=begin,
        head=table.head(figures, "arm"),
        rows=[
            (name, str(m.runs), *table.cells(figures, m, in_one_precision=True)) for name, m in found.measures.items()
        ],
        words=glossary(figures),
        sections=rest,
        unstable=_cards(shown),
        environment=[],
        recipe=[],
        commands=[f"nondet report {quote(plain(found.name))}"],
        failed=[],
    )


def finding(found: Outside) -> Finding:
    """Say how much the runs vary: one arm as `nondet measure` does, or which of several varies most."""
    few = few_runs({name: m.runs for name, m in found.measures.items()})
    caveats = (*dict.fromkeys(found.notes), *([few] if few else []))
    (name, first), *others = found.measures.items()
    if not others and "disagreement" in first.estimates:
        said = of_measures(first)
        return replace(said, caveats=(*said.caveats, *caveats))
    score = found.chosen("").metric
    dotted = score.name.replace(".", "_")
    spreads = {arm: m.get(f"{dotted}.sd") for arm, m in found.measures.items()}
    means = {arm: m.get(f"{dotted}.mean").value for arm, m in found.measures.items()}
    least, most = (pick(spreads, key=lambda arm: spreads[arm].value) for pick in (min, max))
    unit = f" {score.points}" if score.points else ""
    decimals = _decimals([e.value for e in spreads.values()])
    brackets = ("Brackets show 95 % intervals.",) if any(e.known for e in spreads.values()) else ()
    if not others:
        headline = f"{capital(score.words)} has an SD of {_words(spreads[name], unit, decimals)} from run to run."
        return Finding(headline, (f"Its mean over {first.runs} runs is {means[name]:.4g}.",), (*caveats, *brackets))
    spread = _words(spreads[most], unit, decimals)
    headline = f"Of {len(means)} arms, the {score.words} of {most} varies most, with an SD of {spread}."
    low, high = (pick(means, key=lambda arm: means[arm]) for pick in (min, max))
    sentences = (
        f"The smallest SD is that of {least}: {_words(spreads[least], unit, decimals)}.",
        f"The means range from {means[low]:.4g} ({low}) to {means[high]:.4g} ({high}).",
    )
    chance = f"The largest and the smallest of {len(means)} SDs differ by chance too; `nondet compare` tests the means."
    return Finding(headline, sentences, (*caveats, chance, *brackets))


def _decimals(values: Sequence[float]) -> int:
    """Return how many decimals give the smallest of these two digits."""
    least = min((value for value in values if value > 0), default=1.0)
    return max(0, 1 - math.floor(math.log10(least)))


def _words(sd: Estimate, unit: str, decimals: int) -> str:
    return with_interval(sd, f"{{:.{decimals}f}}".format, unit)


def _cards(arm: Arm) -> Cards | None:
    """Return the examples that flip, if the runs' answers are classes and differ."""
    if arm.predictions is None or not (arm.predictions != arm.predictions[0]).any():
        return None
    return cards_of(arm.runs, arm.name, lambda indices: ({}, NO_PICTURES))


def _facts(found: Outside) -> str:
    runs = sum(m.runs for m in found.measures.values())
    examples = len(found.chosen("").runs.labels)
    parts = [f"{runs:,} runs", f"{len(found.arms)} arm{'' if len(found.arms) == 1 else 's'}"]
    return ", ".join([*parts, f"{examples:,} test {found.kind.example}s"] if examples else parts)
