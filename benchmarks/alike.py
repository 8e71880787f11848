"""How often `nondet alike` and `nondet examples` are wrong: python benchmarks/alike.py prints the tables of the docs.

The studies are simulated, so the truth is known. Runs are points, and a mean over pairs is one of squared distances;
disagreement (of one-hot votes) and 1 - correlation (of standardised logits) are such means. N includes the reference
run, which all conditions share and the tests leave out. It takes about seven minutes on one core.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from scipy import stats

from nondet.measures.examples import churn_by_class
from nondet.stats import equivalence as alike

STUDIES = 1000
LEVEL = 0.05
Make = Callable[[np.random.Generator, int], np.ndarray]


def by_run(points: np.ndarray) -> np.ndarray:
    """Each run's mean squared distance to the others, `(N,)`, of points (N, d)."""
    squares, total = np.square(points).sum(axis=1), points.sum(axis=0)
    return (len(points) * squares + squares.sum() - 2 * points @ total) / (len(points) - 1)


def heavy(rng: np.random.Generator, runs: int) -> np.ndarray:
    points = rng.normal(size=(runs, 30))
    return by_run(points / np.sqrt(rng.chisquare(3, size=(runs, 1)) / 3))


def votes(rng: np.random.Generator, runs: int) -> np.ndarray:
    """Disagreement of three classes on 60 examples; some runs are much noisier than others."""
    sure = np.zeros((60, 3))
    sure[:, 0] = np.random.default_rng(0).exponential(1.5, size=60)
    noise = np.exp(0.6 * rng.normal(size=(runs, 1, 1))) * rng.normal(size=(runs, 60, 3))
    chosen = (sure + noise).argmax(axis=-1)
    return by_run((chosen[..., None] == np.arange(3)).reshape(runs, -1) / np.sqrt(120))


KINDS: dict[str, tuple[bool, Make]] = {
    "SD, normal": (True, lambda rng, runs: rng.normal(size=runs)),
    "SD, Laplace": (True, lambda rng, runs: rng.laplace(size=runs)),
    "SD, t with 3 degrees of freedom": (True, lambda rng, runs: rng.standard_t(3, size=runs)),
    "SD, exponential": (True, lambda rng, runs: rng.exponential(size=runs)),
    "pairs, normal, 1 dimension": (False, lambda rng, runs: by_run(rng.normal(size=(runs, 1)))),
    "pairs, normal, 30": (False, lambda rng, runs: by_run(rng.normal(size=(runs, 30)))),
    "pairs, multivariate t with 3": (False, heavy),
    "pairs, exponential, 5": (False, lambda rng, runs: by_run(rng.exponential(size=(runs, 5)))),
    "pairs, disagreement of unequal runs": (False, votes),
}


DESIGNS = {
    "3 x 10": (10,) * 3,
    "5 x 10": (10,) * 5,
    "3 x 25": (25,) * 3,
    "5 x 25": (25,) * 5,
    "10, 25, 50": (10, 25, 50),
}
"""Runs of each condition, including the reference run."""


def omnibus_rates() -> None:
    """False positives of the omnibus test at 5 %."""
    alike.PERMUTATIONS = 499
    head("effect", DESIGNS)
    for name, (spread, make) in KINDS.items():
        print_row(name, [omnibus_rate(conditions_of(make), sizes, spread) for sizes in DESIGNS.values()])
    print_row("SD, two sources and their sum, seeds shared", [omnibus_rate(shared, DESIGNS["3 x 10"], True)])
    make = conditions_of(KINDS["pairs, normal, 30"][1])
    rates = [omnibus_rate(make, sizes, None) for sizes in DESIGNS.values()]
    print_row("*not used:* means over partners exchanged; pairs, normal, 30", rates)


def conditions_of(make: Make) -> Callable[[np.random.Generator, Sequence[int]], list[np.ndarray]]:
    return lambda rng, sizes: [make(rng, runs - 1) for runs in sizes]


def shared(rng: np.random.Generator, sizes: Sequence[int]) -> list[np.ndarray]:
    """Run i of the third condition has seed i for the sources of both others."""
    first, second = rng.normal(size=(2, sizes[0] - 1))
    return [first, second, (first + second) / np.sqrt(2)]


