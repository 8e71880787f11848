"""The statistics behind `nondet compare` and `nondet plan`: against theory, other implementations, and simulation."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from nondet.errors import BadInput
from nondet.measures.churn import churn
from nondet.measures.diversity import disagreement_of
from nondet.stats.intervals import sd_interval
from nondet.stats.means import Shift, holding, paired, pairing_helps, permutation_p, sign_flip_p, welch, widened
from nondet.stats.power import fewest, power_of_difference, power_of_equivalence, runs_per_arm
from nondet.stats.spread import sd_of, sd_ratio
from nondet.stats.superiority import superiority


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.Generator(np.random.Philox(11))


# --- means -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "m"), [(2, 2), (5, 9), (30, 4)])
def test_welch_is_that_of_scipy(rng: np.random.Generator, n: int, m: int) -> None:
    """Estimate, p-value and interval are those of scipy.stats.ttest_ind with unequal variances."""
    a, b = 90 + rng.normal(size=n), 90.5 + 3 * rng.normal(size=m)
    theirs = stats.ttest_ind(b, a, equal_var=False)
    ours = welch(a, b)
    assert ours.estimate == pytest.approx(b.mean() - a.mean())
    assert ours.p_value() == pytest.approx(theirs.pvalue)
    assert ours.interval(0.1) == pytest.approx(tuple(theirs.confidence_interval(0.9)))


def test_pairs_are_those_of_scipy(rng: np.random.Generator) -> None:
    """The paired test is scipy.stats.ttest_rel."""
    a = rng.normal(size=8)
    b = a + 0.3 + 0.5 * rng.normal(size=8)
    theirs = stats.ttest_rel(b, a)
    assert paired(a, b).p_value() == pytest.approx(theirs.pvalue)
    assert paired(a, b).interval(0.05) == pytest.approx(tuple(theirs.confidence_interval(0.95)))


def test_equivalence_is_two_one_sided_tests(rng: np.random.Generator) -> None:
    """The p-value is the larger of two one-sided t-tests, and is below the level just if the interval is inside."""
    a, b = rng.normal(size=12), rng.normal(size=15)
    one_sided = [
        stats.ttest_ind(b + 0.8, a, equal_var=False, alternative="greater").pvalue,
        stats.ttest_ind(b - 0.8, a, equal_var=False, alternative="less").pvalue,
    ]
    shift = welch(a, b)
    assert shift.p_within(0.8) == pytest.approx(max(one_sided))
    for margin in (0.2, 0.5, 0.8, 1.2, 2.0):
        low, high = shift.interval(0.1) or (math.nan, math.nan)
        assert (shift.p_within(margin) < 0.05) == (-margin < low and high < margin)


def test_equal_values_have_no_t_test() -> None:
    """Arms whose runs do not vary have a difference, but no interval and no p-value of t; and nothing is alike."""
    shift = welch(np.full(4, 0.1 + 0.2), np.full(5, 0.7))
    assert shift.estimate == pytest.approx(0.4)
    assert (shift.error, shift.interval(0.05), shift.p_value(), shift.p_within(1.0)) == (0.0, None, None, 1.0)
    assert permutation_p(np.zeros(5), np.ones(5)) == pytest.approx(2 / math.comb(10, 5))
    assert permutation_p(np.ones(5), np.ones(5)) == 1.0


def test_permutations_are_all_where_they_are_few(rng: np.random.Generator) -> None:
    """The exact p-value is that of scipy.stats.permutation_test with Welch's t."""
    a, b = rng.normal(size=5), 1 + rng.normal(size=4)

    def t(x: np.ndarray, y: np.ndarray, axis: int) -> np.ndarray:
        error = np.sqrt(x.var(axis, ddof=1) / x.shape[axis] + y.var(axis, ddof=1) / y.shape[axis])
        return np.abs((y.mean(axis) - x.mean(axis)) / error)

    theirs = stats.permutation_test((a, b), t, vectorized=True, n_resamples=np.inf, alternative="greater")
    assert permutation_p(a, b) == pytest.approx(theirs.pvalue)


def test_drawn_permutations_come_near_the_t_test(rng: np.random.Generator) -> None:
    """With many normal runs the permutation p-value is about Welch's, whatever the order of the runs."""
    a, b = rng.normal(size=30), 0.5 + rng.normal(size=40)
    found = permutation_p(a, b)
    assert found == pytest.approx(welch(a, b).p_value(), abs=0.01)
    assert found == permutation_p(a[::-1], rng.permutation(b))


