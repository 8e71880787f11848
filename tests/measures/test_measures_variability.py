"""Accuracy, cross-entropy, their SD and its error, each against theory, another library and a plain loop."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import measuring
import numpy as np
import pytest
from scipy import special, stats
from sklearn import metrics

from nondet import measures
from nondet.errors import BadInput
from nondet.stats.values import mean


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8"])
def test_accuracy_agrees_with_scikit_learn(sample: Callable[..., Any], dtype: str) -> None:
    """Each run's accuracy is sklearn.metrics.accuracy_score of its argmax, in percent."""
    outputs, labels = sample(dtype=dtype)
    expected = [100 * metrics.accuracy_score(labels, run.argmax(axis=-1)) for run in outputs]
    np.testing.assert_allclose(measuring.accuracy(outputs, labels), expected, rtol=1e-12)


def test_accuracy_sd_of_independent_guesses_is_binomial() -> None:
    """Runs that guess have accuracy of mean 100/c and of SD 100 sqrt(p (1 - p) / n)."""
    outputs = np.random.default_rng(1).normal(size=(400, 500, 4))
    values = measuring.accuracy(outputs, np.arange(500) % 4)
    assert mean(values) == pytest.approx(25, abs=0.3)
    assert measures.sd(values) == pytest.approx(100 * math.sqrt(0.25 * 0.75 / 500), rel=0.1)


def test_cross_entropy_of_no_opinion_is_log_classes() -> None:
    """Equal logits, whatever their size, cost log(c) nats."""
    outputs = np.stack([np.full((6, 5), level) for level in (-1e4, 0.0, 3.0)])
    np.testing.assert_allclose(measuring.cross_entropy(outputs, np.arange(6) % 5), math.log(5), rtol=1e-15)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8"])
def test_cross_entropy_agrees_with_scikit_learn(sample: Callable[..., Any], dtype: str) -> None:
    """Each run's cross-entropy is sklearn.metrics.log_loss of its softmax."""
    outputs, labels = sample(dtype=dtype)
    chances = special.softmax(outputs.astype(np.float64), axis=-1)
    expected = [metrics.log_loss(labels, run, labels=range(4)) for run in chances]
    np.testing.assert_allclose(measuring.cross_entropy(outputs, labels), expected, rtol=1e-12)


@pytest.mark.parametrize("size", [1.0, 1e2, 1e4, 1e30, 1e99])
def test_cross_entropy_of_extreme_logits_agrees_with_scipy(sample: Callable[..., Any], size: float) -> None:
    """No size of logits overflows: the values are those of scipy.special.logsumexp."""
    outputs, labels = sample()
    outputs = size * outputs
    at_label = outputs[:, np.arange(len(labels)), labels]
    expected = (special.logsumexp(outputs, axis=-1) - at_label).mean(axis=-1)
    np.testing.assert_allclose(measuring.cross_entropy(outputs, labels), expected, rtol=1e-12)


