"""What a comparison can go by: a chance, other test sets, several looks; and what two conditions of a study are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import nondet as nd
from nondet.analysis.arms import read_arms
from nondet.analysis.compare import by_chance, compare
from nondet.errors import BadInput
from nondet.reporting.verdicts import of_comparison
from nondet.stats.looks import look_level, steps
from nondet.stats.means import welch

Nondet = Callable[..., Any]


@pytest.fixture(scope="module")
def outputs() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Outputs of six and eight runs on 120 examples, which differ in what is hard, and their labels."""
    rng = np.random.Generator(np.random.Philox(8))
    labels = rng.integers(3, size=120)
    hard = rng.normal(size=(2, 120, 3))
    a = hard[0] + 1.2 * np.eye(3)[labels] + 0.7 * rng.normal(size=(6, 120, 3))
    b = 0.5 * hard[0] + hard[1] + 1.4 * np.eye(3)[labels] + 0.7 * rng.normal(size=(8, 120, 3))
    return a, b, labels


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.55, 0.9, "better"),
        (0.1, 0.4, "worse"),
        (0.3, 0.7, "alike"),
        (0.55, 0.7, "alike"),
        (0.4, 0.8, "undecided"),
        (0.2, 0.6, "undecided"),
    ],
)
def test_the_verdict_by_a_chance(low: float, high: float, verdict: str) -> None:
    """Bouthillier et al. 2021: significant if the interval lies above 0.5, meaningful if it passes 0.75."""
    assert by_chance(low, high, 0.75) == verdict


def test_compare_by_a_chance(nondet: Nondet, tmp_path: Path) -> None:
    """A difference of means that is certain and small is alike by the chance; one that is not, better."""
    rng = np.random.Generator(np.random.Philox(4))
    for name, shift in (("base", 0.0), ("small", 0.35), ("large", 1.5)):
        (tmp_path / f"{name}.txt").write_text("\n".join(f"{90 + shift + v:.4f}" for v in rng.normal(size=300)))
    base, small, large = (tmp_path / f"{name}.txt" for name in ("base", "small", "large"))
    assert nondet("compare", base, small, "--json").json["verdict"] == "better"
    found = nondet("compare", base, small, "--chance", 0.75, "--json").json
    assert (found["verdict"], found["chance"]) == ("alike", 0.75)
    assert nondet("compare", base, large, "--chance", 0.75, "--json").json["verdict"] == "better"
    ran = nondet("compare", base, large, "--chance", 0.4)
    assert (ran.code, "--chance must be above 0.5" in ran.err) == (2, True)
    assert "--margin 1" in nondet("compare", base, large, "--chance", 0.75, "--margin", 1).err