def test_signs_are_those_of_a_loop(rng: np.random.Generator) -> None:
    """The sign-flip p-value counts, over all signs, the means at least as far from 0; drawn ones come near it."""
    d = 0.6 + rng.normal(size=9)
    sums = [abs(sum(s * x for s, x in zip(signs, d, strict=True))) for signs in product((-1, 1), repeat=9)]
    assert sign_flip_p(d) == np.mean(np.array(sums) >= abs(d.sum()) - 1e-12)
    many = 0.3 + rng.normal(size=40)
    assert sign_flip_p(many) == pytest.approx(stats.ttest_1samp(many, 0).pvalue, abs=0.02)


def test_pairs_are_used_where_they_help(rng: np.random.Generator) -> None:
    """Strongly correlated pairs are compared as pairs, others not, nor pairs in which an arm does not vary."""
    a = rng.normal(size=20)
    near, far = a + 0.2 * rng.normal(size=20), rng.normal(size=20)
    assert pairing_helps(a, near, welch(a, near))[0]
    assert not pairing_helps(a, far, welch(a, far))[0]
    assert pairing_helps(a, np.ones(20), welch(a, np.ones(20))) == (False, None)
    assert pairing_helps(a[:2], near[:2], welch(a, near)) == (False, None)
    assert not pairing_helps(a, a + 1.0, welch(a, a + 1.0))[0]  # the differences do not vary: no error of pairs


def test_pairs_that_go_opposite_ways_are_never_independent(rng: np.random.Generator) -> None:
    """A negative correlation widens the interval: it counts long before a positive one does."""
    x, y = stats.zscore(rng.normal(size=20)), rng.normal(size=20)
    y = stats.zscore(y - y.mean() - x * np.mean(x * (y - y.mean())))  # not correlated with x
    for rho, counts in ((0.3, False), (-0.3, True), (-0.1, False)):
        b = rho * x + math.sqrt(1 - rho**2) * y
        helps, correlation = pairing_helps(x, b, welch(x, b))
        assert (helps, correlation) == (counts, pytest.approx(rho))
    for b, counts in ((x[1::-1], True), (x[:2], False)):  # two pairs: the worse is taken for granted
        assert pairing_helps(x[:2], 2 * b, welch(x[:2], 2 * b))[0] == counts


def test_the_error_of_some_pairs_is_added(rng: np.random.Generator) -> None:
    """Where all runs are pairs it is the paired t-test; of a few pairs among many runs, hardly more than Welch's."""
    a = rng.normal(size=9)
    b = rng.normal(size=9) - a
    every, theirs = widened(a, b, [(i, i) for i in range(9)]), stats.ttest_rel(b, a)
    assert every.p_value() == pytest.approx(theirs.pvalue)
    assert every.interval(0.05) == pytest.approx(tuple(theirs.confidence_interval(0.95)))
    many, others = np.concatenate([a, rng.normal(size=91)]), np.concatenate([b, rng.normal(size=91)])
    some, apart = widened(many, others, [(i, i) for i in range(9)]), welch(many, others)
    added = 2 * 9 * -np.cov(a, b)[0, 1] / 100**2
    assert some.error == pytest.approx(math.sqrt(apart.error**2 + added))
    assert some.estimate == apart.estimate
    assert 50 < some.freedom < apart.freedom


def test_choosing_pairs_keeps_the_level(rng: np.random.Generator) -> None:
    """With and without correlated pairs, a true difference of 0 is called one in about 5 % of studies at the most."""
    for rho in (-0.9, -0.5, 0.0, 0.5, 0.9):
        false = 0
        for _ in range(1000):
            a = rng.normal(size=10)
            b = rho * a + math.sqrt(1 - rho**2) * rng.normal(size=10)
            apart = welch(a, b)
            shift = paired(a, b) if pairing_helps(a, b, apart)[0] else apart
            false += (shift.p_value() or 1.0) < 0.05
        assert 0.02 <= false / 1000 <= 0.07


def test_some_pairs_among_more_runs_keep_the_level(rng: np.random.Generator) -> None:
    """Six runs of which each has a partner that goes the opposite way among ten: Welch's test alone finds 11 %."""
    false = 0
    for _ in range(1000):
        a = rng.normal(size=6)
        b = np.concatenate([0.5 * rng.normal(size=6) - a, rng.normal(size=4)])
        false += (widened(a, b, [(i, i) for i in range(6)]).p_value() or 1.0) < 0.05
    assert false / 1000 <= 0.065


# --- superiority -------------------------------------------------------------------------------------------------


