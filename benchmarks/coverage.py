"""How often the 95 % intervals contain the truth, simulated on data whose truth is known.

    python benchmarks/coverage.py [SHARE]

Part 1: means and SDs of one number per run. Part 2: measures of pairs, and the split of the accuracy's variance, for
new runs on one fixed test set. Part 3: the same with `--examples`, for new runs and new test examples. The intervals
are the library's; outputs are measured here, many studies at once. SHARE scales the number of studies.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from nondet.measures import by_example
from nondet.measures.answers import GROUP
from nondet.measures.classification import FIGURES
from nondet.measures.figure import Figure
from nondet.measures.variance import variance_estimates
from nondet.stats import intervals
from nondet.stats.estimate import Estimate

Array = NDArray[np.float64]
RUNS = {5: 2000, 10: 2000, 20: 1000, 25: 1000, 100: 400}
"""Runs of a study -> how many studies there are of each model."""

VALUES = 20_000
ODD = 20  # one run in so many is odd, in models with odd runs
EXAMPLES, CLASSES = 80, 3
AT_ONCE = 2000  # runs that are drawn and measured together

ONE_NUMBER: dict[str, Callable[[np.random.Generator, tuple[int, int]], Array]] = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "accuracy, 900 examples": lambda rng, shape: rng.binomial(900, 0.96, shape) / 9.0,
    "uniform": lambda rng, shape: rng.uniform(size=shape),
    "gamma, shape 4": lambda rng, shape: rng.gamma(4, size=shape),
    "lognormal, sigma 1/4": lambda rng, shape: np.exp(rng.normal(size=shape) / 4),
    "lognormal, sigma 1/2": lambda rng, shape: np.exp(rng.normal(size=shape) / 2),
    "Laplace": lambda rng, shape: rng.laplace(size=shape),
    "Student, 5 degrees": lambda rng, shape: rng.standard_t(5, size=shape),
    "1 run in 20 far off": lambda rng, shape: rng.normal(size=shape) - 6 * (rng.integers(ODD, size=shape) == 0),
}

OUTPUTS: dict[str, Callable[[np.random.Generator, Array, Array, int], Array]] = {
    "equal runs' noise": lambda rng, mu, d, s: mu + _noise(rng, s, mu),
    "noise of two sizes": lambda rng, mu, d, s: mu + np.exp(0.3 * rng.normal(size=(s, 1, 1))) * _noise(rng, s, mu),
    "better and worse": lambda rng, mu, d, s: mu * np.exp(0.3 * rng.normal(size=(s, 1, 1))) + _noise(rng, s, mu),
    "one direction": lambda rng, mu, d, s: mu + 0.5 * rng.normal(size=(s, 1, 1)) * d + 0.8 * _noise(rng, s, mu),
    "nothing shared": lambda rng, mu, d, s: _noise(rng, s, mu),
    "1 run in 20 far off": lambda rng, mu, d, s: mu * (rng.integers(ODD, size=(s, 1, 1)) > 0) + _noise(rng, s, mu),
}
"""Logits of s runs `(s, n, c)`, given what they share: a mean `(n, c)` and a direction `(n, c)`."""

OF = {figure.name: figure for figure in FIGURES}
PAIRS = ("disagreement", "correlation.pearson", "correlation.spearman")
PAIRS += ("ensemble_delta.accuracy", "ensemble_delta.cross_entropy")


def _noise(rng: np.random.Generator, runs: int, mu: Array) -> Array:
    return rng.normal(size=(runs, *mu.shape))


def a_test_set(rng: np.random.Generator) -> tuple[Array, Array, NDArray[np.int64]]:
    """Draw what runs share, and labels that it favours."""
    labels = rng.integers(CLASSES, size=EXAMPLES)
    mean = 1.5 * (rng.normal(size=(EXAMPLES, CLASSES)) + 1.5 * np.eye(CLASSES)[labels])
    return mean, rng.normal(size=(EXAMPLES, CLASSES)), labels


def matrices(z: Array, labels: NDArray[np.int64]) -> dict[str, Array]:
    """Return each measure of every pair, `(S, N, N)`, for outputs `(S, N, n, c)` and labels `(S, n)`."""
    studies, runs, examples, _ = z.shape
    chosen = z.argmax(axis=3)
    votes = (chosen[..., None] == np.arange(CLASSES)).reshape(studies, runs, -1).astype(np.float64)
    flat = z.reshape(studies, runs, -1)
    right = (chosen == labels[:, None]).mean(axis=2)
    root = np.exp((z - z.max(axis=3, keepdims=True)) / 2)
    root /= np.sqrt(np.square(root).sum(axis=3, keepdims=True))
    together, overlap = np.empty((2, studies, runs, runs))
    for i in range(runs):
        together[:, i] = ((z[:, i : i + 1] + z).argmax(axis=3) == labels[:, None]).mean(axis=2)
        overlap[:, i] = np.log(np.einsum("snec,sec->sne", root, root[:, i])).mean(axis=2)
    return {
        "disagreement": 100 * (1 - votes @ votes.transpose(0, 2, 1) / examples),
        "correlation.pearson": _correlations(flat),
        "correlation.spearman": _correlations(flat.argsort(axis=2).argsort(axis=2).astype(np.float64)),
        "ensemble_delta.accuracy": 100 * (together - (right[:, :, None] + right[:, None]) / 2),
        "ensemble_delta.cross_entropy": overlap,
    }


def _correlations(flat: Array) -> Array:
    z = flat - flat.mean(axis=2, keepdims=True)
    z /= np.sqrt(np.square(z).sum(axis=2, keepdims=True))
    return z @ z.transpose(0, 2, 1)


def mean_over_pairs(h: Array) -> Array:
    """Return each run's mean over its partners, `(S, N)`, in matrices `(S, N, N)`."""
    return (h.sum(axis=2) - np.einsum("sii->si", h)) / (h.shape[1] - 1)


