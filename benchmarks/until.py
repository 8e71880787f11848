"""What a stopping rule does to an SD: `python benchmarks/until.py` prints the table of docs/designs.md.

Runs with values of mean 0 and SD 1 are added until the SD's standard error is small enough (the error is that of the
delta method, which the bootstrap approaches). They are compared with as many runs fixed beforehand: the SD, and how
often the 95 % intervals of mean and SD contain the truth. After a rule the intervals are those that `show` prints.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nondet.stats.estimate import Estimate
from nondet.stats.intervals import mean_estimate, sd_interval
from nondet.stats.looks import after_rule

STUDIES, LIMIT = 2000, 400
MEAN, SD = np.exp(1 / 8), np.sqrt((np.exp(1 / 4) - 1) * np.exp(1 / 4))  # of the lognormal values
RULES = [(5, 5, "20%"), (20, 5, "10%"), (20, 15, "10%"), (5, 5, "0.2"), (20, 5, "0.1"), (20, 15, "0.1")]
RULES += [(20, 5, "0.2 (mean)"), (20, 5, "0.1 (mean)")]
"""Runs at the beginning, runs added at a time, and the bound of an error: the SD's (% or absolute), or a mean's."""


def error(values: np.ndarray) -> float:
    squares = np.square(values - values.mean())
    return float(np.sqrt(squares.var() / len(values) / squares.mean()) / 2)


def held(values: np.ndarray) -> list[bool]:
    """Whether the intervals of mean and SD contain the truth: those after a rule, and those of as many fixed runs."""
    mean = mean_estimate(values)
    sd = Estimate(float(values.std()), 0.0, *(sd_interval(values) or (np.nan, np.nan)))
    runs = len(values)
    both = (after_rule(mean, runs), mean, after_rule(sd, runs, 0.0), sd)
    return [bool(e.low <= truth <= e.high) for e, truth in zip(both, (0, 0, 1, 1), strict=True)]


def stopped(values: np.ndarray, begin: int, step: int, bound: str) -> np.ndarray:
    runs = begin
    while runs + step <= LIMIT:
        seen = values[:runs]
        if bound.endswith("(mean)"):
            small = seen.std(ddof=1) / np.sqrt(runs) < float(bound.removesuffix("(mean)"))
        else:
            small = error(seen) / (seen.std() if bound.endswith("%") else 100) < float(bound.rstrip("%")) / 100
        if small:
            break
        runs += step
    return values[:runs]


def main() -> None:
    rng = np.random.Generator(np.random.Philox(0))
    shapes: dict[str, Callable[..., np.ndarray]] = {
        "normal": lambda *size: rng.standard_normal(size),
        "heavy (t, 5 df)": lambda *size: rng.standard_t(5, size=size) / np.sqrt(5 / 3),
        "skewed": lambda *size: rng.exponential(size=size) - 1,
        "skewed (lognormal, 0.5)": lambda *size: (np.exp(rng.normal(size=size) / 2) - MEAN) / SD,
    }
    head = "values | begins with | adds | error below | runs | SD | fixed | mean holds | not widened | fixed | SD holds"
    print(f"| {head} |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    for name, draw in shapes.items():
        for begin, step, bound in RULES:
            found = [stopped(draw(LIMIT), begin, step, bound) for _ in range(STUDIES)]
            runs = round(np.mean([len(values) for values in found]))
            fixed = draw(STUDIES, runs)
            sds = [np.mean([values.std() for values in some]) for some in (found, fixed)]
            ruled, usual = (100 * np.mean([held(values) for values in some], axis=0) for some in (found, fixed))
            cells = f"{sds[0]:.3f} | {sds[1]:.3f} | {ruled[0]:.1f} | {ruled[1]:.1f} | {usual[1]:.1f} | {ruled[2]:.1f}"
            print(f"| {name} | {begin} | {step} | {bound.replace('%', ' %')} | {runs} | {cells} |")


if __name__ == "__main__":
    main()