def test_superiority_is_a_loop_over_pairs(rng: np.random.Generator) -> None:
    """The chance is the share of pairs in which b is larger, ties half; the other way round it is 1 minus that."""
    a, b = rng.integers(0, 6, size=7).astype(float), rng.integers(1, 8, size=9).astype(float)
    loop = np.mean([(y > x) + (y == x) / 2 for x, y in product(a, b)])
    chance, low, high = superiority(a, b)
    assert chance == pytest.approx(loop)
    assert superiority(b, a) == pytest.approx((1 - chance, 1 - high, 1 - low))


def test_superiority_has_brunner_and_munzels_variance(rng: np.random.Generator) -> None:
    """In large arms the interval is about the estimate ± 1.96 errors of scipy.stats.brunnermunzel."""
    a, b = rng.normal(size=300), 0.3 + 2 * rng.normal(size=400)
    chance, low, high = superiority(a, b)
    error = (chance - 0.5) / float(stats.brunnermunzel(b, a).statistic)
    assert (high - low) / 2 == pytest.approx(1.96 * abs(error), rel=0.02)


@pytest.mark.parametrize("n", [2, 5, 25])
def test_superiority_stays_open_at_its_ends(n: int) -> None:
    """Complete separation gives 1, with an interval that reaches below it, less so with more runs; ties give 1/2."""
    chance, low, high = superiority(np.arange(n) - 100.0, np.arange(n) + 0.0)
    assert (chance, high) == (1.0, 1.0)
    assert 0.0 <= low < 1 - 0.5 / n
    assert superiority(np.zeros(n), np.zeros(n))[0] == 0.5


@pytest.mark.parametrize("truth", [0.5, 0.92])
def test_superiority_covers(rng: np.random.Generator, truth: float) -> None:
    """The 95 % interval holds the true chance in 93 to 99.5 % of studies with 10 runs each."""
    shift = stats.norm.ppf(truth) * math.sqrt(2)
    found = [superiority(rng.normal(size=10), shift + rng.normal(size=10)) for _ in range(2000)]
    assert 0.93 <= np.mean([low <= truth <= high for _, low, high in found]) <= 0.995


# --- spread ------------------------------------------------------------------------------------------------------


def test_sd_ratio_is_a_plain_jackknife(rng: np.random.Generator) -> None:
    """Estimate and interval are those of loops that leave out one run at a time."""
    a, b = rng.normal(size=8), 2 * rng.normal(size=11)
    errors = []
    for x in (a, b):
        logs = [math.log(np.delete(x, i).std(ddof=1)) for i in range(len(x))]
        errors.append(math.sqrt((len(x) - 1) / len(x) * sum((v - np.mean(logs)) ** 2 for v in logs)))
    freedom = (errors[0] ** 2 + errors[1] ** 2) ** 2 / (errors[0] ** 4 / 7 + errors[1] ** 4 / 10)
    reach = stats.t.ppf(0.975, freedom) * math.hypot(*errors)
    ratio = b.std(ddof=1) / a.std(ddof=1)
    found = sd_ratio(a, b)
    assert (found.value, found.low, found.high) == pytest.approx(
        (ratio, ratio * math.exp(-reach), ratio * math.exp(reach))
    )
    scaled = sd_ratio(10 * a + 90, 10 * b + 80)
    assert (scaled.low, scaled.high) == pytest.approx((found.low, found.high))


def test_sd_ratio_covers(rng: np.random.Generator) -> None:
    """The 95 % interval holds the true ratio in 92 to 98 % of studies of normal and of heavy-tailed values."""
    for draw in (rng.normal, lambda size: rng.standard_t(5, size=size)):
        found = [sd_ratio(a, b) for a, b in zip(draw(size=(1500, 10)), 3 * draw(size=(1500, 25)), strict=True)]
        assert 0.92 <= np.mean([f.low <= 3 <= f.high for f in found]) <= 0.98


def test_spread_without_variation_has_no_interval() -> None:
    """An arm that does not vary has no ratio; two runs, or an SD that one run alone causes, have no interval."""
    a, b = np.array([1.0, 2.0, 4.0]), np.full(3, 5.0)
    assert list(sd_ratio(b, a).to_dict().values()) == [None] * 4
    assert list(sd_ratio(a, b).to_dict().values()) == [0.0, None, None, None]
    assert not sd_ratio(a[:2], a).known
    assert not sd_ratio(a, np.array([1.0, 1.0, 1.0, 2.0])).known
    assert list(sd_of(b).to_dict().values()) == [0.0, None, None, None]


