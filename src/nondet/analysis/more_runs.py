"""How many more runs should decide a comparison."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy import special

from nondet.analysis.comparison import Aim, Comparison
from nondet.stats.jackknife import summed
from nondet.stats.power import fewest, power_of_difference, power_of_equivalence

POWER = 0.8
"""The chance that `more_runs` decide, if what was seen is the truth."""
MOST_RUNS = 10_000
"""The largest answer to "how many more runs"."""


@dataclass(frozen=True)
class ErrorParts:
    """The variances and numbers of runs behind an error: one of the pairs, or one of each arm."""

    estimate: float
    variances: tuple[float, ...]
    runs: tuple[int, ...]
    added: tuple[float, int] | None = None  # what drawing examples or groups adds, and their number

    def later(self, more: int) -> tuple[float, float]:
        """Return the error, and its degrees of freedom, after so many further runs of each."""
        runs = np.array(self.runs) + more
        variances, freedom = list(np.array(self.variances) / runs), list(runs - 1)
        if self.added:
            variances, freedom = [*variances, self.added[0]], [*freedom, self.added[1] - 1]
        return summed(variances, freedom)

    def exchanges(self, more: int = 0) -> float:
        """Return how many exchanges a permutation test has after so many further runs of each; at most 10^9."""
        runs = [n + more for n in self.runs]
        return min(1e9, 2.0 ** min(runs[0], 30) if len(runs) == 1 else float(special.comb(sum(runs), runs[0])))


def more_runs(found: Comparison, parts: ErrorParts, level: float) -> tuple[int | None, Aim]:
    """Return how many further runs of each arm should decide, if the difference and the SDs are those seen."""
    if not any(parts.variances):
        if found.margin is None or parts.estimate:
            return None, ""
        return math.ceil(math.log2(1 / level)) - min(found.runs), "alike"

    def different(more: int) -> float:
        reached = 2 / parts.exchanges(more) <= level  # by the permutation test, which a verdict needs too
        return power_of_difference(parts.estimate, *parts.later(more), level) if reached else 0.0

    def alike(more: int) -> float:
        return power_of_equivalence(parts.estimate, *parts.later(more), level, found.margin or 0.0)

    searches = {"difference": fewest(different, POWER, 1, MOST_RUNS)}
    if found.margin is not None and abs(parts.estimate) < found.margin:
        searches["alike"] = fewest(alike, POWER, 1, MOST_RUNS)
    aim = min(searches, key=lambda name: searches[name] or MOST_RUNS + 1)
    if searches[aim] is None:
        return MOST_RUNS, ""
    return searches[aim], "alike" if aim == "alike" else "difference"


def range_of_more(found: Comparison, parts: ErrorParts, level: float) -> tuple[int | None, int | None] | None:
    """Return `more_runs` if the difference is at either end of its 80 % interval, or 0 if that lies within."""
    error, freedom = parts.later(0)
    if not error:
        return None
    reach = float(special.stdtrit(freedom, 0.9)) * error
    ends = [parts.estimate - reach, parts.estimate, parts.estimate + reach]
    ends += [0.0] if ends[0] < 0 < ends[-1] else []
    more = [more_runs(found, replace(parts, estimate=end), level) for end in ends]
    least, most = min(number or 0 for number, _ in more), max(number or 0 for number, _ in more)
    every = all(aim for _, aim in more)
    return (least or None, most if every else None)


def more_by_chance(found: float, runs: tuple[int, int], level: float) -> int:
    """Return how many further runs of each arm show that the chance is not 0.5, if it is that seen.

    Source: Noether 1987, JASA 82.
    """
    apart = abs(found - 0.5)
    needed = float(special.ndtri(1 - level / 2) + special.ndtri(POWER)) ** 2
    each = needed / (6 * apart**2) if apart else math.inf
    return int(min(MOST_RUNS, max(1, math.ceil(min(each, 1e9)) - min(runs))))