def test_other_test_sets_widen_the_interval_as_a_bootstrap_of_both_does(
    outputs: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    """The squared error is that over runs and that over examples: the pigeonhole bootstrap of an independent loop."""
    a, b, labels = outputs
    plain = nd.compare((a, labels), (b, labels))[0]
    wide = nd.compare((a, labels), (b, labels), examples=True)[0]
    right = [100.0 * (x.argmax(-1) == labels) for x in (a, b)]
    assert plain.difference.error == pytest.approx(welch(right[0].mean(1), right[1].mean(1)).error)
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(3000):
        examples = rng.integers(120, size=120)
        means = [x[rng.integers(len(x), size=len(x))][:, examples].mean() for x in right]
        drawn.append(means[1] - means[0])
    # a bootstrap of both counts each cell's own scatter three times instead of once (Owen 2007), and runs by ddof = 0
    cells = sum(x.var(axis=0, ddof=1).mean() / x.size for x in right)
    runs = plain.difference.error**2
    ddof = sum(x.mean(1).var(ddof=1) / len(x) ** 2 for x in right)
    assert wide.difference.error**2 == pytest.approx(np.var(drawn) - 2 * cells + ddof, rel=0.12)
    assert wide.difference.error**2 > 1.5 * runs
    assert wide.difference.value == plain.difference.value
    assert "test sets like this one" in wide.sentence or wide.verdict == "undecided"
    with pytest.raises(BadInput, match="examples is for outputs of classifiers"):
        nd.compare({"a": [1.0, 2.0, 3.0], "b": [2.0, 3.0, 5.0]}, examples=True)


def test_conditions_of_one_study_are_different_and_not_better(
    nondet: Nondet, finished: Path, outputs: tuple[np.ndarray, np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    """A source is not better than another, whatever the interval says; recipes are, in words and JSON."""
    ran = nondet("compare", f"{finished}:init", f"{finished}:shuffle", "--json")
    assert (ran.code, ran.json["compared"]) == (0, "conditions"), ran.err
    a, b, labels = outputs
    arms = read_arms([(a, labels), (b, labels)])
    far = [replace(x, values=place + np.arange(len(x)) / 100) for place, x in enumerate(arms)]
    assert compare(far)[0].verdict == "better"
    assert compare(far)[0].to_dict()["compared"] == "recipes"
    of_one: Any = SimpleNamespace(folder=tmp_path, until=None, environment={})
    found = compare([replace(x, runs=replace(x.runs, study=of_one)) for x in far])[0]
    assert (found.verdict, found.to_dict()["compared"]) == ("different", "conditions")
    words = of_comparison(found).text
    assert "neither of them better" in words
    assert "is better" not in words


def test_looks_share_the_level(nondet: Nondet, tmp_path: Path) -> None:
    """Of three looks each has 1.7 % of 5: what is found at the first alone is no longer found."""
    assert look_level(0.05, 1) == 0.05
    assert look_level(0.05, 3) == pytest.approx(1 - 0.95 ** (1 / 3))
    assert steps(20, 3) == [7, 14, 20]
    path = tmp_path / "s.csv"
    rows = [f"a,{v}" for v in (1.0, 2.0, 3.0, 4.0, 2.5)] + [f"b,{v}" for v in (3.2, 4.4, 5.1, 3.9, 4.8)]
    path.write_text("\n".join(["method,accuracy", *rows]))
    once, thrice = (nondet("compare", path, "--looks", looks, "--json").json for looks in (1, 3))
    assert 0.017 < once["p_value"] < 0.05
    assert (once["verdict"], thrice["verdict"]) == ("better", "undecided")
    assert thrice["level"] == pytest.approx(look_level(0.05, 3))
    assert thrice["difference"]["low"] < once["difference"]["low"]
    low, high = thrice["more_runs_range"]["low"], thrice["more_runs_range"]["high"]
    assert low <= thrice["more_runs"] <= (high or 10_000)
    assert nondet("compare", path, "--looks", 0).code == 2


def test_peeking_errs_and_planned_looks_do_not() -> None:
    """Of equal arms looked at after 5, 10, ... 25 runs: too many are found at 5 %, and at the looks' level not."""
    rng = np.random.Generator(np.random.Philox(6))
    found = np.zeros(2)
    for a, b in rng.normal(size=(600, 2, 25)):
        p = min(welch(a[:n], b[:n]).p_value() or 1.0 for n in steps(25, 5))
        found += p < 0.05, p < look_level(0.05, 5)
    assert found[0] / 600 > 0.09
    assert found[1] / 600 < 0.05


def test_a_plan_of_several_looks(nondet: Nondet) -> None:
    """It takes more runs than one look, says after how many to look, and each look's level."""
    once, thrice = (nondet("plan", "--effect", 1, "--sd", 1, "--looks", n, "--json").json for n in (1, 3))
    assert (once["runs_per_arm"], once["look_after"]) == (17, [17])
    assert thrice["level"] == pytest.approx(look_level(0.05, 3))
    assert thrice["look_after"] == steps(thrice["runs_per_arm"], 3)
    assert 17 < thrice["runs_per_arm"] < 26
    assert "looked at after 8, 16 and 23 runs of each" in thrice["sentence"]


def test_examples_in_groups(nondet: Nondet, outputs: tuple[np.ndarray, np.ndarray, np.ndarray], tmp_path: Path) -> None:
    """Questions on one text are fewer than they look, in measure and in compare, from a file as from an array."""
    a, b, labels = outputs
    four = [np.repeat(x, 4, axis=1) for x in (a, b)]
    groups = np.repeat(np.arange(len(labels)), 4)
    for name, array in zip("aby", (*four, np.repeat(labels, 4)), strict=True):
        np.save(tmp_path / f"{name}.npy", array)
    (tmp_path / "groups.txt").write_text("".join(f"text {group}\n" for group in groups))
    paths = [tmp_path / f"{name}.npy" for name in "ab"]
    words = ("--labels", tmp_path / "y.npy", "--json")
    expected = nd.compare((a, labels), (b, labels), examples=True)[0].difference
    ran = nondet("compare", *paths, *words, "--groups", tmp_path / "groups.txt")
    assert ran.code == 0, ran.err
    found = ran.json["difference"]
    assert (found["low"], found["high"]) == (
        pytest.approx(expected.low, rel=1e-6),
        pytest.approx(expected.high, rel=1e-6),
    )
    assert "120 groups of the 480 test examples" in " ".join(ran.json["notes"])
    alone = nondet("compare", *paths, *words, "--examples").json["difference"]
    assert alone["high"] - alone["low"] < found["high"] - found["low"]
    errors = [
        nondet("measure", paths[0], *words, *more).json["errors"]["accuracy.mean"]
        for more in ((), ("--examples",), ("--groups", tmp_path / "groups.txt"))
    ]
    assert errors == sorted(errors)
    assert errors[2] == nd.measure(four[0], np.repeat(labels, 4), groups=groups)["accuracy.mean"].error
    (tmp_path / "groups.txt").write_text("one\n" * 7)
    ran = nondet("measure", paths[0], *words, "--groups", tmp_path / "groups.txt")
    assert (ran.code, "one group for each of the 480 test examples (got 7)" in ran.err) == (2, True)


def test_groups_of_one_run_each_are_its_clusters() -> None:
    """Both words say the same there; scores have no examples that could be in groups."""
    rng = np.random.default_rng(3)
    a, b = (rng.integers(0, 2, size=(1, 200)) for _ in range(2))
    groups = np.repeat(np.arange(20), 10)
    labels = np.ones(200, dtype=np.int64)
    one = nd.compare(a, b, labels=labels, groups=groups)[0]
    assert one == nd.compare(a, b, labels=labels, cluster=groups)[0]
    assert one.clusters == 20
    with pytest.raises(BadInput, match="leave one of them out"):
        nd.compare(a, b, labels=labels, groups=groups, cluster=groups)
    with pytest.raises(BadInput, match="for outputs"):
        nd.compare({"a": [1.0, 2.0, 3.0], "b": [2.0, 3.0, 5.0]}, groups=[1, 2])
    with pytest.raises(BadInput, match="groups is for outputs"):
        nd.measure({"a": [1.0, 2.0, 3.0]}, groups=[1, 2])


def test_a_chance_of_several_arms_divides_the_level() -> None:
    """Three equal arms beside A: verdicts go by intervals at a third of the level, as those of the means do."""
    rng = np.random.Generator(np.random.Philox(21))
    base = rng.normal(size=20)
    scores = {"base": base.tolist(), "b": (base + 0.001).tolist()}
    for shift in np.arange(0.4, 1.2, 0.01):  # the first at which one comparison alone decides
        scores["b"] = (np.roll(base, 7) + shift).tolist()
        if nd.compare(scores, chance=0.75)[0].verdict == "better":
            break
    several = nd.compare({**scores, "c": base.tolist(), "d": base[::-1].tolist()}, chance=0.75)
    first = several[0]
    assert (first.verdict, first.superiority_interval[0] > 0.5) == ("undecided", True)
    assert "at 98.3 %" in " ".join(first.notes)
    assert (first.more_runs or 0) > 0


def test_groups_of_a_column(nondet: Nondet, tmp_path: Path) -> None:
    """A column of the table of outputs names the groups, whatever the order of its rows; other words are refused."""
    rng = np.random.default_rng(4)
    topic, right = rng.integers(0, 12, size=60), rng.random(60) < 0.7
    right[topic < 4] = False
    hits = np.where(rng.random((2, 6, 60)) < 0.9, right, ~right).astype(int)
    for name, arm in zip("ab", hits, strict=True):
        rows = [f"{r},{e},1,{arm[r, e]},topic {topic[e]}" for r in range(6) for e in range(60)]
        table = "\n".join(["run,example,label,pred,topic", *rng.permutation(rows)])
        (tmp_path / f"{name}.csv").write_text(table)
    ran = nondet("measure", tmp_path / "a.csv", "--groups", "topic", "--json")
    assert ran.code == 0, ran.err
    expected = nd.measure(hits[0], np.ones(60, dtype=np.int64), groups=topic)["accuracy.mean"].error
    assert ran.json["errors"]["accuracy.mean"] == pytest.approx(expected)
    ran = nondet("compare", tmp_path / "a.csv", tmp_path / "b.csv", "--groups", "topic", "--json")
    assert ran.code == 0, ran.err
    assert "12 groups of the 60 test examples" in " ".join(ran.json["notes"])
    ran = nondet("measure", tmp_path / "a.csv", "--groups", "subject")
    assert (ran.code, "a column of the table of outputs, or a file with one group per line" in ran.err) == (2, True)
