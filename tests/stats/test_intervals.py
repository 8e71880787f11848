"""Errors and intervals over runs: against theory, against loops and scipy, and by simulated coverage."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import combinations
from typing import Any

import measuring
import numpy as np
import pytest
from measuring import LOGITS_NEEDED, NAMES, measure
from scipy import stats

from nondet import measures
from nondet.errors import BadInput
from nondet.measures import diversity
from nondet.measures.answers import GROUP, some_runs
from nondet.measures.measured import Measures
from nondet.stats.intervals import (
    delete_one,
    mean_estimate,
    pairwise_error,
    pairwise_estimate,
    residual_variance,
    sd_estimate,
    sd_interval,
)

PAIRS = NAMES[4:9]


def matrix_of(values: Any, kernel: Callable[[Any, Any], float]) -> Any:
    """A kernel of every two runs, `(N, N)`."""
    return np.array([[kernel(a, b) for b in values] for a in values])


def rows_of(matrix: Any) -> Any:
    """Each run's mean over its partners."""
    return (matrix.sum(axis=1) - np.diag(matrix)) / (len(matrix) - 1)


def jackknife(runs: int, figure: Callable[[Any], float]) -> float:
    """The jackknife's error by its definition: a figure of the runs `keep`, each left out in turn."""
    left = np.array([figure(np.delete(np.arange(runs), i)) for i in range(runs)])
    return math.sqrt((runs - 1) / runs * np.square(left - left.mean()).sum())


# --- means and SDs -----------------------------------------------------------------------------------------------


def test_a_mean_has_students_interval() -> None:
    """scipy's interval of a mean, and its standard error."""
    values = np.random.default_rng(0).gamma(3, size=12)
    found = mean_estimate(values)
    assert found.error == pytest.approx(stats.sem(values), rel=1e-12)
    assert (found.low, found.high) == pytest.approx(
        stats.t.interval(0.95, 11, loc=values.mean(), scale=stats.sem(values)), rel=1e-12
    )


def test_an_sd_has_the_bootstraps_error() -> None:
    """The error is `sd_error`, which is scipy's bootstrap but for its draws."""
    values = np.random.default_rng(1).normal(size=30)
    found = sd_estimate(values)
    scipys = stats.bootstrap(
        (values,), np.std, n_resamples=10_000, method="percentile", rng=np.random.default_rng(2)
    ).standard_error
    assert found.error == measures.sd_error(values)
    assert found.error == pytest.approx(scipys, rel=0.03)


@pytest.mark.parametrize("runs", [2, 3, 9])
def test_an_sd_of_few_values_has_the_normal_distributions_interval(runs: int) -> None:
    """Fewer than ten values: `N s^2` over the quantiles of chi-square with N - 1 degrees."""
    values = np.random.default_rng(runs).normal(size=runs)
    squares = runs * values.var()
    expected = [math.sqrt(squares / stats.chi2.ppf(q, runs - 1)) for q in (0.975, 0.025)]
    assert sd_interval(values) == pytest.approx(expected, rel=1e-9)


def test_an_sd_of_many_values_has_the_large_sample_interval() -> None:
    """With many values it is the interval that the fourth moment gives, whatever the distribution."""
    values = np.random.default_rng(3).exponential(size=100_000)
    low, high = sd_interval(values)
    half = 1.96 * math.sqrt((stats.kurtosis(values, fisher=False) - 1) / len(values)) / 2
    assert (math.log(low), math.log(high)) == pytest.approx(
        (math.log(values.std()) - half, math.log(values.std()) + half), abs=0.05 * half
    )


SHAPES: dict[str, tuple[Callable[[Any, Any], Any], float]] = {
    "normal": (lambda rng, size: rng.normal(size=size), 1.0),
    "accuracies": (lambda rng, size: rng.binomial(900, 0.96, size) / 9, math.sqrt(900 * 0.96 * 0.04) / 9),
    "laplace": (lambda rng, size: rng.laplace(size=size), math.sqrt(2)),
    "t5": (lambda rng, size: rng.standard_t(5, size=size), math.sqrt(5 / 3)),
    "skewed": (lambda rng, size: rng.gamma(4, size=size), 2.0),
}