def test_an_sd_has_the_interval_of_the_table(rng: np.random.Generator) -> None:
    """`plan` and `compare` say of the same runs what `show` and `measure` say; their SD has ddof = 1."""
    for runs in (2, 6, 25):
        values = rng.normal(size=runs)
        found = sd_of(values)
        assert found.value == pytest.approx(values.std(ddof=1))
        assert (found.low, found.high) == sd_interval(values)


# --- churn -------------------------------------------------------------------------------------------------------


def loop_churn(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
    """Churn by loops over pairs."""
    between = np.mean([np.mean(x != y) for x, y in product(a, b)])
    within = [np.mean([np.mean(x[i] != x[j]) for i in range(len(x)) for j in range(i)]) for x in (a, b)]
    figures = {"between": between, "within_a": within[0], "within_b": within[1], "excess": between - sum(within) / 2}
    return {name: 100 * float(value) for name, value in figures.items()}


@given(seed=st.integers(0, 10_000), n=st.integers(3, 6), m=st.integers(3, 6), classes=st.integers(2, 9))
def test_churn_is_a_loop_over_pairs(seed: int, n: int, m: int, classes: int) -> None:
    """Every figure equals its loop over pairs, and every error the jackknife that recomputes it without each run."""
    rng = np.random.Generator(np.random.Philox(seed))
    a, b = rng.integers(-2, classes, size=(n, 30)), rng.integers(0, classes + 3, size=(m, 30))
    found = churn(a, b)
    figures = loop_churn(a, b)
    assert {name: getattr(found, name) for name in figures} == pytest.approx(figures)
    assert found.within_a == pytest.approx(disagreement_of(a))
    for name in figures:
        total = 0.0
        for left in (
            [loop_churn(np.delete(a, i, axis=0), b)[name] for i in range(n)],
            [loop_churn(a, np.delete(b, j, axis=0))[name] for j in range(m)],
        ):
            total += (len(left) - 1) * np.var(left)
        assert found.errors[name] == pytest.approx(math.sqrt(total), abs=1e-9)


def test_matched_runs_do_not_count_between(rng: np.random.Generator) -> None:
    """Pairs of runs that are not independent are left out of the churn between arms."""
    a, b = rng.integers(0, 3, size=(4, 50)), rng.integers(0, 3, size=(5, 50))
    matched = [(0, 2), (3, 1)]
    loop = [np.mean(a[i] != b[j]) for i, j in product(range(4), range(5)) if (i, j) not in matched]
    assert churn(a, b, matched=matched).between == pytest.approx(100 * np.mean(loop))


def test_answers_may_be_any_integers(rng: np.random.Generator) -> None:
    """Answers far apart, such as numbers of tokens or of rows in a database, count like small ones."""
    a, b = rng.integers(0, 4, size=(3, 40)), rng.integers(0, 4, size=(4, 40))
    names = np.array([-(2**62), 7, 2**40, 2**62])
    assert churn(names[a], names[b]) == churn(a, b)
    assert churn(a.astype(np.uint8), b.astype(np.uint64)) == churn(a, b)


def test_churn_of_two_runs_has_no_error(rng: np.random.Generator) -> None:
    """Within an arm of two runs there is one pair: no error of it is known, nor of the excess."""
    found = churn(rng.integers(0, 3, size=(2, 40)), rng.integers(0, 3, size=(5, 40)))
    assert found.errors["within_a"] is None
    assert found.errors["excess"] is None
    assert found.errors["between"] is not None
    assert found.interval is None


def test_excess_is_half_the_squared_distance_of_the_answers(rng: np.random.Generator) -> None:
    """With many runs the excess is the mean of sum_k (p_k - q_k)^2 / 2, and its interval covers that with few."""
    p, q = rng.dirichlet(np.ones(3), size=200), rng.dirichlet(np.ones(3), size=200)
    truth = 50 * np.square(p - q).sum(axis=1).mean()

    def arm(chances: np.ndarray, runs: int) -> np.ndarray:
        return (rng.random((runs, 200, 1)) > np.cumsum(chances, axis=1)[:, :2]).sum(axis=-1)

    assert churn(arm(p, 800), arm(q, 800)).excess == pytest.approx(truth, abs=0.3)
    intervals = [churn(arm(p, 6), arm(q, 6)).interval or (9e9, 9e9) for _ in range(300)]
    assert np.mean([low <= truth <= high for low, high in intervals]) >= 0.92


def test_churn_needs_the_same_examples() -> None:
    """Arms of test sets of two sizes are refused."""
    with pytest.raises(BadInput, match=r"same examples \(got 5 and 6\)"):
        churn(np.zeros((3, 5), dtype=int), np.zeros((3, 6), dtype=int))


# --- power -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("effect", "power", "level", "runs"),
    [(0.2, 0.8, 0.05, 394), (0.5, 0.8, 0.05, 64), (0.8, 0.8, 0.05, 26), (0.5, 0.9, 0.05, 86), (0.8, 0.8, 0.01, 39)],
)
def test_runs_are_those_of_cohens_tables(effect: float, power: float, level: float, runs: int) -> None:
    """Well-known numbers, as in Cohen 1988, table 2.4.1, but for its rounding."""
    assert runs_per_arm(effect, 1.0, power, level) == runs
    assert runs_per_arm(2.5 * effect, 2.5, power, level) == runs


