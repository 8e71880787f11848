"""All measures at once against a plain loop over pairs: python benchmarks/measure.py [--runs 100 --examples 10000].

The loop is what one would write in numpy: only values, with ranks and predictions computed once for each run. `measure`
also returns errors and intervals. Both take turns; medians and the median of the ratios are printed.
"""

import argparse
import itertools
import statistics
import time
from typing import Any

import numpy as np
from bench_measures import study

import nondet
from nondet.io.cores import available_cores
from nondet.study.provenance import environment_of_machine

HEADING = """
## All measures against a plain loop

`python benchmarks/measure.py {words}`:
all measures with their errors and intervals and, in turns, a loop over pairs in numpy that computes only the values.
The numbers are medians of the rounds, and the ratio is the median of the rounds' ratios.

{processor} ({instructions}), {cores} cores, numpy {numpy}.

| runs x examples x classes | `nondet.measure` (s) | loop (s) | loop / measure |
|---|---:|---:|---:|"""


def losses(outputs: Any, labels: Any) -> Any:
    """Cross-entropy of one run."""
    top = outputs.max(axis=1, keepdims=True)
    return (np.log(np.exp(outputs - top).sum(axis=1)) + top[:, 0] - outputs[np.arange(len(labels)), labels]).mean()


def pair_loop(outputs: Any, labels: Any) -> dict[str, float]:
    """The value of every measure, pair by pair in float64."""
    runs = [run.astype(np.float64) for run in outputs]
    predicted = [run.argmax(axis=1) for run in runs]
    accuracy = np.array([100 * (p == labels).mean() for p in predicted])
    entropy = np.array([losses(run, labels) for run in runs])
    ranks = [run.ravel().argsort(kind="stable").argsort(kind="stable") for run in runs]
    disagree, pearson, spearman, gain, change = [], [], [], [], []
    for a, b in itertools.combinations(range(len(runs)), 2):
        disagree.append(100 * (predicted[a] != predicted[b]).mean())
        pearson.append(np.corrcoef(runs[a].ravel(), runs[b].ravel())[0, 1])
        spearman.append(np.corrcoef(ranks[a], ranks[b])[0, 1])
        mean = (runs[a] + runs[b]) / 2
        gain.append(100 * (mean.argmax(axis=1) == labels).mean() - (accuracy[a] + accuracy[b]) / 2)
        change.append(losses(mean, labels) - (entropy[a] + entropy[b]) / 2)
    right = np.array(predicted) == labels
    n = len(labels)
    total = accuracy.var(ddof=1)
    training = (n**2 * total - 1e4 * right.var(axis=0, ddof=1).sum()) / (n * (n - 1))
    return {
        "accuracy.mean": accuracy.mean(),
        "accuracy.sd": accuracy.std(),
        "cross_entropy.mean": entropy.mean(),
        "cross_entropy.sd": entropy.std(),
        "disagreement": float(np.mean(disagree)),
        "correlation.pearson": float(np.mean(pearson)),
        "correlation.spearman": float(np.mean(spearman)),
        "ensemble_delta.accuracy": float(np.mean(gain)),
        "ensemble_delta.cross_entropy": float(np.mean(change)),
        "accuracy_variance.total": total,
        "accuracy_variance.training": training,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--examples", type=int, default=10_000)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    outputs, labels = study(given.runs, given.examples, given.classes)
    nondet.measure(outputs[:3], labels)  # imports
    times: list[tuple[float, float]] = []
    for _ in range(given.rounds):
        begin = time.perf_counter()
        found = nondet.measure(outputs, labels)
        middle = time.perf_counter()
        plain = pair_loop(outputs, labels)
        times.append((middle - begin, time.perf_counter() - middle))
    for name, value in plain.items():
        assert abs(found[name].value - value) <= 1e-8 * max(1.0, abs(value)), (name, found[name].value, value)
    ours, loops = zip(*times, strict=True)
    words = " ".join(f"--{name} {value}" for name, value in vars(given).items())
    print(HEADING.format(words=words, cores=available_cores(), **environment_of_machine()))
    size = f"{given.runs} x {given.examples:,} x {given.classes}, float32"
    ratio = statistics.median(loop / one for one, loop in times)
    print(f"| {size} | {statistics.median(ours):.2f} | {statistics.median(loops):.2f} | {ratio:.1f} |")


if __name__ == "__main__":
    main()