@pytest.mark.parametrize("runs", [10, 25, 100])
@pytest.mark.parametrize("shape", SHAPES)
def test_coverage_of_the_sds_interval(shape: str, runs: int) -> None:
    """It holds the SD of all runs in 92 to 98 cases of 100, also where tails are heavy."""
    draw, truth = SHAPES[shape]
    samples = draw(np.random.default_rng(runs), (1000, runs))
    held = [low <= truth <= high for low, high in map(sd_interval, samples)]
    assert 0.92 - 0.012 <= np.mean(held) <= 0.98 + 0.008  # 1.4 and 1.8 standard errors of 1,000 cases


def test_the_percentile_bootstrap_would_not_do() -> None:
    """What the interval is not: at ten runs the percentile bootstrap holds the SD in far fewer cases."""
    rng = np.random.default_rng(0)
    held = 0
    for sample in rng.normal(size=(300, 10)):
        low, high = np.quantile(sample[rng.integers(0, 10, (500, 10))].std(axis=1), [0.025, 0.975])
        held += low <= 1 <= high
    assert held / 300 < 0.85


# --- pairs -------------------------------------------------------------------------------------------------------


def test_delete_one_is_the_mean_over_the_other_runs_pairs() -> None:
    """The closed form from rows is the mean over pairs without each run."""
    h = matrix_of(np.random.default_rng(0).normal(size=6), lambda a, b: abs(a - b))
    expected = [np.mean([h[a, b] for a, b in combinations(set(range(6)) - {i}, 2)]) for i in range(6)]
    np.testing.assert_allclose(delete_one(rows_of(h)), expected, rtol=1e-12)


def test_errors_of_pairs_are_the_jackknifes(sample: Callable[..., Any]) -> None:
    """Every figure of pairs, and the variance's split, has the error of leaving out one run at a time."""
    outputs, labels = sample(runs=6)
    record = measure(outputs, labels)

    def of(name: str) -> Callable[[Any], float]:
        part, _, rest = name.partition(".")
        return lambda keep: (
            dict_of(measure(outputs[keep], labels))[part][rest] if rest else (measuring.disagreement(outputs[keep]))
        )

    for name in (*PAIRS, *NAMES[9:]):
        assert record[name].error == pytest.approx(jackknife(6, of(name)), rel=1e-9), name


def dict_of(record: Measures) -> Any:
    return record.to_dict()


def test_pairs_are_not_independent() -> None:
    """Resampling pairs as if they were independent gives an error that is far too small; the jackknife's is right."""
    rng = np.random.default_rng(0)
    figures, jackknifed, by_pairs = [], [], []
    first, second = np.triu_indices(25, 1)
    for _ in range(400):
        h = np.add.outer(*[rng.normal(size=25)] * 2) + 0.3 * (e := rng.normal(size=(25, 25))) + 0.3 * e.T
        pairs = h[first, second]
        figures.append(pairs.mean())
        jackknifed.append(pairwise_error(rows_of(h)))
        by_pairs.append(pairs.std() / math.sqrt(len(pairs)))
    assert np.mean(jackknifed) == pytest.approx(np.std(figures), rel=0.1)
    assert np.mean(by_pairs) < 0.35 * np.std(figures)


def outputs_of(rng: np.random.Generator, kind: str, runs: int) -> Any:
    """Outputs of runs `(N, 60, 3)` on one fixed test set."""
    mean = 2 * np.random.default_rng(7).normal(size=(60, 3))
    noise = rng.normal(size=(runs, 60, 3))
    if kind == "levels":
        return mean + np.exp(0.3 * rng.normal(size=(runs, 1, 1))) * noise
    return noise if kind == "nothing shared" else mean + noise