def omnibus_rate(make: Callable[[Any, Any], list[np.ndarray]], sizes: Sequence[int], spread: bool | None) -> float:
    rng = np.random.Generator(np.random.Philox(1))
    test = rows_exchanged if spread is None else lambda groups, seed: alike.same_effect(groups, spread, seed)
    return float(np.mean([test(make(rng, sizes), seed) <= LEVEL for seed in range(STUDIES)]))


def rows_exchanged(groups: Sequence[np.ndarray], seed: int) -> float:
    """`same_effect` as it would be without pseudo-values."""
    rng = np.random.default_rng(seed)
    pooled, sizes = np.concatenate(groups), [len(group) for group in groups]
    drawn = rng.permuted(np.tile(pooled, (499, 1)), axis=1)
    found = alike._statistic(np.vstack([pooled, drawn]), sizes, False)
    return float(np.mean(found >= found[0] * (1 - 1e-9)))


def equivalence_rates() -> None:
    """How often two conditions are called equivalent at the margin, and how often the interval contains the truth."""
    alike.PERMUTATIONS = 1
    columns = [(10, 1.25), (25, 1.25), (100, 1.25), (10, 2.0), (25, 2.0), (100, 2.0)]
    titles = [f"N = {runs}, {margin:g}" for runs, margin in columns]
    head("effect", [*titles, "interval at 10", "25", "100"])
    for name, (spread, make) in KINDS.items():
        rates = [equivalence_rate(make, runs, margin, spread) for runs, margin in columns]
        print_row(name, [wrong for wrong, _ in rates] + [cover for _, cover in rates[:3]])


def equivalence_rate(make: Make, runs: int, margin: float, spread: bool) -> tuple[float, float]:
    rng = np.random.Generator(np.random.Philox(2))
    wrong = covered = 0
    for _ in range(2 * STUDIES):
        groups = {"a": margin * make(rng, runs - 1), "b": make(rng, runs - 1)}
        pair = alike.pairs(alike.Metric("", spread, groups), margin, LEVEL)[0]
        wrong += pair.verdict == "equivalent"
        covered += bool(pair.low and pair.high and pair.low <= margin <= pair.high)
    return wrong / (2 * STUDIES), covered / (2 * STUDIES)


def churn_coverage() -> None:
    """How often the 95 % interval of a class's churn contains the truth."""
    head("examples of the class that flip", ["N = 10", "25", "100"])
    for flipping, chance in ((30, 0.3), (10, 0.1), (3, 0.1), (1, 0.1)):
        rates = [churn_rate(flipping, chance, runs) for runs in (10, 25, 100)]
        print_row(f"{flipping}, each in {chance:.0%} of the runs", rates)


def churn_rate(flipping: int, chance: float, runs: int) -> float:
    """Flips of a run come together (some runs are worse); missing intervals count as misses."""
    rng = np.random.Generator(np.random.Philox(3))
    threshold = stats.norm.ppf(1 - chance)
    truth = 200 * chance * (1 - chance)  # whichever examples flip together, in percent of pairs
    inside = 0
    for _ in range(STUDIES):
        worse = np.sqrt(0.2) * rng.normal(size=(runs, 1)) + np.sqrt(0.8) * rng.normal(size=(runs, flipping))
        found = churn_by_class((worse > threshold).astype(np.int64), np.zeros(flipping, dtype=np.int64))[0]
        inside += found.error > 0 and abs(found.churn - truth) <= float(stats.t.ppf(0.975, runs - 1)) * found.error
    return inside / STUDIES


def head(first: str, titles: Iterable[str]) -> None:
    cells = [first, *titles]
    print(f"| {' | '.join(cells)} |")
    print("|---|" + "---:|" * (len(cells) - 1))


def print_row(first: str, rates: Sequence[float]) -> None:
    print(f"| {' | '.join([first, *(f'{100 * rate:.1f} %' for rate in rates)])} |", flush=True)


if __name__ == "__main__":
    for title, tables in (
        ("False positives of the omnibus test", omnibus_rates),
        ("Called equivalent at the margin; 90 % intervals that contain the truth", equivalence_rates),
        ("Intervals of a class's churn that contain the truth", churn_coverage),
    ):
        print(f"\n{title}\n")
        tables()
