"""What a stopping rule does to an SD: `python benchmarks/until.py` prints the table of docs/designs.md.

Runs with values of SD 1 are added until the SD's standard error is small enough (the error by the delta method,
which is what the bootstrap comes to), and compared with as many runs fixed beforehand: the SD, and how often the 95 %
interval of the mean (Student's t) holds the true mean, 0.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import stats

STUDIES, LIMIT = 2000, 400
RULES = [(5, 5, "20%"), (20, 5, "10%"), (20, 15, "10%"), (5, 5, "0.2"), (20, 5, "0.1"), (20, 15, "0.1")]
"""Runs at the beginning, runs added at a time, and the bound: of the SD, or absolute."""


def error(values: np.ndarray) -> float:
    squares = np.square(values - values.mean())
    return float(np.sqrt(squares.var() / len(values) / squares.mean()) / 2)


def held(values: np.ndarray) -> bool:
    reach = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return bool(abs(values.mean()) <= reach)


def stopped(values: np.ndarray, begin: int, step: int, bound: str) -> np.ndarray:
    runs = begin
    while runs + step <= LIMIT:
        seen = values[:runs]
        if error(seen) / (seen.std() if bound.endswith("%") else 100) < float(bound.rstrip("%")) / 100:
            break
        runs += step
    return values[:runs]


def main() -> None:
    rng = np.random.Generator(np.random.Philox(0))
    shapes: dict[str, Callable[..., np.ndarray]] = {
        "normal": lambda *size: rng.standard_normal(size),
        "skewed": lambda *size: rng.exponential(size=size) - 1,
    }
    print("| values | begins with | adds | error below | runs at the end | SD, mean | fixed | mean holds | fixed |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    for name, draw in shapes.items():
        for begin, step, bound in RULES:
            found = [stopped(draw(LIMIT), begin, step, bound) for _ in range(STUDIES)]
            runs = round(np.mean([len(values) for values in found]))
            fixed = draw(STUDIES, runs)
            sds = [np.mean([values.std() for values in some]) for some in (found, fixed)]
            shares = [100 * np.mean([held(values) for values in some]) for some in (found, fixed)]
            cells = f"{sds[0]:.3f} | {sds[1]:.3f} | {shares[0]:.1f} | {shares[1]:.1f}"
            print(f"| {name} | {begin} | {step} | {bound.replace('%', ' %')} | {runs} | {cells} |")


if __name__ == "__main__":
    main()
