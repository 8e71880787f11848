"""Looking at runs more than once: the level that each of several planned looks has."""

from __future__ import annotations

MOST_LOOKS = 100


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
