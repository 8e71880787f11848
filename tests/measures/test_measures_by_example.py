"""What drawing the test examples adds: against resampling of examples, a two-way analysis, and simulated coverage."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import permutations
from types import SimpleNamespace
from typing import Any

import measuring
import numpy as np
import pytest
from measuring import NAMES, measure
from scipy import special, stats

from nondet import measures
from nondet.kinds import CLASSIFICATION
from nondet.measures import by_example, diversity
from nondet.measures.answers import Answers
from nondet.measures.figure import Figure
from nondet.measures.measured import measured
from nondet.stats.estimate import Estimate
from nondet.stats.intervals import mean_estimate, pairwise_error, pairwise_estimate


def drawn(rng: np.random.Generator, runs: int, examples: int) -> tuple[Any, Any]:
    """Outputs `(N, n, 3)` and labels of a test set and of runs, some noisier than others, all drawn."""
    labels = rng.integers(3, size=examples)
    mean = 1.5 * rng.normal(size=(examples, 3)) + 2 * np.eye(3)[labels]
    return mean + np.exp(0.2 * rng.normal(size=(runs, 1, 1))) * rng.normal(size=(runs, examples, 3)), labels


def test_the_cells_own_variance_is_counted_once() -> None:
    """Where every cell is drawn apart, the examples add nothing on average; what is of the examples they add."""
    rng = np.random.default_rng(0)
    cells = [rng.normal(size=(12, 40)) for _ in range(400)]
    own = [t.mean(axis=0).var(ddof=1) / 40 - t.var(axis=0, ddof=1).mean() / 12 / 40 for t in cells]
    assert np.mean(own) == pytest.approx(0, abs=4 * np.std(own) / 20)
    assert [by_example.added_variance(t) for t in cells] == pytest.approx(np.maximum(own, 0), abs=1e-15)
    shared = [by_example.added_variance(t + rng.normal(size=40)) for t in cells]
    assert np.mean(shared) == pytest.approx(1 / 40, rel=0.05)


@pytest.mark.parametrize("examples", [1, 7])
def test_what_examples_add_does_not_depend_on_tiles(
    sample: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, examples: int
) -> None:
    """Reading one or seven examples at a time gives the errors and intervals of reading all at once."""
    outputs, labels = sample(runs=8)
    whole = measure(outputs, labels, examples=True).estimates
    monkeypatch.setattr("nondet.measures.by_example.TILE", examples * 8)
    for name, u in measure(outputs, labels, examples=True).estimates.items():
        assert (u.error, u.low, u.high) == pytest.approx((whole[name].error, whole[name].low, whole[name].high)), name


def test_degree_two_agrees_with_the_jackknife() -> None:
    """Of means over partners, an example's own variance over runs is the jackknife's."""
    outputs, _ = drawn(np.random.default_rng(1), 6, 30)
    apart = np.stack([(outputs.argmax(2) != run.argmax(1)).sum(axis=0) for run in outputs]) / 5
    both = np.mean([pairwise_error(apart[:, e]) ** 2 for e in range(30)])
    expected = (apart.mean(axis=0).var(ddof=1) - both) / 30
    assert by_example.added_variance(apart, 2) == pytest.approx(max(0.0, expected), rel=1e-12)


def test_influences_on_the_variance() -> None:
    """What leaving one example out changes in the parts of the accuracy's variance, but for terms of order 1 / n^2."""
    outputs, labels = drawn(np.random.default_rng(2), 30, 150)
    predicted = outputs.argmax(axis=2)
    table = 100.0 * (predicted == labels)
    found = by_example._of_variance(table, table.mean(axis=1), 150).mean(axis=0) * 30 / 29
    whole = measures.accuracy_variance(predicted, labels).total
    left = [measures.accuracy_variance(np.delete(predicted, e, axis=1), np.delete(labels, e)).total for e in range(150)]
    changes = 149 * (whole - np.array(left))
    np.testing.assert_allclose(changes - changes.mean(), found - found.mean(), atol=0.06 * np.ptp(found))


def test_ensembles_by_example_agree_with_loops() -> None:
    """The gains of each run's ensembles on each example, one pair at a time."""
    outputs, labels = drawn(np.random.default_rng(6), 5, 20)
    logs = special.log_softmax(outputs, axis=-1)
    acc, nats = np.zeros((2, 5, 20))
    for i, j in permutations(range(5), 2):
        together = outputs[i] + outputs[j]
        alone = ((outputs[i].argmax(1) == labels) * 1.0 + (outputs[j].argmax(1) == labels)) / 2
        acc[i] += 100 * ((together.argmax(1) == labels) - alone) / 4
        nats[i] += special.logsumexp((logs[i] + logs[j]) / 2, axis=-1) / 4
    found = by_example.ensemble_added(outputs, labels)
    assert found["accuracy"] == pytest.approx(by_example.added_variance(acc, 2), rel=1e-9)
    assert found["cross_entropy"] == pytest.approx(by_example.added_variance(nats, 2), rel=1e-9)
    np.testing.assert_allclose(acc.mean(1), measuring.accuracy_gains(outputs, labels), atol=1e-12)


