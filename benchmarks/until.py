"""What a stopping rule does to an SD: `python benchmarks/until.py` prints the table of docs/designs.md.

Runs with normal values of SD 1 are added until the SD's standard error is small enough (the error by the delta method,
which is what the bootstrap comes to), and compared with as many runs fixed beforehand.
"""

from __future__ import annotations

import numpy as np

STUDIES, LIMIT = 2000, 400
RULES = [(5, 5, "20%"), (20, 5, "10%"), (20, 15, "10%"), (5, 5, "0.2"), (20, 5, "0.1"), (20, 15, "0.1")]
"""Runs at the beginning, runs added at a time, and the bound: of the SD, or absolute."""


def error(values: np.ndarray) -> float:
    squares = np.square(values - values.mean())
    return float(np.sqrt(squares.var() / len(values) / squares.mean()) / 2)


def stopped(rng: np.random.Generator, begin: int, step: int, bound: str) -> np.ndarray:
    values, runs = rng.standard_normal(LIMIT), begin
    while runs + step <= LIMIT:
        seen = values[:runs]
        if error(seen) / (seen.std() if bound.endswith("%") else 100) < float(bound.rstrip("%")) / 100:
            break
        runs += step
    return values[:runs]


def main() -> None:
    rng = np.random.Generator(np.random.Philox(0))
    print("| begins with | adds | error below | runs at the end | SD, mean | as many runs, fixed |")
    print("|---:|---:|---:|---:|---:|---:|")
    for begin, step, bound in RULES:
        found = [stopped(rng, begin, step, bound) for _ in range(STUDIES)]
        runs = round(np.mean([len(values) for values in found]))
        fixed = rng.standard_normal((STUDIES, runs)).std(axis=1).mean()
        mean = np.mean([values.std() for values in found])
        print(f"| {begin} | {step} | {bound.replace('%', ' %')} | {runs} | {mean:.3f} | {fixed:.3f} |")


if __name__ == "__main__":
    main()
