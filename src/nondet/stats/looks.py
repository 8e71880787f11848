"""Looking at runs more than once: the level that each of several planned looks has."""

from __future__ import annotations

from dataclasses import replace

from nondet.stats.estimate import Estimate

MOST_LOOKS = 100

RULE_LOOKS = 2
"""Looks that a stopping rule counts as: it looks at an error often, and at the figure itself never."""


def look_level(level: float, looks: int) -> float:
    """The level of each look, so that all of them together find a difference that is none at most at `level`.

    `1 - (1 - level)^(1 / looks)`: the statistics of looks at ever more runs are nearly normal, and of normal ones,
    however they correlate, the chance that all stay within two-sided bounds is at least the product of the chances
    (Sidak 1967, J. Amer. Statist. Assoc. 62). So it holds however the runs are spread over the looks, and for the
    intervals too (repeated confidence intervals: Jennison & Turnbull 1989, J. R. Statist. Soc. B 51). Pocock's level
    (1977, Biometrika 64) is larger, 0.022 in place of 0.017 for three looks at 0.05, but holds for equal steps alone.
    """
    return level if looks == 1 else 1 - (1 - level) ** (1 / looks)


def steps(runs: int, looks: int) -> list[int]:
    """So many looks at about equal steps, the last one at all runs; no look at fewer than two."""
    return sorted({max(2, -(-runs * look // looks)) for look in range(1, looks + 1)})


def after_rule(e: Estimate, runs: int, origin: float | None = None, centre: float | None = None) -> Estimate:
    """An estimate whose 95 % interval holds as often after runs were added until an error was small enough.

    Such a rule stops where values happen to lie near each other, and of skewed values that moves the figure too. The
    interval is that of RULE_LOOKS looks, wider by the quotient of Student's quantiles: `benchmarks/until.py` has how
    often it then holds.

    Args:
        runs: N. origin: on whose distance's logarithm the interval is one, as of a figure that cannot pass it.
        centre: of the interval, where it is not the value.
    """
    from scipy.special import stdtrit

    if not e.known or runs < 2:
        return e
    levels = look_level(0.05, RULE_LOOKS), 0.05
    wide, usual = (float(stdtrit(runs - 1, 1 - level / 2)) for level in levels)
    factor, value = wide / usual, e.value if centre is None else centre
    if origin is None:
        low, high = (value + factor * (end - value) for end in (e.low, e.high))
    elif value == origin:
        return e
    else:
        low, high = (
            origin + (value - origin) * ((end - origin) / (value - origin)) ** factor for end in (e.low, e.high)
        )
    return replace(e, low=low, high=high)
