"""Looking at runs more than once: the level of each of several planned looks."""

from __future__ import annotations

from dataclasses import replace

from nondet.stats.estimate import Estimate
from nondet.stats.intervals import student

MOST_LOOKS = 100

RULE_LOOKS = 2
"""A stopping rule counts as so many looks: it looks at an error often, and never at the value itself."""


def look_level(level: float, looks: int) -> float:
    """The level of each look with which all looks together find a false difference with a chance of at most `level`.

    It is `1 - (1 - level)^(1 / looks)`. The statistics of looks at ever more runs are nearly normal. For normal ones,
    however they correlate, the chance that all stay within two-sided bounds is at least the product of the chances
    (Sidak 1967, J. Amer. Statist. Assoc. 62). So it is valid however the runs are spread over the looks, and for the
    intervals too (repeated confidence intervals: Jennison & Turnbull 1989, J. R. Statist. Soc. B 51). Pocock's level
    (1977, Biometrika 64) is larger, 0.022 instead of 0.017 for three looks at 0.05, but valid only for equal steps.
    """
    return level if looks == 1 else 1 - (1 - level) ** (1 / looks)


def steps(runs: int, looks: int) -> list[int]:
    """The runs at each of so many looks, at about equal steps: at least two, and all of them at the last look."""
    return sorted({max(2, -(-runs * look // looks)) for look in range(1, looks + 1)})


def after_rule(e: Estimate, runs: int, origin: float | None = None, centre: float | None = None) -> Estimate:
    """Widen a 95 % interval so that it stays valid when runs were added until an error was small enough.

    Such a rule stops when values happen to lie near each other, and for skewed values that moves the estimate too. The
    interval is that of RULE_LOOKS looks, wider by the ratio of Student's quantiles. `benchmarks/until.py` simulates its
    coverage.

    Args:
        runs: N. origin: a value that the estimate cannot pass; the interval is then on the logarithm of the distance.
        centre: of the interval, if it is not the value.
    """
    if not e.known or runs < 2:
        return e
    factor = student(runs - 1, look_level(0.05, RULE_LOOKS)) / student(runs - 1)
    value = e.value if centre is None else centre
    if origin is None:
        low, high = (value + factor * (end - value) for end in (e.low, e.high))
    elif value == origin:
        return e
    else:
        low, high = (
            origin + (value - origin) * ((end - origin) / (value - origin)) ** factor for end in (e.low, e.high)
        )
    return replace(e, low=low, high=high)