@pytest.mark.parametrize("kind", ["pearson", "spearman"])
def test_correlations_influences(kind: Any) -> None:
    """Influences of examples on correlations are what leaving one out changes, but for terms of order 1 / n^2."""
    outputs, _ = drawn(np.random.default_rng(3), 5, 120)
    table = by_example.influences(outputs, kind)
    assert table is not None
    found = table.mean(axis=0) - table.mean()
    whole = getattr(measuring, kind)(outputs)
    left = np.array([getattr(measuring, kind)(np.delete(outputs, e, axis=1)) for e in range(120)])
    np.testing.assert_allclose(119 * (whole - left), found, atol=0.06 * np.abs(found).max())


def test_tables_have_the_measures_means(sample: Callable[..., Any]) -> None:
    """Cross-entropies by example average to the runs', and no figure's error shrinks by --examples."""
    outputs, labels = sample(runs=9)
    table = by_example.losses_by_example(outputs, labels)
    np.testing.assert_allclose(table.mean(axis=1), measuring.cross_entropy(outputs, labels), rtol=1e-12)
    alone = measure(outputs, labels).estimates
    both = measure(outputs, labels, examples=True).estimates
    for name in NAMES:
        assert both[name].error >= alone[name].error
        assert both[name].low <= alone[name].low
        assert alone[name].high <= both[name].high


def test_equal_runs_still_have_an_accuracy_of_this_test_set() -> None:
    """Runs that never differ have the binomial error of a share in their mean accuracy, and none in their SD."""
    outputs, labels = drawn(np.random.default_rng(4), 1, 100)
    for runs in (2, 5):
        record = measure(outputs.repeat(runs, axis=0), labels, examples=True).to_dict()
        share = record["accuracy"]["mean"] / 100
        assert record["errors"]["accuracy.mean"] == pytest.approx(100 * math.sqrt(share * (1 - share) / 99))
        assert record["intervals"]["accuracy.sd"] == [0.0, 0.0]
        assert record["intervals"]["disagreement"] == [0.0, 0.0]


def test_widths_are_summed_in_squares() -> None:
    """On the figure's own scale, and on the logarithm of its distance from a value."""
    u = by_example.widened(Estimate(10.0, 3.0, 4.0, 16.0), 16.0, 10**9, None)
    half = 1.959964 * 4
    expected = (5.0, 10 - math.hypot(6, half), 10 + math.hypot(6, half))
    assert (u.error, u.low, u.high) == pytest.approx(expected, rel=1e-5)
    u = by_example.widened(Estimate(0.8, 0.3, 0.5, 0.9), 0.01, 10**9, 1.0)
    up, down = math.hypot(math.log(0.5 / 0.2), 1.959964 * 0.1 / 0.2), math.hypot(math.log(2), 1.959964 * 0.1 / 0.2)
    assert (u.low, u.high) == pytest.approx((1 - 0.2 * math.exp(up), 1 - 0.2 * math.exp(-down)), rel=1e-5)


def test_a_share_has_wilsons_limits() -> None:
    """Of equal runs the examples' limits are scipy's; with none wrong too, where the square root of 0 would be none."""
    labels = np.zeros(400, dtype=np.int64)
    for wrong in (0, 3, 200):
        outputs = np.zeros((3, 400, 2))
        outputs[:, :wrong, 1] = 1.0
        low, high = measure(outputs, labels, examples=True).to_dict()["intervals"]["accuracy.mean"]
        scipys = stats.binomtest(400 - wrong, 400).proportion_ci(method="wilson")
        assert (low, high) == pytest.approx((100 * scipys.low, 100 * scipys.high), abs=0.02)


def test_coverage_with_few_wrong_examples() -> None:
    """Where about two of 100 examples are wrong, the mean accuracy's interval holds the truth in 92 to 98 cases."""
    rng = np.random.default_rng(5)
    mean = math.sqrt(5) * stats.norm.ppf(0.98)
    held = 0
    for _ in range(600):
        right = rng.normal(mean, 2, size=100) + rng.normal(size=(5, 100)) > 0
        table, accuracies = 100.0 * right, 100.0 * right.mean(axis=1)
        over_runs, added = mean_estimate(accuracies), by_example.added_variance(table)
        u = by_example.widened_share(over_runs, added, 100)
        held += u.low <= 98 <= u.high
    assert 0.92 - 0.011 <= held / 600 <= 0.98 + 0.006