def studies(rng: np.random.Generator, model: str, runs: int, count: int, fixed: bool) -> Iterator[tuple[Array, Array]]:
    """Yield outputs `(S, N, n, c)` and labels `(S, n)` of so many studies, some at a time."""
    mu, d, labels = a_test_set(np.random.Generator(np.random.Philox(7)))
    step = max(1, AT_ONCE // runs)
    for start in range(0, count, step):
        here = min(step, count - start)
        if fixed:
            z = OUTPUTS[model](rng, mu, d, here * runs).reshape(here, runs, *mu.shape)
            yield z, np.broadcast_to(labels, (here, EXAMPLES))
        else:
            sets = [a_test_set(rng) for _ in range(here)]
            yield np.stack([OUTPUTS[model](rng, m, e, runs) for m, e, _ in sets]), np.stack([s[2] for s in sets])


def estimates(z: Array, labels: NDArray[np.int64], fixed: bool) -> Iterator[dict[str, Estimate]]:
    """Return every measure of each study, with its error and interval."""
    pairs = matrices(z, labels)
    rows = {name: mean_over_pairs(h) for name, h in pairs.items()}
    for s in range(len(z)):
        right = z[s].argmax(axis=2) == labels[s]
        accuracies = 100 * right.mean(axis=1)
        found = {"accuracy.mean": intervals.mean_estimate(accuracies), "accuracy.sd": sd(accuracies)}
        for name, row in rows.items():
            matrix = pairs[name][s][:GROUP, :GROUP] if name in PAIRS[:3] else None
            found[name] = intervals.pairwise_estimate(row[s], matrix=matrix, distance_from=OF[name].origin)
        found |= {f"accuracy_variance.{part}": e for part, e in variance_estimates(right).items()}
        if not fixed:
            added = added_by_examples(z[s][:GROUP], labels[s], right)
            found = {name: widened(OF[name], e, added[name]) for name, e in found.items()}
        yield found


def sd(values: Array) -> Estimate:
    """Estimate without the bootstrap, which does not matter for coverage."""
    return Estimate(float(values.std()), 0.0, *intervals.sd_interval(values))


def widened(figure: Figure, e: Estimate, added: float) -> Estimate:
    """Return the estimate for drawn examples, as the library makes it."""
    if figure.share:
        return by_example.widened_share(e, added, EXAMPLES)
    return by_example.widened(e, added, EXAMPLES, figure.origin)


def added_by_examples(few: Array, labels: NDArray[np.int64], right: NDArray[np.bool_]) -> dict[str, float]:
    """Return what the examples add to each measure's variance; `few` are the outputs of some of the runs."""
    table = 100.0 * right
    return {
        "accuracy.mean": by_example.added_variance(table),
        "accuracy.sd": by_example.sd_added(table),
        "disagreement": by_example.disagreement_added(few.argmax(axis=2)),
        "correlation.pearson": by_example.correlation_added(few, "pearson"),
        "correlation.spearman": by_example.correlation_added(few, "spearman"),
        **{f"ensemble_delta.{name}": v for name, v in by_example.ensemble_added(few, labels).items()},
        **{f"accuracy_variance.{name}": v for name, v in by_example.variance_added(right).items()},
    }


def coverage_of_outputs(model: str, share: float, fixed: bool) -> dict[str, list[float]]:
    """Return for each measure, in percent, how many of the intervals contain the truth, by number of runs.

    The truth is the mean over all studies, weighted by their runs: the estimates are unbiased, except for the SD, whose
    square has that mean. For correlations of drawn examples it is the mean over test sets of this size.
    """
    rng = np.random.Generator(np.random.Philox(1))
    by_runs = [
        [u for part in studies(rng, model, runs, round(count * share), fixed) for u in estimates(*part, fixed)]
        for runs, count in RUNS.items()
    ]
    weights = [runs for runs, found in zip(RUNS, by_runs, strict=True) for _ in found]
    every = [u for found in by_runs for u in found]
    truth = {name: float(np.average([u[name].value for u in every], weights=weights)) for name in every[0]}
    truth["accuracy.sd"] = truth["accuracy_variance.total"] ** 0.5
    return {name: [held([u[name] for u in found], true) for found in by_runs] for name, true in truth.items()}


def held(found: list[Estimate], truth: float) -> float:
    return 100 * float(np.mean([e.low <= truth <= e.high for e in found]))


def coverage_of_values(name: str, share: float) -> dict[str, list[float]]:
    """Do the same for the mean and the SD of one number per run."""
    rng = np.random.Generator(np.random.Philox(2))
    many = ONE_NUMBER[name](rng, (2000, 2000))
    mean, true_sd = many.mean(), many.std()
    result: dict[str, list[float]] = {"mean": [], "sd": []}
    for runs in RUNS:
        samples = ONE_NUMBER[name](rng, (round(VALUES * share), runs))
        result["mean"].append(held([intervals.mean_estimate(x) for x in samples], mean))
        result["sd"].append(held([sd(x) for x in samples], true_sd))
    return result


def show(title: str, columns: dict[str, dict[str, list[float]]]) -> None:
    """Print a table with a row for each measure and, for each model, one entry for each number of runs."""
    print(f"\n{title}\n")
    numbers = "/".join(map(str, RUNS))
    print(f"| coverage (%) at N = {numbers} | " + " | ".join(columns) + " |")
    print("|---" * (len(columns) + 1) + "|")
    for figure in next(iter(columns.values())):
        cells = (" ".join(f"{x:.1f}" for x in column[figure]) for column in columns.values())
        print(f"| {figure} | " + " | ".join(cells) + " |", flush=True)


def main() -> None:
    share = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    show("One number per run", {name: coverage_of_values(name, share) for name in ONE_NUMBER})
    for title, fixed in (("Runs drawn anew", True), ("Runs and examples drawn anew", False)):
        show(title, {model: coverage_of_outputs(model, share, fixed) for model in OUTPUTS})


if __name__ == "__main__":
    main()
