"""How often the decisions of `nondet compare` err, on data whose truth is known: the tables of docs/compare.md.

python benchmarks/decisions.py [PART ...]

It runs all parts, or those that are named: few_and_unequal, copies, coverage_by_shape, looks, unequal_and_skewed,
false_positives, pairs_rule, superiority_coverage, spread_coverage, churn_coverage, planned_power. The first five have
their own draws. The others continue the draws of the part before, so one of them alone has other draws than in a full
run.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable

import decisions_looks
import numpy as np
from scipy import special

from nondet.measures.churn import churn
from nondet.measures.copies import features, near_copies
from nondet.measures.shape import shape_of, shape_words
from nondet.stats.estimate import Estimate
from nondet.stats.intervals import mean_estimate, sd_interval
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


def odd_shapes(rng: np.random.Generator) -> dict[str, Draw]:
    """Realistic values of runs, in percent or points, by name."""
    return {
        "normal": lambda *size: rng.normal(size=size),
        "heavy (t, 5 df)": lambda *size: rng.standard_t(5, size=size),
        "skewed (exponential)": lambda *size: -rng.exponential(size=size),
        "skewed (lognormal, 0.5)": lambda *size: -np.exp(rng.normal(size=size) / 2),
        "1 run in 10 collapsed": lambda *size: np.where(rng.random(size) < 0.1, 10, 94) + 0.3 * rng.normal(size=size),
        "cut off at 100 %": lambda *size: np.minimum(100, 99.8 + 0.3 * rng.normal(size=size)),
        "50 test examples, 99 % right": lambda *size: rng.binomial(50, 0.99, size) * 2.0,
        "20 test examples, 90 % right": lambda *size: rng.binomial(20, 0.9, size) * 5.0,
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


def verdict_p(a: np.ndarray, b: np.ndarray) -> tuple[float, float, float]:
    """The p-values of Welch's t and of the permutation test, and the one that the verdict uses."""
    shift, p = welch(a, b), permutation_p(a, b)
    exchanges = float(min(10**9, math.comb(len(a) + len(b), len(a))))
    t = shift.p_value()
    return 1.0 if t is None else t, p, holding(shift, p, exchanges, min(len(a), len(b)), LEVEL)


def few_and_unequal(rng: np.random.Generator, repeats: int = 300) -> None:
    """The p-value that the verdict uses if one arm has few runs."""
    odd = odd_shapes(rng)
    kinds = [(name, draw, ratio) for name, draw in shapes(rng).items() for ratio in (1 / 3, 1, 3)]
    kinds += [(name, odd[name], 1) for name in ("1 run in 10 collapsed", "cut off at 100 %")]

    def rows() -> Iterable[tuple[object, ...]]:
        for name, draw, ratio in kinds:
            cells = []
            for n, m in ((3, 3), (3, 30), (5, 5), (5, 25)):
                data = zip(draw(repeats, n), ratio * draw(repeats, m), strict=True)
                found = np.array([verdict_p(a, b) for a, b in data])
                cells.append(", ".join(f"{100 * x:.1f}" for x in (found <= LEVEL).mean(axis=0)))
            yield name, f"1 : {ratio:.2g}", *cells

    head = ("values", "SDs of A and B", "3 + 3 runs", "3 + 30", "5 + 5", "5 + 25")
    table("Few and unequal runs: false by Welch's t, by permutation, and by the verdict, in percent", head, rows())


def unequal_and_skewed(rng: np.random.Generator, repeats: int = 500) -> None:
    """How many false verdicts on equal means come without a caution, with 20 runs or more in each arm."""
    odd = odd_shapes(rng)

    def rows() -> Iterable[tuple[object, ...]]:
        for name in ("skewed (exponential)", "skewed (lognormal, 0.5)"):
            many = odd[name](1_000_000)
            for ratio in (1 / 3, 3):
                cells = []
                for n, m in ((20, 20), (25, 25), (40, 40), (20, 60), (60, 20), (100, 100)):
                    arms = list(zip(odd[name](repeats, n), ratio * (odd[name](repeats, m) - many.mean()), strict=True))
                    arms = [(a - many.mean(), b) for a, b in arms]
                    false = [(a, b) for a, b in arms if verdict_p(a, b)[2] <= LEVEL]
                    unsaid = [1 for a, b in false if not (shape_of(a).skewed or shape_of(b).skewed)]
                    cells.append(f"{100 * len(false) / repeats:.1f}, {100 * len(unsaid) / repeats:.1f}")
                yield name, f"1 : {ratio:.2g}", *cells

    head = ("values", "SDs of A and B", "20 + 20 runs", "25 + 25", "40 + 40", "20 + 60", "60 + 20", "100 + 100")
    table("Skewed values and unequal SDs: false by the verdict, and those without a caution, in percent", head, rows())