def test_an_end_that_rounds_to_its_origin_can_be_widened() -> None:
    """Three runs can have an interval that ends at 1 in float64; drawing the examples makes it no narrower."""
    u = by_example.widened(Estimate(0.9998, 2e-4, -9e30, 1.0), 8e-5, 20, 1.0)
    assert u.error == pytest.approx(math.hypot(2e-4, math.sqrt(8e-5)))
    assert u.low <= -9e30
    assert u.high == 1.0


def test_an_interval_beyond_all_numbers_is_none() -> None:
    """Where the examples leave a large figure unknown by a factor that no number holds, it has an error alone."""
    figure = Figure("any.sd", lambda answers: Estimate(1e9, 1e8, 8e8, 2e9), origin=0.0, added=lambda answers: 1e26)
    found = figure.estimate(SimpleNamespace(equal=False), 2)
    assert found.error == pytest.approx(1e13)
    assert math.isnan(found.low)
    assert math.isnan(found.high)


def test_coverage_of_runs_and_examples() -> None:
    """Intervals hold the truth in about 95 cases of 100 with both drawn anew; those over runs alone in far fewer."""
    rng = np.random.default_rng(5)
    names = ("accuracy.mean", "disagreement", "correlation.pearson")
    origins = {figure.name: figure.origin for figure in CLASSIFICATION.figures}
    cases, held, alone = 200, dict.fromkeys(names, 0), dict.fromkeys(names, 0)
    truth: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(60):
        outputs, labels = drawn(rng, 20, 2000)
        truth["accuracy.mean"].append(measuring.accuracy(outputs, labels).mean())
        truth["disagreement"].append(measuring.disagreement(outputs))
        truth["correlation.pearson"].append(measuring.pearson(outputs))
    for _ in range(cases):
        outputs, labels = drawn(rng, 20, 80)
        predicted = outputs.argmax(axis=2)
        right = predicted == labels
        found = {
            "accuracy.mean": (100 * right.mean(), mean_estimate(100 * right.mean(axis=1))),
            "disagreement": _pairs(diversity.disagreement_by_run(predicted), 0.0),
            "correlation.pearson": _pairs(diversity.correlation_by_run(outputs), 1.0),
        }
        added = {
            "accuracy.mean": by_example.added_variance(100.0 * right),
            "disagreement": by_example.disagreement_added(predicted),
            "correlation.pearson": by_example.correlation_added(outputs, "pearson"),
        }
        for name, (value, u) in found.items():
            wide = by_example.widened(replace(u, value=value), added[name], 80, origins[name])
            held[name] += wide.low <= np.mean(truth[name]) <= wide.high
            alone[name] += u.low <= np.mean(truth[name]) <= u.high
    for name in names:
        assert 0.92 - 0.025 <= held[name] / cases <= 0.99, name
    assert alone["accuracy.mean"] / cases < 0.7
    assert alone["disagreement"] / cases < 0.8


def _pairs(rows: Any, origin: float) -> tuple[float, Estimate]:
    return rows.mean(), pairwise_estimate(rows, distance_from=origin)


def test_groups_of_equal_examples_count_as_one_example_each() -> None:
    """Where each example stands there four times, groups of these leave errors as they are; one by one they halve."""
    outputs, labels = drawn(np.random.default_rng(9), 12, 150)
    four, same = np.repeat(outputs, 4, axis=1), np.repeat(labels, 4)
    once = measured(CLASSIFICATION.figures, Answers(outputs, labels, np.arange(150)), drawn=True)
    grouped = measured(CLASSIFICATION.figures, Answers(four, same, np.repeat(np.arange(150), 4)), drawn=True)
    alone = measured(CLASSIFICATION.figures, Answers(four, same), drawn=True)
    runs = measured(CLASSIFICATION.figures, Answers(four, same))
    for name in ("accuracy.mean", "cross_entropy.mean", "disagreement", "correlation.pearson", "accuracy.sd"):
        assert grouped[name].error == pytest.approx(once[name].error, rel=0.01), name
        added = [e[name].error ** 2 - runs[name].error ** 2 for e in (grouped, alone)]
        assert added[0] == pytest.approx(4 * added[1], rel=0.2), name


def test_drawing_groups_adds_what_drawing_them_again_shows() -> None:
    """The added variance of a mean is that of means of groups drawn anew, whatever hangs together in a group."""
    rng = np.random.default_rng(10)
    groups = np.repeat(np.arange(30), rng.integers(1, 12, size=30))
    means: list[float] = []
    found: list[float] = []
    for _ in range(400):
        shared = rng.normal(size=30)[groups] + 0.3 * rng.normal(size=len(groups))
        table = shared + rng.normal(size=(8, 1)) + rng.normal(size=(8, len(groups)))
        means.append(float(shared.mean()))
        found.append(by_example.added_variance(table, groups=groups))
    assert np.mean(found) == pytest.approx(np.var(means), rel=0.15)
