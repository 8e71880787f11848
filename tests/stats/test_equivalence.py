"""Whether several conditions have the same effect: against plain loops, against scipy, and by simulation."""

from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from nondet.errors import BadInput
from nondet.stats import equivalence as alike
from nondet.stats.equivalence import Metric, figure, omnibus, pairs, same_effect, without_each
from nondet.stats.holm import holm


def distances(points: np.ndarray) -> np.ndarray:
    """Squared distances between runs (N, d): `(N, N)`, the plainest pairwise measure."""
    return np.square(points[:, None] - points).sum(axis=-1)


def row_means(points: np.ndarray) -> np.ndarray:
    """Each run's mean distance to its partners, `(N,)`."""
    return distances(points).sum(axis=1) / (len(points) - 1)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_is_closed_testing(p_values: list[float]) -> None:
    """Holm's p-value is the largest of Bonferroni's over all sets of tests that hold this one."""
    everything = range(len(p_values))
    sets = [s for size in range(1, len(p_values) + 1) for s in combinations(everything, size)]
    exact = [max(min(1.0, len(s) * min(p_values[i] for i in s)) for s in sets if test in s) for test in everything]
    assert holm(p_values) == pytest.approx(exact)


@pytest.mark.parametrize("spread", [True, False])
def test_without_each_is_a_loop(spread: bool) -> None:
    """The figure without each run is the figure of the others, for an SD and for a mean over pairs."""
    points = np.random.default_rng(0).normal(size=(7, 1))

    def plain(rest: np.ndarray) -> float:
        return float(np.std(rest, ddof=1)) if spread else float(distances(rest)[np.triu_indices(len(rest), 1)].mean())

    by_run = points[:, 0] if spread else row_means(points)
    assert figure(by_run, spread) == pytest.approx(plain(points))
    assert without_each(by_run, spread) == pytest.approx([plain(np.delete(points, run, axis=0)) for run in range(7)])


def test_the_statistic_is_scipys() -> None:
    """For an SD the statistic is scipy's Brown-Forsythe test, for a mean over pairs the F of the pseudo-values."""
    rng = np.random.default_rng(1)
    groups = [rng.normal(size=n) for n in (5, 8, 6)]
    joined, sizes = np.concatenate(groups)[None], [5, 8, 6]
    found = alike._statistic(joined, sizes, spread=True)
    assert found[0] == pytest.approx(stats.levene(*groups, center="median").statistic)
    found = alike._statistic(joined, sizes, spread=False)
    assert found[0] == pytest.approx(stats.f_oneway(*groups).statistic)


def test_p_values_are_near_scipys() -> None:
    """With many normal runs the permutation test agrees with the F distribution of scipy's Brown-Forsythe test."""
    rng = np.random.default_rng(2)
    groups = [rng.normal(size=60) * scale for scale in (1.0, 1.15, 1.3)]
    assert same_effect(groups, spread=True) == pytest.approx(stats.levene(*groups, center="median").pvalue, abs=0.03)


@pytest.mark.parametrize("spread", [True, False])
def test_neither_order_nor_unit_matters(spread: bool) -> None:
    """The p-value is the same for any order of the runs and any unit; for an SD wherever the centres lie."""
    rng = np.random.default_rng(3)
    groups = [rng.normal(size=8) ** 2 for _ in range(3)]
    first = same_effect(groups, spread)
    assert same_effect([rng.permutation(group) for group in groups], spread) == first
    assert same_effect([4 * group for group in groups], spread) == first
    if spread:
        assert same_effect([groups[0] + 8, *groups[1:]], spread) == pytest.approx(first, abs=0.001)


def test_equal_runs() -> None:
    """Where no run differs in any condition nothing is shown; where only one condition's do not, it differs."""
    points = np.random.default_rng(4).normal(size=(9, 8))
    for spread, none, some in ((True, np.full(9, 95.22), points[:, 0]), (False, np.zeros(9), row_means(points))):
        assert same_effect([none, none], spread) == 1
        assert same_effect([none, some], spread) < 0.01


def rate(p_values: list[float]) -> float:
    return float(np.mean(np.array(p_values) <= 0.05))