def test_power_is_an_integral_over_the_pooled_sd() -> None:
    """The noncentral t agrees with P(|Z + shift| > bound x S), integrated over the chi distribution of S."""
    freedom, shift, level = 10, 2.0, 0.05
    bound = stats.t.ppf(0.975, freedom)

    def given(s: float) -> float:
        beyond = stats.norm.sf(bound * s - shift) + stats.norm.cdf(-bound * s - shift)
        return float(beyond * stats.chi.pdf(s * math.sqrt(freedom), freedom) * math.sqrt(freedom))

    assert power_of_difference(2.0, 1.0, freedom, level) == pytest.approx(integrate.quad(given, 0, 10)[0], abs=1e-6)
    assert power_of_difference(0.0, 1.0, freedom, level) == level


def test_planned_runs_find_the_difference(rng: np.random.Generator) -> None:
    """In simulated studies of as many runs as planned, about 80 % find the difference."""
    runs = runs_per_arm(1.0, 1.0) or 0
    a, b = rng.normal(size=(4000, runs)), 1 + rng.normal(size=(4000, runs))
    assert np.mean(stats.ttest_ind(a, b, axis=1).pvalue < 0.05) == pytest.approx(0.8, abs=0.025)


def test_equivalence_is_shown_as_often_as_said(rng: np.random.Generator) -> None:
    """The power of two one-sided tests is what simulated studies find."""
    error, freedom = math.sqrt(2 / 40), 78
    a, b = rng.normal(size=(3000, 40)), 0.1 + rng.normal(size=(3000, 40))
    found = np.mean([welch(x, y).p_within(0.8) < 0.05 for x, y in zip(a, b, strict=True)])
    assert power_of_equivalence(0.1, error, freedom, 0.05, 0.8) == pytest.approx(found, abs=0.025)


def test_the_fewest_is_the_first_that_reaches() -> None:
    """The search finds the smallest number at which a rising power is reached, and None if no number is."""
    assert [fewest(lambda n: n / 100, 0.37, 1, 100), fewest(lambda n: 1.0, 0.8, 2)] == [37, 2]
    assert fewest(lambda n: n / 1000, 0.37, 1, 100) is None
    assert runs_per_arm(1e-9, 1.0) is None
    assert runs_per_arm(1e9, 1.0) == 2


def test_far_effects_have_full_power() -> None:
    """Where the noncentral t's series gives no number, power is 1, and never not a number."""
    assert power_of_difference(1e15, 1.0, 3, 0.05) == 1.0
    assert Shift(0.0, 1.0, 5.0).p_value() == 1.0


def test_a_verdict_needs_both_tests() -> None:
    """The larger p-value counts; of so few runs that no exchange reaches the level, t's with the fewest degrees."""
    shift = Shift(3.0, 1.0, 20.0)
    p = shift.p_value() or 1.0
    assert holding(shift, 0.2, math.comb(33, 3), 3, 0.05) == 0.2
    assert holding(shift, 0.001, math.comb(33, 3), 3, 0.05) == p
    assert holding(shift, 0.1, math.comb(6, 3), 3, 0.05) == pytest.approx(2 * stats.t.sf(3, 2))
    assert holding(Shift(3.0, 0.0, 1.0), 0.1, math.comb(6, 3), 3, 0.05) == 0.1
    rng = np.random.Generator(np.random.Philox(6))
    t, both = 0, 0
    for _ in range(200):
        a, b = rng.exponential(size=3), rng.exponential(size=30)
        shift = welch(a, b)
        t += (shift.p_value() or 1) <= 0.05
        both += holding(shift, permutation_p(a, b), math.comb(33, 3), 3, 0.05) <= 0.05
    assert both <= 0.05 * 200 + 4 * math.sqrt(0.05 * 0.95 * 200)
    assert t > 1.5 * both
