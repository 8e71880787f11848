"""Scores as a table and in words."""

from __future__ import annotations

import math

from nondet.analysis.scored import ScoreMeasures
from nondet.io.plain import plain
from nondet.reporting.table import DASH
from nondet.stats.estimate import Estimate


def head(found: ScoreMeasures) -> tuple[str, ...]:
    """The table's column titles: what is the same in all rows has none."""
    return ("arm", *_shared(found), "runs", "mean", "95 % interval", "SD", "95 % interval")


def rows(found: ScoreMeasures) -> list[tuple[str, ...]]:
    """A row for each arm, metric and data set."""
    return [
        (
            arm.name,
            *(getattr(arm, name) for name in _names(found)),
            str(arm.runs) + (f" ({arm.failed} failed)" if arm.failed else ""),
            _number(arm.mean.value, arm.mean.value, arm.sd.value),
            _range(arm.mean, arm.sd.value),
            _number(arm.sd.value, arm.mean.value, arm.sd.value),
            _range(arm.sd, arm.sd.value),
        )
        for arm in found.arms
    ]


def words(found: ScoreMeasures) -> list[str]:
    """What stands below the table."""
    one = found.metrics[0] if len(found.metrics) == 1 else ""
    of = f"Of {plain(one)}, in its own unit" if one else "Each in its own unit"
    return [f"{of}; the SD has ddof = 1.", *map(plain, found.notes)]


def _names(found: ScoreMeasures) -> list[str]:
    several = [("metric", len(found.metrics) > 1), ("dataset", any(arm.dataset for arm in found.arms))]
    return [name for name, shown in several if shown]


def _shared(found: ScoreMeasures) -> list[str]:
    return [{"dataset": "data set"}.get(name, name) for name in _names(found)]


def _number(value: float, mean: float, sd: float) -> str:
    """A number with as many digits as show the SD with two."""
    if math.isnan(value):
        return DASH
    size = sd if sd and not math.isnan(sd) else abs(mean)
    digits = 3 if not size else 1 - math.floor(math.log10(size)) if sd and not math.isnan(sd) else 3
    return f"{value:.{digits}f}" if 0 <= digits <= 8 else f"{value:.5g}"


def _range(e: Estimate, sd: float) -> str:
    if not e.known:
        return DASH
    return f"{_number(e.low, e.value, sd)} to {_number(e.high, e.value, sd)}"