@pytest.mark.parametrize("draw", ["normal", "t3"])
def test_false_positives_of_the_sd(draw: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 400 studies of three conditions with one SD and three centres, about 5 % show a difference."""
    monkeypatch.setattr(alike, "PERMUTATIONS", 99)
    rng = np.random.default_rng(5)
    values = rng.normal(size=(400, 3, 9)) if draw == "normal" else rng.standard_t(3, size=(400, 3, 9))
    values += np.array([0, 3, -5])[:, None]
    assert 0.02 <= rate([same_effect(list(study), True, seed) for seed, study in enumerate(values)]) <= 0.08


@pytest.mark.parametrize("heavy", [False, True])
def test_false_positives_of_pairs(heavy: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for a mean over pairs, though each run's distances to the others depend on each other."""
    monkeypatch.setattr(alike, "PERMUTATIONS", 99)
    rng = np.random.default_rng(6)
    points = rng.normal(size=(400, 3, 9, 8))
    if heavy:
        points /= np.sqrt(rng.chisquare(3, size=(400, 3, 9, 1)) / 3)
    p_values = [same_effect([row_means(c) for c in study], False, seed) for seed, study in enumerate(points)]
    assert 0.02 <= rate(p_values) <= 0.08


def test_power() -> None:
    """An SD of twice the others' is found with 24 runs, and the omnibus test adjusts for two metrics."""
    rng = np.random.default_rng(7)
    groups = {name: rng.normal(size=24) * scale for name, scale in (("a", 1), ("b", 1), ("c", 2.5))}
    found = omnibus([Metric("accuracy.sd", True, groups), Metric("cross_entropy.sd", True, groups)])
    assert [test.metric for test in found] == ["accuracy.sd", "cross_entropy.sd"]
    assert found[0].p_value < 0.01
    assert found[0].p_holm == 2 * found[0].p_value


def test_pairs_are_scipys_t_tests() -> None:
    """The p-value is the larger of scipy's two one-sided Welch tests of the log ratio, with jackknife errors."""
    rng = np.random.default_rng(8)
    groups = {"a": rng.normal(size=12), "b": 1.2 * rng.normal(size=20)}
    found = pairs(Metric("accuracy.sd", True, groups), margin=1.5, level=0.05)[0]
    logs = [np.log(np.std(x, ddof=1)) for x in groups.values()]
    errors = []
    for x in groups.values():
        left = [np.log(np.std(np.delete(x, i), ddof=1)) for i in range(len(x))]
        errors.append(np.sqrt((len(x) - 1) * np.var(left)))

    def tested(shift: float, alternative: str) -> Any:
        return stats.ttest_ind_from_stats(
            logs[0], errors[0] * 12**0.5, 12, logs[1] + shift, errors[1] * 20**0.5, 20, False, alternative
        )

    one_sided = [tested(np.log(1.5), "less").pvalue, tested(-np.log(1.5), "greater").pvalue]
    assert found.p_value == pytest.approx(max(one_sided))
    assert found.ratio == pytest.approx(np.exp(logs[0] - logs[1]))
    at_low = tested(np.log(found.low or 0), "greater").pvalue
    assert at_low == pytest.approx(0.05)  # the interval holds what neither test at the level refuses
    assert found.p_different == same_effect(list(groups.values()), True)


def conditions(make: Callable[[np.random.Generator], np.ndarray], names: str = "abc") -> dict[str, np.ndarray]:
    rng = np.random.default_rng(9)
    return {name: make(rng) for name in names}


def test_verdicts() -> None:
    """With enough runs equal effects are equivalent, a double one is different, and few runs decide nothing."""
    scales = iter((1, 1, 2))
    metric = Metric("accuracy.sd", True, conditions(lambda rng: next(scales) * rng.normal(size=600)))
    verdicts = {(p.a, p.b): p.verdict for p in pairs(metric)}
    assert verdicts == {("a", "b"): "equivalent", ("a", "c"): "different", ("b", "c"): "different"}
    few = pairs(Metric("accuracy.sd", True, conditions(lambda rng: rng.normal(size=10))))
    assert {p.verdict for p in few} == {"undecided"}
    assert all(p.low and p.high and p.ratio and p.low < p.ratio < p.high for p in few)


def test_more_than_the_margin_is_no_verdict_without_holm() -> None:
    """Verdicts are those of the adjusted p-values: an interval inside the margin is not enough among several pairs."""
    metric = Metric("accuracy.sd", True, conditions(lambda rng: rng.normal(size=115), "abcdef"))
    found = pairs(metric, margin=1.3)
    assert [p.verdict == "equivalent" for p in found] == [p.p_holm <= 0.05 for p in found]
    assert any(p.p_value <= 0.05 < p.p_holm for p in found)


def test_runs_needed_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the runs that a pilot of equal effects asks for, the two are shown alike about as often as promised."""
    monkeypatch.setattr(alike, "PERMUTATIONS", 1)
    rng = np.random.default_rng(10)
    pilot = pairs(Metric("accuracy.sd", True, {"a": rng.normal(size=2000), "b": rng.normal(size=2000)}))[0]
    assert pilot.runs_needed is not None
    assert pilot.runs_needed == pytest.approx((2.926 / np.log(1.25)) ** 2, rel=0.1)  # an SD's error is 1 / sqrt(2 N)
    new = [
        pairs(Metric("accuracy.sd", True, {n: rng.normal(size=pilot.runs_needed) for n in "ab"}))[0].verdict
        for _ in range(300)
    ]
    assert 0.7 <= np.mean([v == "equivalent" for v in new]) <= 0.9


@pytest.mark.parametrize("runs", [24, 99])
def test_false_equivalence(runs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 1,000 pairs whose true ratio is the margin, about 5 % at most are called equivalent."""
    monkeypatch.setattr(alike, "PERMUTATIONS", 1)
    rng = np.random.default_rng(11)
    wrong = 0
    for _ in range(1000):
        groups = {"a": 2 * rng.normal(size=runs), "b": rng.normal(size=runs)}
        wrong += pairs(Metric("accuracy.sd", True, groups), margin=2)[0].verdict == "equivalent"
    assert wrong / 1000 <= 0.07


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ([0.0] * 9, "b has no effect"),
        ([-0.5] * 9, "b's figure is below 0"),
        ([2.0] * 9, "leaving out any run gives the same value"),
        ([3.5, *[0.5] * 8], ""),
    ],
)
def test_figures_without_a_ratio(other: list[float], reason: str) -> None:
    """Where a figure is not above 0, or has no error, no two conditions are called equivalent, and it says why."""
    found = pairs(Metric("disagreement", False, {"a": np.linspace(1, 2, 9), "b": np.array(other)}))[0]
    assert found.reason.startswith(reason)
    assert found.verdict != "equivalent"
    assert (found.low is None) == bool(reason)


