"""Linear CKA against loops over pairs of its published formulas, and its invariances; distances of parameters."""

import math
from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import distance
from scipy.stats import ortho_group

from nondet.errors import BadInput
from nondet.measures import similarity


def cka(activations: Any) -> float:
    return float(similarity.cka_by_run(activations).mean())


def cka_unbiased(activations: Any) -> float:
    return float(similarity.cka_unbiased_by_run(activations).mean())


BOTH = pytest.mark.parametrize("measure", [cka, cka_unbiased])
SIZES = st.tuples(st.integers(2, 5), st.integers(4, 12), st.integers(1, 20), st.integers(0, 10**6))


def related(runs: int = 4, examples: int = 30, features: int = 6, seed: int = 0) -> Any:
    """Runs that share a part of their activations, in a basis of their own, with a mean far from zero."""
    rng = np.random.default_rng(seed)
    shared, own = rng.normal(size=(examples, features)), rng.normal(size=(runs, examples, features))
    return (shared + own) @ rng.normal(size=(runs, features, features)) + 3.0


def feature_cka(x: Any, y: Any) -> float:
    """Kornblith et al. 2019, in feature space."""
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    norm = np.linalg.norm
    return float(norm(y.T @ x) ** 2 / (norm(x.T @ x) * norm(y.T @ y)))


def hsic_1(k: Any, el: Any) -> float:
    """Song et al. 2012, equation 5, term by term."""
    m, one = len(k), np.ones(len(k))
    k, el = k - np.diag(np.diag(k)), el - np.diag(np.diag(el))
    cross = (one @ k @ one) * (one @ el @ one) / ((m - 1) * (m - 2))
    return float((np.trace(k @ el) + cross - 2 / (m - 2) * (one @ k @ el @ one)) / (m * (m - 3)))


def plain_unbiased(x: Any, y: Any) -> float:
    """The ratio of unbiased estimates; they need no centred features, but keep more digits with them."""
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    k, el = x @ x.T, y @ y.T
    return hsic_1(k, el) / math.sqrt(hsic_1(k, k) * hsic_1(el, el))


def over_pairs(pair: Callable[[Any, Any], float], runs: Any) -> float:
    """Mean of a function of two runs over all pairs."""
    return float(np.mean([pair(x, y) for x, y in combinations(runs.astype(np.float64), 2)]))


@given(SIZES)
def test_biased_cka_is_the_mean_of_the_feature_formula(sizes: tuple[int, int, int, int]) -> None:
    """For any sizes, cka is the mean over pairs of the formula in feature space."""
    x = related(*sizes)
    assert cka(x) == pytest.approx(over_pairs(feature_cka, x), abs=1e-9)


@pytest.mark.parametrize(
    ("by_run", "pair"), [(similarity.cka_by_run, "feature_cka"), (similarity.cka_unbiased_by_run, "plain_unbiased")]
)
def test_by_run_is_each_runs_mean_over_its_partners(by_run: Any, pair: str) -> None:
    """From which the jackknife's error over runs follows."""
    x = related()
    kernel = globals()[pair]
    expected = [np.mean([kernel(a, b) for b in np.delete(x, i, axis=0)]) for i, a in enumerate(x)]
    np.testing.assert_allclose(by_run(x), expected, atol=1e-9)


@given(SIZES)
def test_unbiased_cka_is_the_mean_of_the_ratio_of_estimates(sizes: tuple[int, int, int, int]) -> None:
    """For any sizes, cka_unbiased is the mean over pairs of HSIC_1(K, L) over the root of its own terms."""
    x = related(*sizes)
    assert cka_unbiased(x) == pytest.approx(over_pairs(plain_unbiased, x), abs=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "float32", "int8"])
def test_other_types_are_read_in_double_precision(dtype: str) -> None:
    """Half precision and integers give what the formulas give for the same numbers in float64."""
    x = (3 * related()).round().clip(-100, 100).astype(dtype)
    assert cka(x) == pytest.approx(over_pairs(feature_cka, x), abs=1e-12)
    assert cka_unbiased(x) == pytest.approx(over_pairs(plain_unbiased, x), abs=1e-10)