def test_per_run_measures_do_not_depend_on_tiles(sample: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading three examples at a time gives the values of reading all at once."""
    outputs, labels = sample()
    whole = measuring.accuracy(outputs, labels), measuring.cross_entropy(outputs, labels)
    monkeypatch.setattr("nondet.measures.arrays.TILE", 3 * 5 * 4)
    np.testing.assert_array_equal(measuring.accuracy(outputs, labels), whole[0])
    np.testing.assert_allclose(measuring.cross_entropy(outputs, labels), whole[1], rtol=1e-14)


def test_sd_agrees_with_numpy_and_a_plain_loop() -> None:
    """The SD has ddof = 0, as numpy.std and the formula written out have it."""
    values = np.random.default_rng(2).normal(90, 0.3, size=25)
    middle = sum(values) / 25
    assert measures.sd(values) == pytest.approx(math.sqrt(sum((v - middle) ** 2 for v in values) / 25), rel=1e-12)
    assert measures.sd(values) == pytest.approx(np.std(values), rel=1e-12)
    assert mean(values) == pytest.approx(middle, rel=1e-15)


def test_sd_keeps_its_digits_on_a_large_mean() -> None:
    """A spread of a millionth of a large mean is measured as well as the same spread around zero."""
    values = np.arange(10) / 1024  # exact in float64, and so are the sums below
    assert measures.sd(values + 2.0**30) == pytest.approx(measures.sd(values), rel=1e-12)
    assert measures.sd_error(values + 2.0**30) == pytest.approx(measures.sd_error(values), rel=1e-12)


@pytest.mark.parametrize("value", [0.1, 90.07, 1e-300, -3.3e149, 7])
@pytest.mark.parametrize("runs", [2, 3, 10, 97])
def test_equal_values_do_not_vary(value: float, runs: int) -> None:
    """Equal values give their own value as mean, and exactly 0 as SD and as its error."""
    values = np.full(runs, value)
    assert mean(values) == value
    assert measures.sd(values) == 0.0
    assert measures.sd_error(values, resamples=100) == 0.0


def test_sd_error_approaches_theory_for_normal_values() -> None:
    """The SD of N normal values has an error of about sigma / sqrt(2 N)."""
    values = np.random.default_rng(3).normal(0, 2.0, size=2000)
    assert measures.sd_error(values) == pytest.approx(2.0 / math.sqrt(2 * 2000), rel=0.07)


def test_sd_error_agrees_with_scipy_bootstrap() -> None:
    """The error is the standard error of scipy.stats.bootstrap, up to the chance of the draws."""
    values = np.random.default_rng(4).gamma(2.0, size=30)
    theirs = stats.bootstrap((values,), np.std, n_resamples=10_000, rng=np.random.default_rng(5)).standard_error
    assert measures.sd_error(values) == pytest.approx(theirs, rel=0.03)


@pytest.mark.parametrize("tile", [2**19, 50])
def test_sd_error_agrees_with_a_plain_loop(monkeypatch: pytest.MonkeyPatch, tile: int) -> None:
    """One resample at a time, from the same draws, gives the same error, however many are drawn at once."""
    values = np.sort(np.random.default_rng(6).normal(size=12))
    monkeypatch.setattr("nondet.stats.values.TILE", tile)
    draws = np.random.Generator(np.random.Philox(9))
    spreads = [np.std(values[draws.integers(0, 12, size=12)]) for _ in range(200)]
    assert measures.sd_error(values, resamples=200, seed=9) == pytest.approx(np.std(spreads), rel=1e-12)


def test_sd_error_is_a_function_of_values_and_seed() -> None:
    """The same values, in any order, and the same seed repeat to the last bit; another seed does not."""
    values = np.random.default_rng(7).normal(size=20)
    assert measures.sd_error(values) == measures.sd_error(values[::-1])
    assert measures.sd_error(values) != measures.sd_error(values, seed=1)


@pytest.mark.parametrize("draw", ["normal", "uniform", "binomial"])
def test_sd_error_is_calibrated(draw: str) -> None:
    """Over 400 simulated studies of 60 runs the mean error is the true SD of the SD, within a seventh."""
    rng = np.random.default_rng(8)
    make = {"normal": rng.standard_normal, "uniform": rng.random, "binomial": partial(rng.binomial, 10_000, 0.9)}[draw]
    studies = make(size=(400, 60))
    errors = [measures.sd_error(study, resamples=300, seed=i) for i, study in enumerate(studies)]
    assert np.mean(errors) == pytest.approx(np.std([measures.sd(study) for study in studies]), rel=1 / 7)


def test_sd_error_covers_the_true_sd() -> None:
    """SD ± 1.96 errors holds the true SD of normal runs in about 95 % of studies, a little less with 100 runs."""
    studies = np.random.default_rng(9).normal(size=(400, 100))
    held = [
        abs(measures.sd(s) - 1) <= 1.96 * measures.sd_error(s, resamples=300, seed=i) for i, s in enumerate(studies)
    ]
    assert 0.87 <= np.mean(held) <= 0.98


@pytest.mark.parametrize("measure", [mean, measures.sd, measures.sd_error])
@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.0], r"runs must be at least 2 to measure variability \(got 1\); give values of at least two runs"),
        (np.zeros((2, 2)), r"values must have one axis, runs \(got shape \(2, 2\)\)"),
        (
            [1.0, np.nan, np.inf],
            r"values must be finite .* \(got nan for run 1, counting from 0\); leave failed runs out",
        ),
        ([1.0, 2.0, -1e151], r"at most 1e\+150 in size \(got -1e\+151 for run 2"),
        ([True, False], r"values must be real numbers \(got bool\)"),
        ([1j, 2j], r"values must be real numbers \(got complex128\)"),
    ],
)
def test_values_that_cannot_be_measured(measure: Any, values: Any, message: str) -> None:
    """Bad values are refused in one sentence."""
    with pytest.raises(BadInput, match=message):
        measure(values)


def test_sd_error_refuses_one_resample_and_a_negative_seed() -> None:
    """One resample has no spread, and numpy takes no negative seed."""
    with pytest.raises(BadInput, match=r"resamples must be at least 2 to have a spread \(got 1\)"):
        measures.sd_error([1.0, 2.0], resamples=1)
    with pytest.raises(BadInput, match=r"seed must be 0 or more \(got -1\)"):
        measures.sd_error([1.0, 2.0], seed=-1)
