"""Scores of several data sets: on each, on their mean, and by rank, against scipy and plain loops of the formulas."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

import nondet as nd
from nondet.stats.datasets import bootstrapped, improvement, interquartile_mean, mean_shift, ranks, signed_rank

Nondet = Callable[..., Any]

SETS = ("cifar", "mnist", "svhn", "stl", "dtd", "food")
SHIFTS = {"base": 0.0, "aug": 0.6, "big": 1.1}


def made(runs: int = 5, seed: int = 1) -> dict[str, list[Any]]:
    """For each arm its scores on each data set."""
    rng = np.random.default_rng(seed)
    return {name: [np.round(80 + 3 * d + e + 0.4 * rng.normal(size=runs), 3) for d in range(len(SETS))]
            for name, e in SHIFTS.items()}  # fmt: skip


def table(folder: Path, scores: dict[str, list[Any]], column: str = "dataset") -> Path:
    rows = [f"{m},{d},{s},{v}" for m, sets in scores.items() for d, x in zip(SETS, sets, strict=True)
            for s, v in enumerate(x)]  # fmt: skip
    path = folder / "t.csv"
    path.write_text("\n".join([f"method,{column},seed,accuracy", *rows]))
    return path


def test_on_each_and_on_all(nondet: Nondet, tmp_path: Path) -> None:
    """Welch's test on each data set, adjusted for their number; their mean; Wilcoxon over them."""
    scores = made()
    ran = nondet("compare", table(tmp_path, scores), "--of", "base", "--with", "aug", "--json")
    assert ran.code == 0, ran.err
    found = ran.json
    tests = [stats.ttest_ind(b, a, equal_var=False) for a, b in zip(scores["base"], scores["aug"], strict=True)]
    assert [one["dataset"] for one in found["datasets"]] == list(SETS)
    assert [one["p_value"] for one in found["datasets"]] == pytest.approx([float(t.pvalue) for t in tests])
    order = np.argsort([t.pvalue for t in tests])
    largest, holm = 0.0, np.empty(len(tests))
    for place, k in enumerate(order):
        largest = max(largest, min(1.0, (len(tests) - place) * tests[k].pvalue))
        holm[k] = largest
    assert [one["p_holm"] for one in found["datasets"]] == pytest.approx(list(holm))
    differences = [b.mean() - a.mean() for a, b in zip(scores["base"], scores["aug"], strict=True)]
    assert found["difference"]["estimate"] == pytest.approx(np.mean(differences))
    assert found["wilcoxon"]["p_value"] == pytest.approx(float(stats.wilcoxon(differences).pvalue))
    assert found["verdict"] == "better"
    assert found["friedman"] is None
    assert "ahead on 6 of 6 data sets" in found["sentence"]


def test_three_arms_are_ranked(nondet: Nondet, tmp_path: Path) -> None:
    """Friedman's test of all arms, and Nemenyi's of each pair."""
    scores = made()
    found = nondet("compare", table(tmp_path, scores, "env"), "--dataset", "env", "--json").json
    means = np.array([[x.mean() for x in sets] for sets in scores.values()])
    expected = stats.friedmanchisquare(*means)
    assert found["friedman"]["p_value"] == pytest.approx(float(expected.pvalue))
    assert found["friedman"]["ranks"] == {"base": 3.0, "aug": 2.0, "big": 1.0}
    assert len(found["comparisons"]) == 2
    assert [c["b"] for c in found["comparisons"]] == ["aug", "big"]
    pairs = {(p["a"], p["b"]): p["p_value"] for p in found["friedman"]["nemenyi"]}
    assert pairs[("base", "big")] < 0.05 < pairs[("base", "aug")]
    out = nondet("compare", tmp_path / "t.csv", "--dataset", "env").out
    assert "Nemenyi's test tells apart: base and big" in " ".join(out.split())


def test_nemenyi_at_its_critical_difference() -> None:
    """Two mean ranks as far apart as Demsar's table says (k = 4, N = 14: 1.25) have a p-value of 0.05."""
    q = 2.569
    difference = q * np.sqrt(4 * 5 / (6 * 14))
    p = float(stats.studentized_range.sf(difference / np.sqrt(4 * 5 / (6 * 14)) * np.sqrt(2), 4, np.inf))
    assert p == pytest.approx(0.05, abs=2e-4)
    rng = np.random.default_rng(0)
    arms = [[rng.normal(size=3) for _ in range(14)] for _ in range(4)]
    found = ranks(arms, 1)
    assert found is not None
    apart = abs(found.mean[0] - found.mean[1])
    assert (found.pairs[0, 1] < 0.05) == (apart > difference)


