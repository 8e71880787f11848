"""How many runs it takes to decide: the power of the t-tests, and the fewest runs that reach it."""

from __future__ import annotations

import math
from collections.abc import Callable

from scipy import special

from nondet.stats.intervals import student

LARGEST = 1_000_000
"""No search goes beyond so many runs."""


def power_of_difference(effect: float, error: float, freedom: float, level: float) -> float:
    """Chance that a two-sided t-test finds a difference of `effect`, from the noncentral t distribution.

    Source: Cohen 1988, Statistical Power Analysis, chapter 2; statsmodels' TTestIndPower.
    """
    if not effect:
        return level
    shift, bound = abs(effect) / error if error else math.inf, student(freedom, level)
    return above(freedom, shift, bound) + above(freedom, -shift, bound)


def power_of_equivalence(effect: float, error: float, freedom: float, level: float, margin: float) -> float:
    """Lower bound of the chance that both one-sided t-tests show that a difference of `effect` is within the margin."""
    bound = student(freedom, 2 * level)
    lower, upper = (above(freedom, (margin + sign * effect) / error, bound) for sign in (1, -1))
    return max(0.0, lower + upper - 1)


def fewest(power: Callable[[int], float], wanted: float, least: int, most: int = LARGEST) -> int | None:
    """The smallest number from `least` to `most` whose power is at least `wanted`; None if there is none.

    The power must not fall as the number grows.
    """
    if power(most) < wanted:
        return None
    low, high = least - 1, least
    while power(high) < wanted:
        low, high = high, min(most, 2 * high)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power(middle) >= wanted else (middle, high)
    return high


def runs_per_arm(effect: float, sd: float, power: float = 0.8, level: float = 0.05) -> int | None:
    """The fewest runs in each of two arms with which a two-sided t-test at `level` finds `effect` with chance `power`.

    Both arms have the SD `sd`. At least 2; None if more than LARGEST are needed.
    """

    def reached(runs: int) -> float:
        return power_of_difference(effect, sd * math.sqrt(2 / runs), 2 * runs - 2, level)

    return fewest(reached, power, least=2)


def above(freedom: float, shift: float, bound: float) -> float:
    """P(T > bound) for a noncentral t; where its series gives no finite number, that of the step it approaches."""
    below = float(special.nctdtr(freedom, shift, bound))
    return min(1.0, max(0.0, 1 - below)) if math.isfinite(below) else float(shift > bound)