@BOTH
class TestCka:
    """What holds of both kinds."""

    def test_rotated_runs_are_the_same(self, measure: Any) -> None:
        """Each run's features may be turned by an orthogonal matrix of its own."""
        x = related()
        turns = ortho_group.rvs(x.shape[2], size=len(x), random_state=np.random.default_rng(1))
        assert measure(x @ turns) == pytest.approx(measure(x), abs=1e-12)

    def test_scaled_and_shifted_runs_are_the_same(self, measure: Any) -> None:
        """Each run may have its own scale, down to sizes whose squares underflow, and its own mean."""
        x = related()
        scales = np.array([1.0, -3.0, 1e-120, 1e90])[:, None, None]
        assert measure(x * scales) == pytest.approx(measure(x), abs=1e-12)
        assert measure(x + 100 * np.arange(6)) == pytest.approx(measure(x), abs=1e-9)

    def test_the_order_of_runs_and_of_examples_is_irrelevant(self, measure: Any) -> None:
        """Runs may change places, and so may examples if they do in all runs."""
        x = related()
        order = np.random.default_rng(2).permutation(x.shape[1])
        assert measure(x[::-1]) == pytest.approx(measure(x), abs=1e-13)
        assert measure(x[:, order]) == pytest.approx(measure(x), abs=1e-12)

    def test_examples_out_of_step_are_not_alike(self, measure: Any) -> None:
        """Other examples in one of two equal runs bring the similarity down."""
        x = related(runs=2, examples=200)
        x[1] = x[0]
        x[1] = x[1, np.random.default_rng(3).permutation(200)]
        assert measure(x) < 0.2

    def test_equal_runs_are_at_one(self, measure: Any) -> None:
        """Exactly 1 for equal runs, and close to it for a linear map that is nearly a rotation."""
        run = related(runs=1)[0]
        assert measure(np.stack([run] * 3)) == 1.0
        assert 1 - 1e-6 < measure(np.stack([run, run * np.array([1, 1, 1, 1, 1, 1.0001])])) < 1.0

    @pytest.mark.parametrize("slot", [0, 2])
    def test_constant_activations_have_no_similarity(self, measure: Any, slot: int) -> None:
        """A layer that answers every example alike in some run gives nan, not a number made of rounding."""
        x = related(runs=3)
        x[slot] = np.arange(6) / 7 + 0.1
        assert math.isnan(measure(x))

    @pytest.mark.parametrize(
        ("activations", "message"),
        [
            (np.zeros((3, 5)), r"activations must be real numbers with 3 axes.* \(got float64 of shape \(3, 5\)\)"),
            (np.zeros((2, 5, 0)), r"none of them empty \(got float64 of shape \(2, 5, 0\)\)"),
            (np.zeros((2, 5, 1), complex), r"real numbers.* \(got complex128 of shape"),
            (np.zeros((1, 5, 2)), r"runs must be at least 2 .* \(got 1\); give activations of at least two runs"),
            (np.zeros((2, 1, 2)), r"examples must be at least [24] for this CKA \(got 1\); use a larger probe set"),
            (np.full((2, 5, 2), np.nan), r"activations must be finite.* \(got nan in run 0, counting from 0\)"),
            (np.full((2, 5, 2), 1e200), r"at most 1e\+100 in size \(got 1e\+200 in run 0"),
            ([[[1.0], [1.0, 2.0]]], r"activations must be one rectangular array"),
        ],
    )
    def test_activations_that_cannot_be_compared(self, measure: Any, activations: Any, message: str) -> None:
        """Bad activations are refused in one sentence."""
        with pytest.raises(BadInput, match=message):
            measure(activations)


