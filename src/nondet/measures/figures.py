"""The figures of a condition by dotted name, such as "accuracy.sd", each with what its error and interval need."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from hashlib import blake2b
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nondet.measures import by_example
from nondet.measures.diversity import (
    correlation_by_run,
    correlation_matrix,
    disagreement_by_run,
    disagreement_matrix,
    disagreement_of,
)
from nondet.measures.variability import accuracy_of
from nondet.measures.variance import accuracy_variance, correctness, variance_uncertainty
from nondet.stats.intervals import UNKNOWN, Uncertainty, certain, mean_uncertainty, pairwise_uncertainty, sd_uncertainty
from nondet.stats.values import LARGEST_VALUE, Floats, Integers, mean, sd

DISTANCE_FROM = MappingProxyType(
    {
        "accuracy.sd": 0.0,
        "cross_entropy.sd": 0.0,
        "perplexity.sd": 0.0,
        "accuracy_variance.total": 0.0,
        "disagreement": 0.0,
        "correlation.pearson": 1.0,
        "correlation.spearman": 1.0,
        "ensemble_delta.cross_entropy": 0.0,
    }
)
"""What a figure is when runs are equal: it never passes that, and its distance from it is skewed. Its interval is one
of the logarithm of that distance; other figures have intervals on their own scale."""

BOUNDS = MappingProxyType(
    {
        "accuracy.mean": (0.0, 100.0),
        "accuracy.sd": (0.0, 50.0),
        "cross_entropy.mean": (0.0, math.inf),
        "perplexity.mean": (1.0, math.inf),
        "disagreement": (0.0, 100.0),
        "correlation.pearson": (-1.0, 1.0),
        "correlation.spearman": (-1.0, 1.0),
        "ensemble_delta.accuracy": (-100.0, 100.0),
        "accuracy_variance.total": (0.0, 2500.0),
        "accuracy_variance.test_set": (0.0, math.inf),
    }
)
"""What a figure of all runs cannot pass. `accuracy_variance.training` has none: on one test set it can be negative, as
covariances are."""

GROUP = 32
"""So many runs are enough where a quantity that only corrects an error needs every pair, or all runs at once."""


@dataclass(frozen=True)
class Figure:
    """A figure, its uncertainty over runs, and the variance that drawing the test examples adds, where asked for."""

    value: float
    over_runs: Uncertainty
    added: float = 0.0


Figures = dict[str, Figure]


def uncertainties(figures: Mapping[str, Figure], drawn: int | None = None) -> dict[str, Uncertainty]:
    """Of each figure, over runs and, where so many test examples are drawn anew, over these too; within its bounds."""
    found: dict[str, Uncertainty] = {}
    for name, f in figures.items():
        u = f.over_runs
        if drawn and name == "accuracy.mean":
            u = by_example.widened_share(u, f.value, f.added, drawn)
        elif drawn:
            u = by_example.widened(u, f.value, f.added, drawn, DISTANCE_FROM.get(name))
        least, most = BOUNDS.get(name, (-math.inf, math.inf))
        most = max(most, f.value)  # which an unbiased variance may pass
        known = math.isfinite(u.low) and math.isfinite(u.high)  # one that ends beyond all numbers says nothing
        found[name] = Uncertainty(u.error, max(least, u.low), min(most, u.high)) if known else _open(u)
    return found


def some_runs(predicted: NDArray[Any], losses: ArrayLike | None = None) -> Integers:
    """At most GROUP of the runs, the same ones in whatever order the runs stand.

    Args:
        predicted: predictions `(N, n)`, whose digests make the choice, which so is like a random one.
        losses: a number per run, `(N,)`, for runs with the same predictions.
    """
    if len(predicted) <= GROUP:
        return np.arange(len(predicted))
    ties = np.zeros(len(predicted)) if losses is None else np.asarray(losses)
    keys = [(blake2b(row.tobytes()).digest(), float(tie)) for row, tie in zip(predicted, ties, strict=True)]
    return np.array(sorted(range(len(keys)), key=keys.__getitem__)[:GROUP])


def spread_figures(name: str, values: Floats, table: NDArray[Any] | None = None, unit: float = 1.0) -> Figures:
    """Mean and SD of one number per run, `(N,)`; `table` is the number by run and example, `(N, n)`, over the unit.

    Not numbers where one is so large that no square of it is one.
    """
    if values.max() > LARGEST_VALUE:
        return {f"{name}.mean": Figure(math.nan, UNKNOWN), f"{name}.sd": Figure(math.nan, UNKNOWN)}
    added = (0.0, 0.0) if table is None else (by_example.added_variance(table), by_example.sd_added(table))
    return {
        f"{name}.mean": Figure(mean(values), mean_uncertainty(values), unit**2 * added[0]),
        f"{name}.sd": Figure(sd(values), sd_uncertainty(values), unit**2 * added[1]),
    }


def pair_figure(name: str, rows: Floats, value: float, added: float = 0.0, matrix: Floats | None = None) -> Figures:
    """A mean over pairs, from each run's mean over its partners `(N,)`."""
    if math.isnan(value):
        return {name: Figure(value, UNKNOWN)}
    found = pairwise_uncertainty(rows, matrix=matrix, distance_from=DISTANCE_FROM.get(name))
    return {name: Figure(value, found, added)}


