"""Collapsed, outlying and skewed runs are named, few runs get a caution, and each command has the same interval."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

import nondet as package
from nondet.measures.shape import few_runs, shape_of, shape_words, unseen

Nondet = Callable[..., Any]
RNG = np.random.Generator(np.random.Philox(11))
SOUND = 94 + 0.3 * RNG.normal(size=20)
BETTER = SOUND + 0.6 + 0.1 * RNG.normal(size=20)


def collapsing(value: float) -> list[float]:
    values = BETTER.copy()
    values[[3, 11]] = value
    return values.tolist()


def test_what_is_seen_of_values() -> None:
    """Nothing of normal values; and of others what an independent look at them says."""
    values = stats.norm.ppf((np.arange(40) + 0.5) / 40)
    assert shape_words(shape_of(values), values, "accuracy") == []
    odd = np.append(values, -8.0)
    robust = stats.median_abs_deviation(odd, scale="normal")
    assert 5 < abs(odd[-1] - np.median(odd)) / robust < 10
    assert (shape_of(odd).outlying, shape_of(odd).collapsed) == ((40,), ())
    far = np.append(values, -30.0)
    assert shape_of(far).collapsed == (40,)
    assert (shape_of(-far).outlying, shape_of(-far).collapsed) == ((40,), ())  # better than others is not collapsed
    assert shape_of(-far, better=-1).collapsed == (40,)
    assert shape_of(stats.expon.ppf((np.arange(40) + 0.5) / 40)).skewed
    ceiling = np.array([100.0] * 12 + [98.0, 97.0, 99.0, 99.5])
    said = " ".join(shape_words(shape_of(ceiling), ceiling, "accuracy"))
    assert "12 of 16 runs share the highest or lowest accuracy" in said
    assert shape_of(np.full(10, 5.0)).collapsed == ()


def test_one_class_is_collapsed() -> None:
    """A run that answers only one class has collapsed, however well that does, unless that class is all there is."""
    predicted = RNG.integers(0, 3, (6, 30))
    predicted[2] = 1
    labels = RNG.integers(0, 3, 30)
    values = 100 * (predicted == labels).mean(axis=1)
    assert shape_of(values, 1, predicted, labels).one_class == (2,)
    assert shape_of(values, 1, predicted, np.ones(30, dtype=int)).one_class == ()
    found = package.measure(predicted, labels)
    assert any(note.startswith("Run 3 (") and "answers only one class" in note for note in found.notes)


def test_collapsed_runs_have_both_verdicts() -> None:
    """Of all runs, and of the sound ones alone; text and JSON name the runs."""
    found = package.compare({"base": SOUND.tolist(), "aug": collapsing(10.0)})
    record = found.to_dict()
    assert record["verdict"] == record["verdicts"]["all"] == "undecided"
    assert record["verdicts"]["sound"] == "better"
    assert record["collapsed"] == {"a": [], "b": ["4", "12"]}
    assert "from the sound runs alone: better" in repr(found).replace("\n", " ")
    sound = package.compare({"base": SOUND.tolist(), "aug": np.delete(collapsing(10.0), [3, 11])}).to_dict()
    assert sound["verdict"] == "better"
    assert sound["verdicts"] == {"all": None, "sound": None}


def test_failed_runs_count_as_the_worst() -> None:
    """Where half of one arm fails, it is worse over all runs, though the runs that are left are better."""
    values = BETTER.copy()
    values[:14] = math.nan
    record = package.compare({"base": SOUND.tolist(), "aug": values.tolist()}).to_dict()
    assert (record["failed"], record["runs"]) == ({"a": 0, "b": 14}, {"a": 20, "b": 6})
    assert record["verdicts"] == {"all": "worse", "sound": record["verdict"]}
    assert record["verdict"] == "better"
    oracle = stats.mannwhitneyu(np.append(values[14:], np.full(14, -1e9)), SOUND)
    assert oracle.pvalue < 0.05


def test_few_runs_are_cautioned_in_the_json(nondet: Nondet, tmp_path: Path) -> None:
    """`compare`, `plan` and `alike` say so, as text and as JSON; twenty runs get one for rare runs alone."""
    np.save(tmp_path / "a.npy", SOUND[:6])
    np.save(tmp_path / "b.npy", BETTER[:6])
    few = "Intervals of fewer than 20 runs are rough"
    for words in (
        ("compare", tmp_path / "a.npy", tmp_path / "b.npy"),
        ("plan", "--effect", 0.5, "--study", tmp_path / "a.npy"),
        ("alike", tmp_path / "a.npy", tmp_path / "b.npy"),
    ):
        assert nondet(*words, "--json").json["notes"][-1].startswith(few)
        assert few in nondet(*words).out.replace("\n", " ")
    (rare,) = package.compare({"a": SOUND.tolist(), "b": BETTER.tolist()}).to_dict()["notes"]
    assert "one that affects up to 14 % of runs may not show in 20" in rare
    rng = np.random.Generator(np.random.Philox(13))
    a, b = rng.normal(size=(2, 60))
    assert few_runs({"a": len(a), "b": len(b)}) == ""


def test_a_share_of_rare_runs_that_may_not_show() -> None:
    """None of N runs collapses with a chance of 5 %, where that share of all does; from 59 runs on it is below 5 %."""
    for runs in (5, 20, 58, 59):
        share = unseen(runs)
        assert stats.binom.pmf(0, runs, share) == pytest.approx(0.05)
        assert share == pytest.approx(3 / runs, rel=0.3)
        assert bool(few_runs({"a": runs, "b": 1000})) == (share > 0.05)
    assert few_runs({"a": 1, "b": 0}) == ""
    assert "affects up to 45 % of runs may not show in 5" in few_runs({"a": 5, "b": 30})


def test_alike_names_runs_that_collapsed() -> None:
    """Two arms of which one has a collapsed run: it is named, and said to be what the SD is of."""
    found = package.alike({"base": SOUND.tolist(), "aug": collapsing(10.0)}).to_dict()
    notes = " ".join(found["notes"])
    assert "aug: runs 4 (10), 12 (10) collapsed" in notes
    assert "Such runs make up most of an SD" in notes
    sound = package.alike({"base": SOUND.tolist(), "aug": BETTER.tolist()}).to_dict()
    assert "collapsed" not in " ".join(sound["notes"])


def test_no_verdict_from_an_interval_that_the_permutation_test_contradicts() -> None:
    """Three against thirty of equal, skewed values: a verdict stands only where both tests find a difference."""
    rng = np.random.Generator(np.random.Philox(8))
    verdicts, welch = 0, 0
    for _ in range(60):
        a, b = rng.exponential(size=30), rng.exponential(size=3)
        found = package.compare({"a": a.tolist(), "b": b.tolist()})[0]
        welch += found.p_value <= 0.05
        if found.verdict != "undecided":
            verdicts += 1
            assert max(found.p_value, found.p_permutation) <= 0.05
        elif found.p_value <= 0.05:
            assert any("permutation test" in note for note in found.notes)
            assert (found.more_runs or 0) > 1
    assert verdicts <= 0.05 * 60 + 4 * math.sqrt(0.05 * 0.95 * 60)
    assert welch >= verdicts


def test_more_runs_are_enough_for_the_permutation_test() -> None:
    """Where the t-test would be content at once, exchanges that cannot reach the level ask for more runs."""
    record = package.compare({"a": [90.0, 90.1, 90.2], "b": [90.4, 90.6, 90.5]}).to_dict()
    assert record["p_value"] < 0.05 < record["p_permutation"]
    if record["verdict"] == "undecided":
        runs = 3 + record["more_runs"]
        assert 2 / math.comb(2 * runs, runs) <= 0.05
        assert record["more_runs"] >= 1


def test_each_command_has_the_same_interval(study: Path) -> None:
    """Of the same runs `show`, `measure` and `plan` give the same intervals of mean and SD, and so do their scores."""
    opened = package.open(study)
    runs = opened["init"]
    shown = package.show(study)["init"].measures
    assert shown is not None
    measured, outputs = package.measure(runs), package.measure(runs.outputs, runs.labels)
    planned = package.plan(1.0, pilot=f"{study}:init")
    values = 100 * (runs.outputs.argmax(-1) == runs.labels).mean(axis=1)
    scored = package.measure({"init": values.tolist()})["init"]
    assert np.ptp(values) > 0
    for found in (measured, outputs):
        assert found["accuracy.sd"] == shown["accuracy.sd"]
        assert found["accuracy.mean"] == shown["accuracy.mean"]
    high = min(50.0, scored.sd.high)
    assert (planned.sd.low, planned.sd.high) == pytest.approx((shown["accuracy.sd"].low, shown["accuracy.sd"].high))
    assert (scored.sd.low, high) == pytest.approx((planned.sd.low, planned.sd.high))


def test_a_verdict_on_scores_names_no_test_set() -> None:
    """Of scores alone nobody knows what they were measured on; a plan has the metric without points."""
    found = package.compare({"a": SOUND.tolist(), "b": BETTER.tolist()})[0]
    assert found.verdict == "better"
    assert "test set" not in found.sentence
    alike = package.compare(SOUND.tolist(), BETTER.tolist(), margin=2)[0]
    assert "are alike within the margin: score differs" in alike.sentence
    assert "a difference of 0.01 of score with" in package.plan(0.01, pilot=(SOUND / 100).tolist()).sentence
    outputs = (RNG.integers(0, 3, (4, 30)), np.zeros(30, dtype=int))
    assert "a difference of 1 point of accuracy with" in package.plan(1, pilot=outputs).sentence


def test_a_verdict_on_skewed_values_of_unequal_sds_has_a_caution() -> None:
    """Where both tests are too bold a note says by how much; not of symmetric values, nor of nearly equal SDs."""
    a, b = np.random.Generator(np.random.Philox(12)).exponential(size=(2, 60))
    normal = stats.norm.ppf((np.arange(60) + 0.5) / 60)
    for x, y, said in ((a, 9 - 3 * b, True), (a, 9 - b, False), (normal, 3 * normal, False)):
        found = package.compare({"a": x.tolist(), "b": (y + 5).tolist()})[0]
        assert found.verdict == "better"
        assert any("SDs differ by a factor" in note for note in found.notes) == said
