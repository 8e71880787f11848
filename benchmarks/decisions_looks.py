"""What repeated looks do to the share of false verdicts: `python benchmarks/decisions.py looks` (about two minutes).

Equal arms are tested again and again until something is found: after 10, 20, ... runs, and as "about N more runs" says.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from nondet.stats.looks import look_level
from nondet.stats.means import welch
from nondet.stats.power import fewest, power_of_difference

PAIRS, LEVEL, MOST = 1000, 0.05, 200
Draw = Callable[[int], np.ndarray]


def found(a: np.ndarray, b: np.ndarray, level: float) -> bool:
    return (welch(a, b).p_value() or 1.0) <= level


def steady(a: np.ndarray, b: np.ndarray, level: float, looks: int) -> bool:
    """Add ten runs at each look."""
    return any(found(a[: 10 * look], b[: 10 * look], level) for look in range(1, looks + 1))


def advised(a: np.ndarray, b: np.ndarray, level: float, looks: int) -> bool:
    """Add as many runs as would find the observed difference with a chance of 80 %, up to MOST runs in all."""
    runs = 10
    for _ in range(looks):
        shift = welch(a[:runs], b[:runs])
        if (shift.p_value() or 1.0) <= level:
            return True
        variance, now = shift.error**2 * runs, runs

        def power(more: int, v: float = variance, n: int = now, d: float = shift.estimate) -> float:
            return power_of_difference(d, math.sqrt(v / (n + more)), 2 * (n + more) - 2, level)

        more = fewest(power, 0.8, 1, MOST)
        runs = min(MOST, runs + (MOST if more is None else more))
    return False


def main() -> None:
    rng = np.random.Generator(np.random.Philox(2028))
    shapes: dict[str, Draw] = {
        "normal": lambda n: rng.normal(size=(n, MOST)),
        "skewed (exponential)": lambda n: rng.exponential(size=(n, MOST)),
        "1 in 10 collapsed": lambda n: rng.normal(size=(n, MOST)) - 20 * (rng.random((n, MOST)) < 0.1),
    }
    print("\nFalse verdicts in percent, looked at until something is found\n")
    print("| values | looks | every 10 runs: at 5 % each | at the looks' level | as advised: at 5 % | at the looks' |")
    print("|---|---:|---:|---:|---:|---:|")
    for name, draw in shapes.items():
        for looks in (2, 3, 5):
            pairs = list(zip(draw(PAIRS), draw(PAIRS), strict=True))
            cells = [
                f"{100 * np.mean([rule(a, b, level, looks) for a, b in pairs]):.1f}"
                for rule in (steady, advised)
                for level in (LEVEL, look_level(LEVEL, looks))
            ]
            print(f"| {name} | {looks} | {' | '.join(cells)} |", flush=True)