@pytest.mark.parametrize(
    ("kind", "runs"),
    [
        ("noise", 10),
        ("levels", 10),
        *(pytest.param(kind, 25, marks=pytest.mark.slow) for kind in ("noise", "levels", "nothing shared")),
    ],
)
def test_coverage_of_pairs(kind: str, runs: int) -> None:
    """The intervals of disagreement and correlation hold the truth in 92 to 98 cases of 100."""
    rng = np.random.default_rng(runs)
    cases = 300
    many = outputs_of(rng, kind, 3000)
    truths = measuring.disagreement(many), measuring.pearson(many)
    held = np.zeros(2)
    for _ in range(cases):
        outputs = outputs_of(rng, kind, runs)
        predicted = outputs.argmax(axis=2)
        found = (
            pairwise_estimate(
                diversity.disagreement_by_run(predicted),
                matrix=diversity.disagreement_matrix(predicted),
                distance_from=0.0,
            ),
            pairwise_estimate(
                diversity.correlation_by_run(outputs),
                matrix=diversity.correlations(outputs, "pearson", range(runs))[1],
                distance_from=1.0,
            ),
        )
        held += [u.low <= truth <= u.high for u, truth in zip(found, truths, strict=True)]
    assert (held / cases >= 0.92 - 0.02).all()
    assert (held / cases <= 0.98 + 0.014).all()


def test_chance_alone_is_not_counted_twice() -> None:
    """Where pairs differ by chance alone, the jackknife's error is too large by sqrt(2); the matrix takes that out."""
    rng = np.random.default_rng(0)
    plain, corrected, figures = [], [], []
    for _ in range(300):
        e = np.triu(rng.normal(size=(30, 30)), 1)
        h = e + e.T
        figures.append(h.sum() / (30 * 29))
        plain.append(pairwise_estimate(rows_of(h)).error)
        corrected.append(pairwise_estimate(rows_of(h), matrix=h).error)
    assert np.mean(plain) / np.std(figures) == pytest.approx(math.sqrt(2), rel=0.08)
    assert np.mean(corrected) / np.std(figures) == pytest.approx(1.1, rel=0.1)


def test_residual_variance_is_what_the_runs_do_not_explain() -> None:
    """It is 0 for sums of two runs' shares, whatever they are, and the noise's variance where that is added."""
    rng = np.random.default_rng(0)
    shares = np.add.outer(*[rng.normal(size=40)] * 2)
    noise = np.triu(rng.normal(size=(40, 40)), 1)
    assert residual_variance(shares) == pytest.approx(0.0, abs=1e-20)
    assert residual_variance(shares + noise + noise.T) == pytest.approx(1.0, rel=0.1)
    assert residual_variance(shares[:3, :3]) == 0.0


def test_one_odd_run_has_an_interval() -> None:
    """Where leaving out one run leaves no difference at all, the logarithm has none of it, and an interval remains."""
    rows = np.array([1.0, 1.0, 1.0, 1.0, 4.0])
    found = pairwise_estimate(rows, distance_from=0.0)
    assert delete_one(rows).min() == 0.0
    assert 0 < found.low < rows.mean() < found.high < math.inf


def test_what_rounding_leaves_of_no_difference_is_none() -> None:
    """The interval of one odd run is the same whether the others' distance is 0 or what rounding makes of it."""
    rows = np.array([1.0] * 6 + [6.0])
    assert (delete_one(rows).min(), abs(delete_one(1.1 * rows)).min() > 0) == (0.0, True)
    exact, rounded = (pairwise_estimate(r, distance_from=0.0) for r in (rows, 1.1 * rows))
    assert (rounded.low, rounded.high) == pytest.approx((1.1 * exact.low, 1.1 * exact.high), rel=1e-9)


@pytest.mark.parametrize("size", [1e-200, 1e-90, 1e90, 2e100])
def test_intervals_do_not_depend_on_the_unit(size: float) -> None:
    """Figures of any size that the checks let through have the interval of the same figures in another unit."""
    rows = np.array([1.0, 1.5, 2.0, 4.0])
    plain, scaled = pairwise_estimate(rows), pairwise_estimate(size * rows)
    assert scaled.error == pytest.approx(size * plain.error, rel=1e-12)
    assert (scaled.low, scaled.high) == pytest.approx((size * plain.low, size * plain.high), rel=1e-12)


# --- every figure of a record ------------------------------------------------------------------------------------