def test_only_the_unbiased_kind_sees_that_wide_noise_is_unrelated() -> None:
    """Independent Gaussians with more features than examples: unbiased near 0, biased far above."""
    x = np.random.default_rng(4).normal(size=(20, 40, 200))
    assert cka_unbiased(x) == pytest.approx(0.0, abs=0.01)
    assert cka(x) > 0.7


def test_unbiased_cka_does_not_depend_on_the_number_of_examples() -> None:
    """Runs that share half their variance have one value, within chance, on 20 examples and on 1,000."""
    rng = np.random.default_rng(5)

    def value(examples: int) -> float:
        return cka_unbiased(
            rng.normal(size=(examples, 50)) + rng.normal(size=(2, examples, 50))  # covariances I/2 + I/2
        )

    small, large = np.mean([value(20) for _ in range(200)]), value(1000)
    assert large == pytest.approx(0.25, abs=0.02)  # |I/2|^2 / |I|^2
    assert small == pytest.approx(large, abs=0.03)


def test_the_unbiased_kind_needs_four_examples() -> None:
    """Three examples leave its estimator undefined; the biased kind takes them."""
    with pytest.raises(BadInput, match=r"examples must be at least 4 for this CKA \(got 3\); use a larger probe set"):
        cka_unbiased(related(examples=3))
    assert 0 < cka(related(examples=3)) <= 1


def test_a_layer_that_knows_one_example_has_no_unbiased_similarity() -> None:
    """One active example: the estimate of its own HSIC is 0, so the ratio is nan although the biased one is 1."""
    x = np.zeros((2, 7, 3))
    x[:, 2] = np.random.default_rng(6).normal(size=(2, 3))
    assert math.isnan(cka_unbiased(x))
    assert cka(x) == pytest.approx(1.0, abs=1e-12)


@given(st.integers(1, 6), st.integers(1, 50), st.integers(0, 10**6))
def test_distances_are_those_of_scipy(runs: int, size: int, seed: int) -> None:
    """L2 and cosine distance to the first run agree with scipy's, run by run."""
    rows = np.random.default_rng(seed).normal(size=(runs, size))
    l2, cosine = similarity.parameter_distance(rows)
    assert l2 == pytest.approx([distance.euclidean(rows[0], row) for row in rows], abs=1e-12)
    assert cosine == pytest.approx([distance.cosine(rows[0], row) for row in rows], abs=1e-12)
    assert l2[0] == cosine[0] == 0.0


def test_close_parameters_keep_their_digits() -> None:
    """A turn by 1e-9 is a cosine distance of half its square, where 1 - cos would be 0; scale does not matter."""
    for scale in (1.0, 1e-200, 1e90):
        l2, cosine = similarity.parameter_distance(scale * np.array([[1.0, 0.0], [1.0, 1e-9], [-2.0, 0.0]]))
        assert l2 == pytest.approx(scale * np.array([0.0, 1e-9, 3.0]), rel=1e-9, abs=0)
        assert cosine == pytest.approx([0.0, 0.5e-18, 2.0], rel=1e-6, abs=0)


def test_zero_parameters_have_no_direction() -> None:
    """A run at zero has a distance but no angle, and no warning is given."""
    l2, cosine = similarity.parameter_distance(np.array([[3.0, 4.0], [0.0, 0.0]]))
    assert l2.tolist() == [0.0, 5.0]
    assert cosine[0] == 0.0
    assert math.isnan(cosine[1])


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (np.zeros(3), r"parameters must be real numbers with 2 axes, runs and parameters.* of shape \(3,\)"),
        (np.zeros((0, 3)), r"none of them empty \(got float64 of shape \(0, 3\)\)"),
        (np.array([[1.0], [np.inf]]), r"parameters must be finite.* \(got inf in run 1, counting from 0\)"),
    ],
)
def test_parameters_that_cannot_be_compared(parameters: Any, message: str) -> None:
    """Bad parameters are refused in one sentence."""
    with pytest.raises(BadInput, match=message):
        similarity.parameter_distance(parameters)