def test_one_run_makes_all_of_an_sd() -> None:
    """An SD that vanishes without one of its runs has a ratio, but no interval and no verdict."""
    one = np.zeros(9)
    one[3] = 1.0
    found = pairs(Metric("accuracy.sd", True, {"a": one, "b": np.linspace(-0.5, 0.5, 9)}))[0]
    assert found.reason == "without one of its runs a has no effect, so its error is not known"
    assert found.ratio == pytest.approx(np.std(one) / np.std(np.linspace(-0.5, 0.5, 9)))
    assert (found.low, found.p_value) == (None, 1.0)


def test_intervals_of_any_size() -> None:
    """Effects at the ends of the range of numbers have an interval of numbers, not of infinities."""
    tiny = np.array([1e-300, *np.linspace(1, 2, 8)]) * np.array([1.0, *[1e-290] * 8])
    found = pairs(Metric("disagreement", False, {"a": tiny, "b": 1e140 * np.linspace(1, 2, 9)}))[0]
    assert found.ratio is not None
    assert np.isfinite([found.low, found.high]).all()


def test_equal_values_have_no_sd() -> None:
    """The SD of equal values is exactly 0, whatever the value: it is no tiny effect."""
    assert figure(np.full(19, 95.22), True) == 0
    assert without_each(np.full(19, 95.22), True).tolist() == [0.0] * 19


@pytest.mark.parametrize(
    ("margin", "level", "rule"),
    [
        (1.0, 0.05, r"margin must be a ratio above 1 \(got 1.0\)"),
        (-2.0, 0.05, "margin must be"),
        (np.inf, 0.05, "margin must be"),
        (np.nan, 0.05, "margin must be"),
        (1.25, 0.0, "level must be above 0 and below 0.5"),
        (1.25, 0.5, "level must be above 0 and below 0.5"),
        (1.25, np.nan, "level must be"),
    ],
)
def test_bad_margins_and_levels(margin: float, level: float, rule: str) -> None:
    """A margin of 1 or less, or a level out of range, is refused in one sentence."""
    with pytest.raises(BadInput, match=rule):
        pairs(Metric("disagreement", False, {}), margin, level)
