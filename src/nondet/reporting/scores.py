"""Scores as a table and in words."""

from __future__ import annotations

import math

from nondet.analysis.scored import ArmScores, ScoreMeasures
from nondet.io.plain import plain
from nondet.reporting.finding import Finding, Part, brackets, named, said, with_interval
from nondet.reporting.table import DASH
from nondet.stats.estimate import Estimate


def parts(found: ScoreMeasures) -> list[Part]:
    """Return a table with a row for each arm, metric and data set; what is the same in all rows has no column."""
    names = {"metric": "metric"} if len(found.metrics) > 1 else {}
    names |= {"dataset": "data set"} if any(arm.dataset for arm in found.arms) else {}
    rows = [
        (
            arm.name,
            *(getattr(arm, name) for name in names),
            str(arm.runs) + (f" ({arm.failed} failed)" if arm.failed else ""),
            _number(arm.mean.value, arm.mean.value, arm.sd.value),
            _range(arm.mean, arm.sd.value),
            _number(arm.sd.value, arm.mean.value, arm.sd.value),
            _range(arm.sd, arm.sd.value),
        )
        for arm in found.arms
    ]
    head = ("arm", *names.values(), "runs", "mean", "95 % interval", "SD", "95 % interval")
    one = found.metrics[0] if len(found.metrics) == 1 else ""
    of = f"Values of {plain(one)}, in its own unit" if one else "Each in its own unit"
    return [Part(head, rows, said(found, f"{of}; the SD has ddof = 1."))]


def finding(found: ScoreMeasures) -> Finding:
    """Say how much the first arm's runs vary, and in a sentence the means and SDs of the others."""
    arm, others = found.arms[0], [a for a in found.arms[1:] if a.metric == found.arms[0].metric]
    caveats = (*map(plain, found.notes), *brackets(0.05, [arm.sd, arm.mean]))
    where = f" of {named(arm.name)}" if len(found.arms) > 1 else ""
    metric = named(arm.metric)
    if math.isnan(arm.sd.value):
        return Finding(f"Too few runs{where} have a {metric} to show how much it varies.", (), caveats)
    headline = f"From run to run, {metric}{where} has an SD of {_known(arm.sd, arm)}."
    more = [f"Its mean is {_known(arm.mean, arm)}."]
    known = sorted((a for a in others if not math.isnan(a.sd.value)), key=lambda a: a.sd.value)
    if len(known) == 1:
        more.append(f"The SD of {plain(known[0].name)} is {_known(known[0].sd, known[0])}.")
    elif known:
        least, most = known[0], known[-1]
        sides = " to ".join(f"{_known(a.sd, a)} ({plain(a.name)})" for a in (least, most))
        more.append(f"The SDs of the other {len(known)} range from {sides}.")
    return Finding(headline, tuple(more), caveats)


def _known(e: Estimate, arm: ArmScores) -> str:
    return with_interval(e, lambda side: _number(side, arm.mean.value, arm.sd.value))


def _number(value: float, mean: float, sd: float) -> str:
    """Format a number with as many decimals as give the SD two digits."""
    if math.isnan(value):
        return DASH
    size = sd if sd and not math.isnan(sd) else abs(mean)
    digits = 3 if not size else 1 - math.floor(math.log10(size)) if sd and not math.isnan(sd) else 3
    return f"{value:.{digits}f}" if 0 <= digits <= 8 else f"{value:.5g}"


def _range(e: Estimate, sd: float) -> str:
    if not e.known:
        return DASH
    return f"{_number(e.low, e.value, sd)} to {_number(e.high, e.value, sd)}"
