"""The split of the accuracy's variance, against its definition, its meaning, and by simulation."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from measuring import measure
from scipy import stats

from nondet import measures
from nondet.errors import BadInput
from nondet.measures import variance
from nondet.measures.variance import variance_estimates
from nondet.stats.intervals import sd_interval


def split(right: Any) -> variance.AccuracyVariance:
    """Of runs that are right where `right` (N, n) says so."""
    return measures.accuracy_variance(np.asarray(right, dtype=np.int64), np.ones(np.shape(right)[1], dtype=np.int64))


def drawn(rng: np.random.Generator, runs: int, mean: Any, better: Any) -> Any:
    """Whether runs are right: example x where `mean[x] + skill * better[x]` passes a draw of the run's own."""
    skill = rng.normal(size=(runs, 1))
    return mean + skill * better + rng.normal(size=(runs, len(mean))) > 0


def truth(mean: Any, better: Any) -> tuple[float, float]:
    """Total and training for such a test set, in squared points, from the runs' shares by skill (quadrature)."""
    skill, weight = np.polynomial.hermite_e.hermegauss(60)
    weight = weight / weight.sum()
    chance = stats.norm.cdf(mean + skill[:, None] * better)  # (60, n)
    share = weight @ chance
    covariance = (chance - share).T @ (weight[:, None] * (chance - share))
    n = len(share)
    training = (covariance.sum() - np.trace(covariance)) / (n * (n - 1))
    total = (covariance.sum() - np.trace(covariance) + (share * (1 - share)).sum()) / n**2
    return 1e4 * total, 1e4 * training


def test_it_is_the_mean_covariance() -> None:
    """Total is numpy's variance of accuracies; training the mean covariance over pairs of different examples."""
    right = drawn(np.random.default_rng(0), 7, np.linspace(-1, 2, 15), np.full(15, 0.5)).astype(float)
    covariance = np.cov(right.T)
    found = split(right)
    assert found.total == pytest.approx((100 * right.mean(axis=1)).var(ddof=1), rel=1e-12)
    assert found.training == pytest.approx(1e4 * np.mean([covariance[x, y] for x, y in combinations(range(15), 2)]))
    assert found.total == pytest.approx(found.test_set + found.training, rel=1e-12)
    assert found.examples == 15


def test_expected_variance() -> None:
    """At the test set's own size it is the total; with more examples it falls to what training causes."""
    found = split(drawn(np.random.default_rng(1), 9, np.linspace(-1, 2, 40), np.full(40, 0.5)))
    assert measures.expected_variance(found, 40) == pytest.approx(found.total, rel=1e-12)
    assert measures.expected_variance(found, 10**9) == pytest.approx(found.training, rel=1e-6)
    assert measures.expected_variance(found, 20) > found.total
    with pytest.raises(BadInput, match=r"examples must be at least 1 \(got 0\)"):
        measures.expected_variance(found, 0)


def test_expected_variance_is_that_of_a_smaller_test_set() -> None:
    """The mean over random parts of the test set of the variance on them is what is expected of their size."""
    rng = np.random.default_rng(2)
    right = drawn(rng, 30, rng.normal(size=200), np.full(200, 0.3))
    parts = [split(right[:, rng.permutation(200)[:50]]).total for _ in range(4000)]
    error = np.std(parts) / np.sqrt(len(parts))
    assert measures.expected_variance(split(right), 50) == pytest.approx(np.mean(parts), abs=4 * error)


@pytest.mark.parametrize("better", [0.0, 0.2])
def test_it_is_unbiased(better: float) -> None:
    """Over many studies the parts average to the truth: no training variance where runs draw each example apart."""
    rng = np.random.default_rng(3)
    mean = rng.normal(1, 1, size=50)
    total, training = truth(mean, np.full(50, better))
    found = [split(drawn(rng, 6, mean, np.full(50, better))) for _ in range(3000)]
    for name, expected in (("total", total), ("training", training), ("test_set", total - training)):
        values = [getattr(f, name) for f in found]
        assert np.mean(values) == pytest.approx(expected, abs=4 * np.std(values) / np.sqrt(len(values)))
    if not better:
        assert training == pytest.approx(0, abs=1e-9)
        assert min(f.training for f in found) < 0  # an unbiased estimate of 0


@pytest.mark.parametrize("runs", [10, 25, 100])
@pytest.mark.parametrize("better", [0.0, 0.2])
def test_coverage(better: float, runs: int) -> None:
    """Each part's interval holds the truth in 92 to 98 cases of 100."""
    rng = np.random.default_rng(runs)
    mean = np.random.default_rng(3).normal(1, 1, size=50)
    total, training = truth(mean, np.full(50, better))
    cases, held = 600, dict.fromkeys(("total", "test_set", "training"), 0)
    for _ in range(cases):
        found = variance_estimates(drawn(rng, runs, mean, np.full(50, better)))
        for name, true in (("total", total), ("test_set", total - training), ("training", training)):
            held[name] += found[name].low <= true <= found[name].high
    for name, count in held.items():
        assert 0.92 - 0.015 <= count / cases <= 0.98 + 0.01, name


def test_total_has_the_sds_interval() -> None:
    """Its interval is the square of the SD's, so the table and the split never contradict each other."""
    right = drawn(np.random.default_rng(4), 12, np.linspace(-1, 2, 30), np.full(30, 0.5))
    found = variance_estimates(right)["total"]
    low, high = sd_interval(100 * right.mean(axis=1))
    assert (found.low, found.high) == pytest.approx((low**2, high**2), rel=1e-12)


def test_one_example_has_no_split() -> None:
    """Of one test example no covariance is known: null, with the total as it is."""
    record = measure([[0], [1], [1]], [1], examples=True).to_dict()
    assert record["accuracy_variance"]["training"] is None
    assert record["accuracy_variance"]["test_set"] is None
    assert record["accuracy_variance"]["total"] == pytest.approx(1e4 / 3)
    assert record["intervals"]["accuracy_variance.training"] is None


def test_bad_predictions() -> None:
    """One run, and labels that do not fit, are refused in one sentence."""
    with pytest.raises(BadInput, match="runs must be at least 2"):
        measures.accuracy_variance([[0, 1]], [0, 1])
    with pytest.raises(BadInput, match="there must be as many labels as examples"):
        measures.accuracy_variance([[0, 1], [1, 1]], [0, 1, 1])