def test_figures_of_rliable() -> None:
    """Its formulas by plain loops: the mean of the middle half of all scores; wins over pairs of runs, ties half."""
    scores = made(7)
    flat = sorted(v for x in scores["base"] for v in x)
    cut = int(0.25 * len(flat))
    assert interquartile_mean(scores["base"]) == pytest.approx(sum(flat[cut:-cut]) / (len(flat) - 2 * cut))
    wins = []
    for x, y in zip(scores["base"], scores["aug"], strict=True):
        wins.append(sum((b > a) + 0.5 * (b == a) for a in x for b in y) / (len(x) * len(y)))
    assert improvement(scores["base"], scores["aug"]) == pytest.approx(sum(wins) / len(wins))


OF_RLIABLE = {
    "iqm": {"a": 0.91919375, "b": 1.02640455},
    "iqm intervals": {"a": (0.86164953, 0.99303141), "b": (0.9888408, 1.07994091)},
    "improvement": 0.6904761904761904,
    "improvement interval": (0.54761905, 0.81916667),
}
"""What rliable 1.2.0 (with arch 7.2.0) says of the scores a and b below, `(runs, data sets)` there:

from rliable import library, metrics
iqm = lambda x: np.array([metrics.aggregate_iqm(x)])
library.get_interval_estimates({"a": a, "b": b}, iqm, reps=50000, random_state=np.random.RandomState(0))
better = metrics.probability_of_improvement
library.get_interval_estimates({"ba": (b, a)}, better, reps=5000, random_state=np.random.RandomState(0))
"""


def skewed_scores(runs: int, shift: float, seed: int) -> list[Any]:
    """Scores of six data sets, (6, runs)."""
    rng = np.random.default_rng(seed)
    drawn = 0.5 + 0.1 * np.arange(6) + shift + 0.2 * rng.standard_exponential((runs, 6))
    return list(np.round(drawn, 4).T)


def test_equal_to_rliable(nondet: Nondet, tmp_path: Path) -> None:
    """Interquartile means and chances of improvement to the last digits that it prints; intervals but for the draws."""
    arms = {"a": skewed_scores(5, 0.0, 1), "b": skewed_scores(7, 0.1, 2)}
    found = nondet("compare", table(tmp_path, arms), "--json").json
    for name in "ab":
        assert found["iqm"][name]["estimate"] == pytest.approx(OF_RLIABLE["iqm"][name], abs=1e-8)
        ends = (found["iqm"][name]["low"], found["iqm"][name]["high"])
        assert ends == pytest.approx(OF_RLIABLE["iqm intervals"][name], abs=0.01)
    better = found["probability_of_improvement"]
    assert better["estimate"] == pytest.approx(OF_RLIABLE["improvement"], abs=1e-12)
    assert (better["low"], better["high"]) == pytest.approx(OF_RLIABLE["improvement interval"], abs=0.02)


def test_no_difference_at_all() -> None:
    same = [np.array([1.0, 2, 3])] * 4
    assert signed_rank(same, same)[1] == 1.0
    found = ranks([same, same, same], 1)
    assert found is not None
    assert (found.p_value, found.mean) == (1.0, (2.0, 2.0, 2.0))


@pytest.mark.slow
def test_intervals_hold() -> None:
    """Of 400 studies the interval of the mean difference holds the truth in about 95 %, and so does the bootstrap's of
    the chance of improvement; equal arms are called different in the rest."""
    held, inside, wrong = 0, 0, 0
    for study in range(400):
        rng = np.random.default_rng(study)
        a, b = ([rng.normal(d, 1 + d, size=20) for d in range(5)] for _ in "ab")
        shift = mean_shift(a, b)
        low, high = shift.interval(0.05) or (0, 0)
        held += low <= 0 <= high
        wrong += (shift.p_value() or 1) <= 0.05
        if study < 100:
            e = bootstrapped(improvement, a, b)
            inside += e.low <= 0.5 <= e.high
    assert 0.92 <= held / 400 <= 0.98
    assert wrong == 400 - held
    assert inside >= 90


def test_what_does_not_go_together(nondet: Nondet, tmp_path: Path) -> None:
    """A margin has a unit; a plan is for one data set, and both columns as arms make each its own."""
    path = table(tmp_path, made())
    ran = nondet("compare", path, "--margin", 1)
    assert ran.code == 2
    assert "--margin is in the unit of one data set" in ran.err
    ran = nondet("plan", "--effect", 1, "--study", path)
    assert ran.code == 2
    assert nondet("plan", "--effect", 1, "--study", path, "--arm", "method,dataset", "--of", "base, stl").code == 0
    (tmp_path / "u.csv").write_text(path.read_text() + "\nbase,lone,0,3\nbase,lone,1,4\naug,lone,0,3\n")
    ran = nondet("compare", tmp_path / "u.csv", "--of", "base", "--with", "aug", "--json")
    assert [one["dataset"] for one in ran.json["datasets"]] == list(SETS)
    assert "warning: left out: lone, where an arm has fewer than two scores" in ran.err


def test_python_and_the_table(tmp_path: Path) -> None:
    found = nd.compare(table(tmp_path, made()), of="base", with_=["aug"])
    assert found.verdict == "better"
    assert len(found.tidy()["dataset"]) == len(SETS)
    assert "mean of all" in repr(found)
