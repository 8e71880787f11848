"""How often the decisions of `nondet compare` err, on data whose truth is known: the tables of docs/compare.md.

python benchmarks/decisions.py        (about three minutes on one core)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np
from scipy import special

from nondet.measures.churn import churn
from nondet.stats.estimate import Estimate
from nondet.stats.means import holding, paired, pairing_helps, permutation_p, welch
from nondet.stats.power import power_of_difference, runs_per_arm
from nondet.stats.spread import sd_of, sd_ratio
from nondet.stats.superiority import superiority

Draw = Callable[..., np.ndarray]
LEVEL = 0.05


def shapes(rng: np.random.Generator) -> dict[str, Draw]:
    """Distributions of mean 0 and SD 1, by name."""
    return {
        "normal": lambda *size: rng.normal(size=size),
        "heavy (t, 5 df)": lambda *size: rng.standard_t(5, size=size) / math.sqrt(5 / 3),
        "skewed (exponential)": lambda *size: rng.exponential(size=size) - 1,
    }


def share(found: Iterable[bool]) -> str:
    return f"{100 * np.mean(list(found)):.1f}"


def table(title: str, head: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> None:
    print(f"\n{title}\n\n| {' | '.join(head)} |\n|{'---|' * len(head)}", flush=True)
    for row in rows:
        print(f"| {' | '.join(map(str, row))} |", flush=True)


def covers(interval: tuple[float, float] | None, truth: float) -> bool:
    return interval is not None and interval[0] <= truth <= interval[1]


def holds(found: Estimate, truth: float) -> bool:
    return found.low <= truth <= found.high


def false_positives(rng: np.random.Generator, repeats: int = 4000, exchanged: int = 300) -> None:
    def rows() -> Iterable[tuple[object, ...]]:
        for name, draw in shapes(rng).items():
            for ratio in (1, 3):
                cells = []
                for n, m in ((5, 5), (10, 10), (25, 25), (5, 25)):
                    data = list(zip(draw(repeats, n), ratio * draw(repeats, m), strict=True))
                    t = share((welch(a, b).p_value() or 1.0) < LEVEL for a, b in data)
                    p = share(permutation_p(a, b) < LEVEL for a, b in data[:exchanged])
                    cells.append(f"{t}, {p}")
                yield name, f"1 : {ratio}", *cells

    head = ("values", "SDs of A and B", "5 + 5 runs", "10 + 10", "25 + 25", "5 + 25")
    table("False `better` or `worse` at 5 %, in percent: Welch's t, then permutation", head, rows())


def few_and_unequal(rng: np.random.Generator, repeats: int = 300) -> None:
    """What the verdict goes by, where one arm has few runs."""

    def rows() -> Iterable[tuple[object, ...]]:
        for name, draw in shapes(rng).items():
            for ratio in (1 / 3, 1, 3):
                cells = []
                for n, m in ((3, 3), (3, 30), (5, 5), (5, 25)):
                    found = {"t": 0, "exchange": 0, "verdict": 0}
                    for a, b in zip(draw(repeats, n), ratio * draw(repeats, m), strict=True):
                        t, p = welch(a, b).p_value(), permutation_p(a, b)
                        found["t"] += (1.0 if t is None else t) <= LEVEL
                        found["exchange"] += p <= LEVEL
                        found["verdict"] += holding(t, p, math.comb(n + m, n), LEVEL) <= LEVEL
                    cells.append(", ".join(f"{100 * count / repeats:.1f}" for count in found.values()))
                yield name, f"1 : {ratio:.2g}", *cells

    head = ("values", "SDs of A and B", "3 + 3 runs", "3 + 30", "5 + 5", "5 + 25")
    table("Few and unequal runs: false by Welch's t, by permutation, and by the verdict, in percent", head, rows())


def pairs_rule(rng: np.random.Generator, repeats: int = 10_000) -> None:
    apart_rng = np.random.Generator(np.random.Philox(2025))  # of rows that came later: the others keep their draws

    def test(n: int, rho: float, effect: float) -> str:
        draw = apart_rng if rho < -0.5 else rng
        a = draw.normal(size=(repeats, n))
        b = rho * a + math.sqrt(1 - rho**2) * draw.normal(size=a.shape) + effect
        chosen, always, never = [], [], []
        for x, y in zip(a, b, strict=True):
            apart, together = welch(x, y), paired(x, y)
            never.append((apart.p_value() or 1.0) < LEVEL)
            always.append((together.p_value() or 1.0) < LEVEL)
            chosen.append(always[-1] if pairing_helps(x, y, apart)[0] else never[-1])
        return ", ".join(share(x) for x in (never, always, chosen))

    rows = (
        (n, rho, test(n, rho, 0.0), test(n, rho, 2.5 * math.sqrt(2 / n)))
        for n in (5, 10, 25)
        for rho in (-0.9, -0.6, -0.3, 0, 0.3, 0.6, 0.9)
    )
    table(
        "Pairs with equal seeds: share found, in percent, by never pairing, always pairing, and the rule",
        ("runs of each", "correlation", "no difference", "a difference of 2.5 standard errors"),
        rows,
    )


def superiority_coverage(rng: np.random.Generator, repeats: int = 3000) -> None:
    def cell(n: int, m: int, truth: float, ratio: float) -> str:
        shift = float(special.ndtri(truth)) * math.sqrt(1 + ratio**2)
        arms = zip(rng.normal(size=(repeats, n)), shift + ratio * rng.normal(size=(repeats, m)), strict=True)
        return share(covers(superiority(a, b)[1:], truth) for a, b in arms)

    rows = (
        (f"{n} + {m}", f"1 : {ratio:.2g}", *(cell(n, m, truth, ratio) for truth in (0.5, 0.76, 0.92, 0.99)))
        for n, m in ((5, 5), (10, 10), (25, 25), (5, 25))
        for ratio in (1 / 3, 1, 3)
    )
    table(
        "Coverage of the 95 % interval of the chance that B beats A, in percent, by the true chance",
        ("runs", "SDs of A and B", "0.50", "0.76", "0.92", "0.99"),
        rows,
    )


def spread_coverage(rng: np.random.Generator, repeats: int = 4000) -> None:
    def rows() -> Iterable[tuple[object, ...]]:
        for name, draw in shapes(rng).items():
            ratios = [
                share(holds(sd_ratio(a, b), 1.0) for a, b in zip(draw(repeats, n), draw(repeats, m), strict=True))
                for n, m in ((5, 5), (10, 10), (25, 25), (10, 25))
            ]
            sds = [share(holds(sd_of(a), 1.0) for a in draw(repeats, n)) for n in (10, 25, 100)]
            yield name, *ratios, *sds

    head = ("values", "ratio, 5 + 5 runs", "10 + 10", "25 + 25", "10 + 25", "one SD, 10 runs", "25", "100")
    table("Coverage of the 95 % intervals of the SD ratio and of one SD, in percent", head, rows())


def churn_coverage(rng: np.random.Generator, repeats: int = 1500, examples: int = 300) -> None:
    """Each example has a chance of each class in each arm; a run's own quality shifts all of its chances."""

    def arm(logits: np.ndarray, runs: int) -> np.ndarray:
        quality = 1 + 0.3 * rng.normal(size=(runs, 1, 1))
        return (logits * quality + rng.gumbel(size=(runs, *logits.shape))).argmax(axis=-1)

    def rows() -> Iterable[tuple[object, ...]]:
        base = 3 * rng.normal(size=(examples, 3))
        for change in (0.0, 0.5, 2.0):
            changed = base + change * rng.normal(size=base.shape)
            big = churn(arm(base, 4000), arm(changed, 4000))
            truth = 0.0 if change == 0 else big.excess
            cells = []
            for n in (5, 10, 25):
                intervals = [churn(arm(base, n), arm(changed, n)).interval for _ in range(repeats)]
                cells.append(share(covers(i, truth) for i in intervals))
            yield f"{truth:.2f}", f"{big.between:.1f}", *cells

    head = ("true excess (%)", "churn between (%)", "5 + 5 runs", "10 + 10", "25 + 25")
    table("Coverage of the 95 % interval of the excess churn, in percent", head, rows())


def planned_power(rng: np.random.Generator, repeats: int = 4000) -> None:
    def rows() -> Iterable[tuple[object, ...]]:
        for effect in (2.0, 1.0, 0.5):
            n = runs_per_arm(effect, 1.0) or 0
            arms = zip(rng.normal(size=(repeats, n)), effect + rng.normal(size=(repeats, n)), strict=True)
            found = share((welch(a, b).p_value() or 1.0) < LEVEL for a, b in arms)
            reached = power_of_difference(effect, math.sqrt(2 / n), 2 * n - 2, LEVEL)
            yield f"{effect} SDs", n, f"{100 * reached:.1f}", found

    table(
        "Plans for a power of 80 %: what the noncentral t gives, and what Welch's test found",
        ("difference", "runs of each", "computed (%)", "found (%)"),
        rows(),
    )


def main() -> None:
    rng = np.random.Generator(np.random.Philox(2024))
    few_and_unequal(np.random.Generator(np.random.Philox(2027)))
    for part in (false_positives, pairs_rule, superiority_coverage, spread_coverage, churn_coverage, planned_power):
        part(rng)


if __name__ == "__main__":
    main()