def copies(rng: np.random.Generator, repeats: int = 200) -> None:
    """Runs that are equal because their source does nothing, and near ones because a run was saved several times."""

    def idle(runs: int) -> np.ndarray:
        """Seven of ten bit flips do nothing; on average the others cost as much as the idle ones gain."""
        return np.where(rng.random(runs) < 0.7, 0.5, 0.5 * rng.normal(size=runs) - 0.35 / 0.3)

    def saved(noise: float = 1e-4) -> np.ndarray:
        """Logits of three runs of different quality, each saved ten times."""
        quality = 1 + 0.3 * rng.normal(size=(3, 1, 1))
        runs = np.repeat(quality * mean + rng.normal(size=(3, *mean.shape)), 10, axis=0)
        return runs + noise * rng.normal(size=runs.shape)

    def accuracy(logits: np.ndarray) -> np.ndarray:
        return 100 * (logits.argmax(axis=-1) == 0).mean(axis=-1)

    def own(logits: np.ndarray) -> np.ndarray:
        return np.delete(logits, list(near_copies(features(logits))), axis=0)

    mean = rng.normal(size=(200, 3)) + np.array([1.5, 0, 0])
    found: dict[str, list[bool]] = {name: [] for name in ("once", "all", "saved", "own")}
    for _ in range(repeats):
        a, b = rng.normal(size=30), idle(30)
        found["once"].append(verdict_p(a, np.unique(b))[2] <= LEVEL)
        found["all"].append(verdict_p(a, b)[2] <= LEVEL)
        first, second = saved(), saved()
        found["saved"].append(verdict_p(accuracy(first), accuracy(second))[2] <= LEVEL)
        found["own"].append(verdict_p(accuracy(own(first)), accuracy(own(second)))[2] <= LEVEL)
    rows = [
        ("30 runs of a study, against 30 of which 7 in 10 flips do nothing", share(found["once"]), share(found["all"])),
        ("3 + 3 runs, each saved ten times with noise of 1e-4", share(found["own"]), share(found["saved"])),
    ]
    head = ("runs of equal mean", "equal and near runs count once", "all count")
    table("Copies: false `better` or `worse` at 5 %, in percent", head, rows)


def coverage_by_shape(rng: np.random.Generator, repeats: int = 500) -> None:
    """The coverage of the intervals of mean and SD, and how often one misses without a caution."""

    def cell(draw: Draw, n: int, mean: float, sd: float) -> str:
        held = np.zeros((repeats, 2), dtype=bool)
        cautioned = np.zeros(repeats, dtype=bool)
        for place, values in enumerate(draw(repeats, n)):
            held[place] = holds(mean_estimate(values), mean), covers(sd_interval(values), sd)
            cautioned[place] = bool(shape_words(shape_of(values), values, "accuracy"))
        missed = 100 * (~held.all(axis=1) & ~cautioned).mean()
        return ", ".join(f"{100 * x:.0f}" for x in held.mean(axis=0)) + f" ({100 * cautioned.mean():.0f}, {missed:.0f})"

    def rows() -> Iterable[tuple[object, ...]]:
        for name, draw in odd_shapes(rng).items():
            many = draw(1_000_000)
            yield name, *(cell(draw, n, float(many.mean()), float(many.std())) for n in (5, 10, 20, 50))

    head = ("values", "5 runs", "10", "20", "50")
    table("Coverage by shape: of the mean, of the SD (cautioned, missed without a caution), in percent", head, rows())


def pairs_rule(rng: np.random.Generator, repeats: int = 10_000) -> None:
    apart_rng = np.random.Generator(np.random.Philox(2025))  # for rows added later

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
            yield f"{effect:g} SD{'s' * (effect != 1)}", n, f"{100 * reached:.1f}", found

    table(
        "Plans for a power of 80 %: what the noncentral t gives, and what Welch's test found",
        ("difference", "runs of each", "computed (%)", "found (%)"),
        rows(),
    )


def looks(_: np.random.Generator) -> None:
    decisions_looks.main()  # it has a fixed seed


OWN = (few_and_unequal, copies, coverage_by_shape, looks, unequal_and_skewed)
IN_TURN = (false_positives, pairs_rule, superiority_coverage, spread_coverage, churn_coverage, planned_power)


def main() -> None:
    named = {part.__name__: part for part in (*OWN, *IN_TURN)}
    in_turn = np.random.Generator(np.random.Philox(2024))
    for name in sys.argv[1:] or named:
        if name not in named:
            sys.exit(f"a part must be one of {', '.join(named)} (got {name})")
        own = np.random.Generator(np.random.Philox([2027, list(named).index(name)]))
        named[name](own if named[name] in OWN else in_turn)


if __name__ == "__main__":
    main()