@pytest.mark.parametrize("examples", [False, True])
@pytest.mark.parametrize("runs", [3, 12, GROUP + 8])
def test_every_figure_has_an_error_and_an_interval(sample: Callable[..., Any], runs: int, examples: bool) -> None:
    """By dotted name, all finite; each interval holds its figure."""
    record = measure(*sample(runs=runs), examples=examples).to_dict()
    assert tuple(record["errors"]) == tuple(record["intervals"]) == NAMES
    for name in NAMES:
        part, _, rest = name.partition(".")
        value = record[part][rest] if rest else record[part]
        low, high = record["intervals"][name]
        assert low <= value <= high
        assert record["errors"][name] >= 0
    if not examples:
        assert record["errors"]["accuracy.sd"] == record["accuracy"]["sd_error"]


def test_two_runs(sample: Callable[..., Any]) -> None:
    """Means and SDs of two runs have errors and intervals; nothing is left of pairs when one is taken out: null."""
    record = measure(*sample(runs=2, seed=2)).to_dict()
    for name in NAMES[:4]:
        assert record["errors"][name] > 0, name
        assert record["intervals"][name] is not None
    for name in PAIRS:
        assert record["errors"][name] is None
        assert record["intervals"][name] is None


@pytest.mark.parametrize("runs", [2, 3, 40])
def test_equal_runs_have_no_error(sample: Callable[..., Any], runs: int) -> None:
    """Errors of exactly 0, and intervals of one point."""
    outputs, labels = sample(runs=1)[0].repeat(runs, axis=0), sample(runs=2)[1]
    record = measure(outputs, labels).to_dict()
    assert set(record["errors"].values()) == {0.0}
    for name in NAMES:
        part, _, rest = name.partition(".")
        value = record[part][rest] if rest else record[part]
        assert record["intervals"][name] == [value, value]


def test_accuracies_that_are_equal_by_chance_have_no_interval() -> None:
    """Two runs that are right equally often, on different examples, do not show that all runs are."""
    record = measure([[0, 1, 1], [1, 0, 1]], [0, 0, 1]).to_dict()
    assert (record["accuracy"]["sd"], record["accuracy"]["sd_error"], record["errors"]["accuracy.sd"]) == (0, 0, 0)
    assert record["intervals"]["accuracy.sd"] is None
    assert record["intervals"]["accuracy_variance.training"] is None
    assert record["intervals"]["accuracy.mean"] is None


ANSWERS = [name for name in NAMES if name not in LOGITS_NEEDED] + ["ensemble_delta.accuracy"]


@pytest.mark.parametrize("examples", [False, True])
@pytest.mark.parametrize("runs", [2, 3, 40])
def test_equal_answers_of_unequal_runs_have_no_interval(runs: int, examples: bool) -> None:
    """Runs that are all right everywhere do not show that all runs there could be are; what varies has its interval."""
    rng = np.random.default_rng(runs)
    labels = rng.integers(3, size=30)
    outputs = 20 * np.eye(3)[labels] + rng.normal(size=(runs, 30, 3))
    record = measure(outputs, labels, examples=examples).to_dict()
    assert (record["accuracy"]["mean"], record["accuracy"]["sd"], record["disagreement"]) == (100, 0, 0)
    assert [record["intervals"][name] for name in ANSWERS] == [None] * len(ANSWERS)
    assert record["errors"]["accuracy.sd"] == record["accuracy"]["sd_error"] == 0  # as the bootstrap has it
    assert record["intervals"]["cross_entropy.sd"][0] > 0
    alone = measure(measuring.predictions(outputs), labels, examples=examples).to_dict()
    assert set(alone["intervals"].values()) == {None}


def test_pairs_that_differ_equally_by_chance_have_no_interval() -> None:
    """Three runs of which every two differ on two of three examples: no other runs need do so."""
    record = measure([[1, 0, 0], [0, 1, 0], [0, 0, 1]], [0, 0, 0]).to_dict()
    assert record["disagreement"] == pytest.approx(200 / 3)
    assert record["intervals"]["disagreement"] is None


