"""How often the intervals of `nondet.stats.components` contain the truth, on crossings whose truth is known.

    python benchmarks/components.py [--crossings 500]

For the variance: normal random effects, by levels, sources and where the variance is. For the disagreement: three-class
logits whose random effects have a few directions; the truth is the mean over all crossings.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping

import numpy as np

from nondet.stats.components import Estimate, disagreement_by_set, subsets, variance_components

LEVELS = [(2, 2), (3, 3), (4, 4), (10, 10), (3, 3, 3), (4, 4, 4), (2, 2, 2, 2), (3, 3, 3, 3)]
"""Seeds of each source."""

TRUTHS = {"sources": (1.0, 0.1), "all alike": (1.0, 1.0), "interaction": (0.02, 1.0)}
"""Where the variance is: in each source alone, and in each interaction."""

Truth = Mapping[tuple[int, ...], float]


def effects(levels: tuple[int, ...], truth: Truth, tail: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """The sums of normal random effects with these variances in a crossing, `levels + tail`."""
    shapes = {s: tuple(n if axis in s else 1 for axis, n in enumerate(levels)) for s in truth}
    drawn = [np.sqrt(variance) * rng.standard_normal((*shapes[s], *tail)) for s, variance in truth.items()]
    return np.sum([np.broadcast_to(each, (*levels, *tail)) for each in drawn], axis=0)


def holds(e: Estimate, truth: float) -> bool:
    return e.low is not None and e.high is not None and e.low <= truth + 1e-12 and truth <= e.high + 1e-12


def variance_row(levels: tuple[int, ...], truth: Truth, crossings: int, rng: np.random.Generator) -> Iterator[str]:
    total = sum(truth.values())
    both = sum(value for s, value in truth.items() if len(s) > 1)
    of_total, of_variance, of_share, of_interactions = [], [], [], []
    for _ in range(crossings):
        found = variance_components(effects(levels, truth, (), rng))
        of_total.append(holds(found.total, total))
        of_variance.append([holds(c.variance, truth[s]) for s, c in found.parts])
        of_share.append([holds(c.share, truth[s] / total) for s, c in found.parts])
        of_interactions.append(holds(found.interactions.share, both / total))
    for hits in (of_total, of_variance, of_share, of_interactions):
        each = 100 * np.atleast_1d(np.mean(hits, axis=0))
        yield f"{each.min():.0f}" if len(each) == 1 else f"{each.min():.0f} to {each.max():.0f}"


def disagreement_row(levels: tuple[int, ...], truth: Truth, crossings: int, rng: np.random.Generator) -> Iterator[str]:
    base, directions = rng.standard_normal((50, 3)), rng.standard_normal((4, 50, 3)) / 2
    found = []
    for _ in range(crossings):
        logits = base + np.tensordot(effects(levels, truth, (4,), rng), directions, 1)
        found.append([e for _, e in disagreement_by_set(logits.argmax(axis=-1))])
    values = np.array([[e.value for e in each] for each in found], dtype=float)
    errors = np.array([[e.error for e in each] for each in found], dtype=float)
    hits = [[holds(e, truth) for e, truth in zip(each, values.mean(axis=0), strict=True)] for each in found]
    for each in (100 * np.mean(hits, axis=0), np.sqrt(np.square(errors).mean(axis=0)) / values.std(axis=0)):
        yield f"{each.min():.3g} to {each.max():.3g}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crossings", type=int, default=500)
    crossings = parser.parse_args().crossings
    rng = np.random.Generator(np.random.Philox(0))
    print("| levels | variance in | total | variances | shares | interactions | disagreement | its error / SD |")
    print("|---|---|---:|---:|---:|---:|---:|---:|")
    for levels in LEVELS:
        for name, (alone, together) in TRUTHS.items():
            truth = {s: alone if len(s) == 1 else together for s in subsets(len(levels))}
            cells = list(variance_row(levels, truth, crossings, rng))
            least = min(levels) > 2 and len(levels) < 4
            cells += disagreement_row(levels, truth, crossings // 2, rng) if least else ["", ""]
            print(f"| {' x '.join(map(str, levels))} | {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
