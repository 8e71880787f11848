"""How often `nondet gate` keeps a change that does nothing, and how many runs it needs: the tables of docs/gate.md.

python benchmarks/gate.py        (about a minute on one core)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count

import numpy as np
from decisions import shapes, share, table

from nondet.analysis.gate import ALPHA, FEWEST, LONGER, POWER, SEARCHED, level_of
from nondet.stats.evidence import fixed_runs, log_mixture, statistic
from nondet.stats.prediction import prediction_reach

LOOPS, CANDIDATES, PEEKS = 1000, 20, 10

Draw = Callable[..., np.ndarray]


def all_shapes(rng: np.random.Generator) -> dict[str, Draw]:
    """Distributions of mean 0 and SD 1."""
    skewed = shapes(rng)["skewed (exponential)"]

    def collapsing(*size: int) -> np.ndarray:
        """One run in ten falls by 10 times the SD of the others."""
        values = rng.normal(size=size) - 10 * (rng.random(size=size) < 0.1)
        return (values + 1) / math.sqrt(1 + 100 * 0.09)

    return {**shapes(rng), "skewed downwards": lambda *size: -skewed(*size), "1 in 10 collapses": collapsing}


@dataclass
class Looked:
    """For each loop and candidate (R, J): whether it was kept, and after how many runs that was decided."""

    kept: np.ndarray
    runs: np.ndarray


def gated(draw: Draw, base_runs: int, loops: int, numbers: range, shift: float = 0.0, effect: float = 1.0) -> Looked:
    """Test candidates with these numbers against one baseline in each loop, looking after every run.

    effect: in SDs of the baseline, the default of `nondet gate`.
    """
    base = draw(loops, base_runs)
    mean, variance = base.mean(axis=1)[:, None], base.var(axis=1, ddof=1)[:, None]
    size = (loops, len(numbers))
    levels = np.array([level_of(number, ALPHA) for number in numbers])
    fixed = [fixed_runs(effect, base_runs, level, POWER, SEARCHED) for level in levels]
    limits = np.array([LONGER * max(FEWEST, base_runs if n is None else n) for n in fixed])
    kept, runs, total, squares = np.zeros(size, bool), np.zeros(size, int), np.zeros(size), np.zeros(size)
    for k in count(1):
        x = draw(*size) + shift
        total, squares = total + x, squares + x**2
        row, column = np.nonzero(runs == 0)
        if not len(row):
            return Looked(kept, runs)
        own = total[row, column] / k
        spread = np.maximum(squares[row, column] - k * own**2, 0.0) / max(1, k - 1)
        m, v = mean[row, 0], variance[row, 0]

        def evidence(center: np.ndarray, new: np.ndarray, v: np.ndarray = v, s: np.ndarray = spread) -> np.ndarray:
            t, freedom, n = statistic(base_runs, center, v, np.full(len(new), float(k)), new, s)  # noqa: B023
            return log_mixture(t, freedom, n)

        keep = (evidence(m, own) >= -np.log(levels[column])) & (k >= FEWEST)
        drop = (evidence(-m - effect * np.sqrt(v), -own) >= -math.log(1 - POWER)) | (k >= limits[column])
        kept[row[keep], column[keep]] = True
        runs[row[keep | drop], column[keep | drop]] = k


def by_rule(draw: Draw, base_runs: int, loops: int) -> tuple[str, str, str]:
    """Loops of 20 null candidates that keep one, by common rules, each tested after every run up to 10."""
    base, new = draw(loops, base_runs), draw(loops, CANDIDATES, PEEKS)
    means = new.cumsum(axis=2) / np.arange(1, PEEKS + 1)
    center = base.mean(axis=1)[:, None, None]
    pair = np.abs(base[:, 0] - base[:, 1])[:, None, None] / math.sqrt(2)
    middle = np.median(base, axis=1)[:, None, None]
    mad = 1.4826 * np.median(np.abs(base - middle[:, 0]), axis=1)[:, None, None]
    sd = base.std(axis=1, ddof=1)
    reach = np.array([prediction_reach(s, base_runs, 1, 0.05) for s in sd])[:, None]
    once = new[:, :, 0] > center[:, 0] + reach
    return (
        share((means > center + 2 * pair).any(axis=(1, 2))),
        share((means > middle + 2 * mad).any(axis=(1, 2))),
        share(once.any(axis=1)),
    )


def null_loops(rng: np.random.Generator) -> None:
    def rows() -> Iterator[tuple[object, ...]]:
        for name, draw in all_shapes(rng).items():
            for base_runs in (5, 10, 50):
                found = gated(draw, base_runs, LOOPS, range(1, CANDIDATES + 1))
                yield (
                    name,
                    base_runs,
                    share(found.kept.any(axis=1)),
                    f"{found.runs.mean():.1f}",
                    *by_rule(draw, base_runs, LOOPS),
                )

    head = ("values", "runs of the baseline", "gate", "its runs", "two sigma of one pair", "MAD", "one new run, once")
    table("Of 1,000 loops of 20 changes that do nothing, the share that keeps one, in percent", head, rows())


def other_spread(rng: np.random.Generator) -> None:
    def rows() -> Iterator[tuple[object, ...]]:
        for ratio in (0.5, 1.5, 2.0):
            cells = []
            for base_runs in (5, 10, 50):
                calls = count()

                def draw(*size: int, ratio: float = ratio, calls: Iterator[int] = calls) -> np.ndarray:
                    return rng.normal(size=size) * (ratio if next(calls) else 1.0)  # the first call is the baseline's

                cells.append(share(gated(draw, base_runs, LOOPS, range(1, CANDIDATES + 1)).kept.any(axis=1)))
            yield ratio, *cells

    head = ("SD of the changes / baseline's", "5 runs of the baseline", "10", "50")
    table("The same where the changes alter the SD, normal values", head, rows())


def expected_runs(rng: np.random.Generator, loops: int = 1000) -> None:
    def rows() -> Iterator[tuple[object, ...]]:
        for base_runs in (10, 20, 50):
            for number in (1, 5):
                for effect in (1.0, 1.5, 2.0):
                    fixed = fixed_runs(effect, base_runs, level_of(number, ALPHA), POWER, SEARCHED)
                    if fixed is None:
                        yield base_runs, number, effect, "none is enough", "", "", "", ""
                        continue
                    found = gated(
                        lambda *size: rng.normal(size=size), base_runs, loops, range(number, number + 1), 0.0, effect
                    )
                    shifted = iter([0.0])
                    helped = gated(
                        lambda *size, effect=effect, s=shifted: rng.normal(size=size) + (next(s, effect)),
                        base_runs,
                        loops,
                        range(number, number + 1),
                        0.0,
                        effect,
                    )
                    ratio = helped.runs.mean() / fixed
                    cells = (f"{helped.runs.mean():.1f}", f"{ratio:.2f}", f"{found.runs.mean():.1f}")
                    yield base_runs, number, effect, fixed, *cells, share(helped.kept[:, 0])

    head = (
        "runs of the baseline",
        "candidate",
        "effect (SDs)",
        "fixed size",
        "gate, it helps",
        "over fixed",
        "gate, it does nothing",
        "kept (%)",
    )
    table("Expected runs of a candidate, looked at after each, and of one test with a chance of 80 %", head, rows())


def main() -> None:
    rng = np.random.Generator(np.random.Philox(2026))
    for part in (null_loops, other_spread, expected_runs):
        part(rng)


if __name__ == "__main__":
    main()