def test_intervals_end_where_no_figure_can_be() -> None:
    """The variance of an accuracy is at most 2,500 squared points, as its SD is at most 50; the test set's is no less
    than 0; an estimate without bias may pass the former, and stays inside its interval."""
    rng = np.random.default_rng(1)
    predicted = (rng.random((20, 3, 40)) < 0.2).astype(np.int64)
    found = [measure(p, [0] * 40).to_dict()["intervals"] for p in predicted]
    assert max(i["accuracy_variance.total"][1] for i in found) == 2500
    assert min(i["accuracy_variance.test_set"][0] for i in found) == 0
    extreme = measure([[0] * 9, [1] * 9, [1] * 9], [1] * 9).to_dict()
    assert extreme["accuracy_variance"]["total"] == pytest.approx(1e4 / 3)
    assert extreme["intervals"]["accuracy_variance.total"][1] == pytest.approx(1e4 / 3)


def test_predicted_classes_alone(sample: Callable[..., Any]) -> None:
    """What they give has the errors that logits give it; the rest is null."""
    outputs, labels = sample(runs=5)
    whole = measure(outputs, labels, examples=True).to_dict()
    record = measure(measuring.predictions(outputs), labels, failed=2, examples=True).to_dict()
    assert (record["runs"], record["failed"]) == (7, 2)
    for name in NAMES:
        needed = name in LOGITS_NEEDED
        assert record["errors"][name] == (None if needed else whole["errors"][name])
        assert record["intervals"][name] == (None if needed else whole["intervals"][name])


@pytest.mark.parametrize(("predicted", "labels"), [([[0, 1], [1, -100]], [0, 1]), ([[0, 1], [1, 1]], [0, -100])])
def test_numbers_below_zero_are_no_classes(predicted: Any, labels: Any) -> None:
    """A label that marks what is to be ignored is refused, not counted as wrong."""
    with pytest.raises(BadInput, match=r"(predicted classes|labels) must be 0 or more \(got -100\); leave out"):
        measure(predicted, labels)


def test_a_constant_run_has_no_correlation_and_no_error_of_one(sample: Callable[..., Any]) -> None:
    """Its correlation is null, and so are its error and interval; the other figures have theirs."""
    outputs, labels = sample(runs=4)
    outputs[1] = 0.5
    for examples in (False, True):
        record = measure(outputs, labels, examples=examples).to_dict()
        assert record["errors"]["correlation.pearson"] is None
        assert record["intervals"]["correlation.spearman"] is None
        assert record["errors"]["disagreement"] > 0


@pytest.mark.parametrize("examples", [False, True])
def test_order_of_many_runs_is_irrelevant(sample: Callable[..., Any], examples: bool) -> None:
    """Also where an error is found from some of the runs: it is the same ones in any order."""
    outputs, labels = sample(runs=GROUP + 9, examples=30)
    order = np.random.default_rng(0).permutation(len(outputs))
    one = measure(outputs, labels, examples=examples).estimates
    other = measure(outputs[order], labels, examples=examples).estimates
    for name in NAMES:
        assert (one[name].error, one[name].low, one[name].high) == pytest.approx(
            (other[name].error, other[name].low, other[name].high), rel=1e-9
        )
    predicted = measuring.predictions(outputs)
    assert len(some_runs(predicted)) == GROUP
    assert {*some_runs(predicted)} == {*order[some_runs(predicted[order])]}


def test_runs_with_the_same_predictions_are_told_apart_by_their_losses() -> None:
    """Which of them are chosen does not depend on their order either."""
    predicted = np.zeros((GROUP + 5, 4), dtype=np.int64)
    losses = np.random.default_rng(0).normal(size=len(predicted))
    order = np.random.default_rng(1).permutation(len(predicted))
    assert {*losses[some_runs(predicted, losses)]} == {*losses[order][some_runs(predicted[order], losses[order])]}


def test_negative_failures_are_refused() -> None:
    """A negative number of failed runs is refused in one sentence, of predicted classes too."""
    with pytest.raises(BadInput, match=r"failed runs must be 0 or more \(got -1\)"):
        measure([[0], [1]], [0], failed=-1)
