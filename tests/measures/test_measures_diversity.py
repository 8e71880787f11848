"""Disagreement and correlation, each against theory, another library and a plain loop over pairs."""

import math
from collections.abc import Callable
from itertools import combinations
from typing import Any

import measuring
import numpy as np
import pytest
from scipy import spatial, stats

from nondet.errors import BadInput
from nondet.measures import diversity

DTYPES = ["float16", "float32", "float64", "int8"]


def flat(outputs: Any) -> Any:
    """One row of n x c values for each run."""
    return outputs.reshape(len(outputs), -1).astype(np.float64)


def statistic(result: Any) -> float:
    """Read scipy's result, whose type scipy does not publish."""
    return float(result.statistic)


@pytest.mark.parametrize("classes", [2, 5, 20])
def test_independent_guesses_disagree_as_chance_has_it(classes: int) -> None:
    """Two independent uniform guesses differ with chance 1 - 1/c."""
    predicted = np.random.default_rng(0).integers(0, classes, size=(40, 2000))
    assert diversity.disagreement_of(predicted) == pytest.approx(100 * (1 - 1 / classes), abs=0.5)


@pytest.mark.parametrize("dtype", DTYPES)
def test_disagreement_agrees_with_scipy_and_a_plain_loop(sample: Callable[..., Any], dtype: str) -> None:
    """The mean over pairs is that of scipy's Hamming distances, and of the formula written out."""
    outputs, _ = sample(runs=7, dtype=dtype)
    predicted = outputs.argmax(axis=-1)
    theirs = 100 * spatial.distance.pdist(predicted, "hamming").mean()
    plain = np.mean([100 * np.mean(a != b) for a, b in combinations(predicted, 2)])
    assert measuring.disagreement(outputs) == pytest.approx(theirs, abs=1e-9)
    assert measuring.disagreement(outputs) == pytest.approx(plain, abs=1e-9)


def test_disagreement_of_takes_any_integers_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Predictions may be negative or huge numbers; parts of a few examples give the same mean."""
    predicted = np.random.default_rng(1).choice([-5, 0, 2**40], size=(6, 50))
    whole = diversity.disagreement_of(predicted)
    assert whole == pytest.approx(100 * spatial.distance.pdist(predicted, "hamming").mean(), abs=1e-9)
    monkeypatch.setattr("nondet.measures.arrays.TILE", 10)
    assert diversity.disagreement_of(predicted) == whole


def test_disagreement_reaches_its_ends() -> None:
    """Runs that always agree are at exactly 0, runs that never do at exactly 100."""
    assert diversity.disagreement_of([[1, 2, 3]] * 4) == 0.0
    assert diversity.disagreement_of([[0, 0], [1, 1], [2, 2]]) == 100.0


@pytest.mark.parametrize(
    ("predicted", "message"),
    [
        (np.zeros((1, 3), int), r"runs must be at least 2 .* \(got 1\); give predictions of at least two runs"),
        (np.zeros((2, 0), int), r"predictions must be integers with two axes.* \(got int64 of shape \(2, 0\)\)"),
        (np.zeros(3, int), r"\(got int64 of shape \(3,\)\)"),
        (np.zeros((2, 3)), r"\(got float64 of shape \(2, 3\)\)"),
        ([[1], [1, 2]], r"predictions must be one rectangular array"),
    ],
)
def test_predictions_that_cannot_be_compared(predicted: Any, message: str) -> None:
    """Bad predictions are refused in one sentence."""
    with pytest.raises(BadInput, match=message):
        diversity.disagreement_of(predicted)


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.95])
def test_correlated_gaussians_have_their_known_correlation(rho: float) -> None:
    """Runs that share the fraction rho of their variance have Pearson rho and Spearman 6/pi asin(rho/2)."""
    rng = np.random.default_rng(2)
    shared, own = rng.normal(size=(5000, 10)), rng.normal(size=(8, 5000, 10))
    outputs = math.sqrt(rho) * shared + math.sqrt(1 - rho) * own
    assert measuring.pearson(outputs) == pytest.approx(rho, abs=0.005)
    assert measuring.spearman(outputs) == pytest.approx(6 / math.pi * math.asin(rho / 2), abs=0.005)


@pytest.mark.parametrize("dtype", DTYPES)
def test_pearson_agrees_with_scipy_over_all_pairs(sample: Callable[..., Any], dtype: str) -> None:
    """The mean over pairs is that of scipy.stats.pearsonr in a plain loop."""
    outputs, _ = sample(runs=6, dtype=dtype)
    expected = np.mean([statistic(stats.pearsonr(a, b)) for a, b in combinations(flat(outputs), 2)])
    assert measuring.pearson(outputs) == pytest.approx(expected, abs=1e-9)


def test_spearman_agrees_with_scipy_over_all_pairs(sample: Callable[..., Any]) -> None:
    """Without ties the mean over pairs is that of scipy.stats.spearmanr in a plain loop."""
    outputs, _ = sample(runs=6)
    expected = np.mean([statistic(stats.spearmanr(a, b)) for a, b in combinations(flat(outputs), 2)])
    assert measuring.spearman(outputs) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_spearman_breaks_ties_by_order(sample: Callable[..., Any], dtype: str) -> None:
    """Tied logits take successive ranks: scipy.stats.rankdata's ordinal method, then pearsonr, over all pairs."""
    outputs, _ = sample(runs=4, examples=400, dtype=dtype)
    ranks = stats.rankdata(flat(outputs), method="ordinal", axis=1)
    expected = np.mean([statistic(stats.pearsonr(a, b)) for a, b in combinations(ranks, 2)])
    assert measuring.spearman(outputs) == pytest.approx(expected, abs=1e-9)