def prediction_figures(predicted: NDArray[Any], truth: Integers, some: Integers, examples: bool = False) -> Figures:
    """What predictions `(N, n)` give: accuracy, its variance, and disagreement."""
    right = correctness(predicted, truth)
    parts, split = variance_uncertainty(right), asdict(accuracy_variance(predicted, truth))
    added = by_example.variance_added(right) if examples else dict.fromkeys(parts, 0.0)
    found = {
        **spread_figures("accuracy", accuracy_of(predicted, truth), right if examples else None, 100.0),
        **{f"accuracy_variance.{name}": Figure(split[name], u, added[name]) for name, u in parts.items()},
    }
    return found | disagreement_figure(predicted, some, examples)


def disagreement_figure(predicted: NDArray[Any], some: Integers, examples: bool = False) -> Figures:
    """The disagreement of predictions `(N, n)`."""
    few = predicted[some]
    return pair_figure(
        "disagreement",
        disagreement_by_run(predicted),
        disagreement_of(predicted),
        by_example.disagreement_added(few) if examples else 0.0,
        disagreement_matrix(few),
    )


def correlation_figures(logits: NDArray[Any], few: NDArray[Any], examples: bool = False) -> Figures:
    """Both correlations of logits `(N, n, c)`, of which `few` are of some runs."""
    figures: Figures = {}
    for kind in ("pearson", "spearman"):
        rows = correlation_by_run(logits, kind)
        added = by_example.correlation_added(few, kind) if examples else 0.0
        figures |= pair_figure(f"correlation.{kind}", rows, float(rows.mean()), added, correlation_matrix(few, kind))
    return figures


def settled(figures: Figures, equal: bool) -> Figures:
    """The figures, once it is known whether all runs are equal: then no error is left, of two runs too.

    Runs that are not may still show the same figure, as those that are right on every example do. That is no proof that
    all runs there could be would: no interval is known, though the formulas of the errors give 0.
    """
    if equal:
        return {
            name: f
            if math.isnan(f.value)
            else replace(f, over_runs=certain(f.value), added=0.0 if math.isnan(f.added) else f.added)
            for name, f in figures.items()
        }
    variance = figures.get("accuracy_variance.total")
    alike = variance is not None and variance.value == 0.0  # then the parts of no variance have no interval either
    return {
        name: _without_interval(f)
        if f.over_runs.low == f.over_runs.high or (alike and name.startswith("accuracy"))
        else f
        for name, f in figures.items()
    }


def _without_interval(figure: Figure) -> Figure:
    return replace(figure, over_runs=_open(figure.over_runs))


def _open(u: Uncertainty) -> Uncertainty:
    """The error alone."""
    return Uncertainty(u.error, math.nan, math.nan)