def test_signed_zeros_tie() -> None:
    """0 and -0 are the same logit, so their order alone ranks them."""
    signs = np.random.default_rng(3).choice([0.0, -0.0], size=(2, 50, 4))
    signs[:, 0, 0] = 1.0
    assert measuring.spearman(signs) == 1.0


@pytest.mark.parametrize("measure", [measuring.pearson, measuring.spearman])
class TestCorrelation:
    """What holds of both correlations."""

    def test_a_constant_run_has_no_correlation(self, measure: Any) -> None:
        """Equal logits throughout a run, first or last, give nan rather than a number made of rounding."""
        outputs = np.random.default_rng(4).normal(size=(3, 7, 2))
        for run in (0, 2):
            flat_run = outputs.copy()
            flat_run[run] = 0.1
            assert math.isnan(measure(flat_run))

    def test_opposite_runs_reach_minus_one(self, measure: Any) -> None:
        """A run and its negative correlate at -1."""
        run = np.random.default_rng(5).normal(size=(7, 2))
        assert measure(np.stack([run, -run])) == pytest.approx(-1.0, abs=1e-15)

    def test_scaled_and_shifted_runs_correlate_fully(self, measure: Any) -> None:
        """Correlation sees neither scale nor shift, down to sizes whose squares underflow."""
        run = np.random.default_rng(6).normal(size=(7, 2))
        assert measure(np.stack([run, 3 * run + 5, 1e-200 * run, 1e99 * run])) == pytest.approx(1.0, abs=1e-15)

    def test_near_one_is_not_rounded_to_one(self, measure: Any) -> None:
        """Two logits that change places by a hundred-thousandth show as a correlation below 1."""
        run = np.random.default_rng(7).normal(size=(500, 4))
        run.ravel()[:2] = 1.0, 1.0 + 1e-5
        swapped = run.copy()
        swapped.ravel()[:2] = 1.0 + 1e-5, 1.0
        assert 1 - 1e-6 < measure(np.stack([run, swapped, run])) < 1.0


def test_pearson_of_nearly_equal_runs_keeps_its_digits() -> None:
    """1 - r of runs that differ by 1e-7 is right to four digits, where the sum of products would have lost them."""
    rng = np.random.default_rng(8)
    run, noise = rng.normal(size=20_000), rng.normal(size=20_000)
    run, noise = run - run.mean(), noise - noise.mean()
    noise -= run * (noise @ run) / (run @ run)  # orthogonal: tan(angle) is then the ratio of the lengths
    tangent = 1e-7 * math.sqrt((noise @ noise) / (run @ run))
    distance = 1 - measuring.pearson(np.stack([run, run + 1e-7 * noise]).reshape(2, -1, 2))
    assert distance == pytest.approx(tangent**2 / 2, abs=2.3e-16)
    assert distance > 0
