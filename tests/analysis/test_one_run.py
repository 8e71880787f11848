"""One run of each of two models: exact McNemar, errors over examples and clusters, and logs of harnesses."""

from __future__ import annotations

import json
from collections.abc import Callable
from math import comb
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nondet as nd
from nondet.stats.examples import difference_of, error_of_mean, mcnemar

Nondet = Callable[..., Any]


@pytest.fixture
def answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[np.ndarray, np.ndarray]:
    """Who is right on 300 examples: B on 30 where A is wrong, A on 12 where B is wrong; files of logits and labels."""
    monkeypatch.chdir(tmp_path)
    right_a, right_b = np.ones(300, bool), np.ones(300, bool)
    right_a[:30], right_b[30:42], right_a[42:90], right_b[42:90] = False, False, False, False
    labels = np.arange(300) % 3
    for name, right in (("a", right_a), ("b", right_b)):
        chosen = np.where(right, labels, (labels + 1) % 3)
        np.save(f"{name}.npy", np.eye(3)[chosen][None])
        np.save(f"{name}.scores.npy", right.astype(np.int64))
    np.save("y.npy", labels)
    return right_a, right_b


def plain_mcnemar(a_only: int, b_only: int) -> float:
    """Twice the smaller tail of a fair coin, by counting."""
    total, few = a_only + b_only, min(a_only, b_only)
    return min(1.0, 2 * sum(comb(total, k) for k in range(few + 1)) / 2**total)


def of_inspect(values: np.ndarray, clusters: np.ndarray | None = None) -> float:
    """inspect's stderr, in a plain loop."""
    if clusters is None:
        return float(np.std(values, ddof=1) / np.sqrt(len(values)))
    mean, total, names = values.mean(), 0.0, np.unique(clusters)
    for name in names:
        inside = values[clusters == name] - mean
        total += sum(x * y for x in inside for y in inside)
    return float(np.sqrt(total * len(names) / (len(names) - 1)) / len(values))


# --- the statistics ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("a_only", "b_only"), [(24, 56), (0, 5), (3, 3), (1, 0), (0, 0)])
def test_mcnemar_is_exact(a_only: int, b_only: int) -> None:
    assert mcnemar(a_only, b_only) == pytest.approx(plain_mcnemar(a_only, b_only))


def test_errors_are_inspects() -> None:
    """With and without clusters, to 12 digits."""
    rng = np.random.Generator(np.random.Philox(1))
    values, clusters = rng.random(200), rng.integers(0, 23, size=200)
    assert abs(error_of_mean(values)[0] - of_inspect(values)) < 1e-12
    assert abs(error_of_mean(values, clusters.tolist())[0] - of_inspect(values, clusters)) < 1e-12
    assert error_of_mean(values, clusters.tolist())[1] == len(np.unique(clusters)) - 1


def test_clustered_verdicts_hold() -> None:
    """Of 400 equal pairs of models whose answers hang together in 40 clusters, about 5 in 100 are called different with
    clusters, and far more without."""
    rng = np.random.Generator(np.random.Philox(2))
    groups = np.repeat(np.arange(40), 10)
    found = {"with": 0, "without": 0}
    for _ in range(400):
        a, b = (np.repeat(rng.normal(size=40), 10) + rng.normal(size=400) for _ in range(2))
        found["with"] += (difference_of(a, b, groups.tolist()).p_value() or 1) < 0.05
        found["without"] += (difference_of(a, b).p_value() or 1) < 0.05
    assert found["with"] < 400 * (0.05 + 4 * np.sqrt(0.05 * 0.95 / 400))
    assert found["without"] > 2 * found["with"]


# --- the command -------------------------------------------------------------------------------------------------


def test_one_run_each(nondet: Nondet, answers: tuple[np.ndarray, np.ndarray]) -> None:
    """Flips both ways, the exact test, the paired interval, and of what it speaks."""
    found = nondet("compare", "a.npy", "b.npy", "--labels", "y.npy", "--json").json
    assert found["mcnemar"] == {"b_only": 30, "a_only": 12, "p_value": pytest.approx(plain_mcnemar(12, 30))}
    assert found["p_value"] == found["mcnemar"]["p_value"]
    assert (found["verdict"], found["runs"], found["examples"]) == ("better", {"a": 1, "b": 1}, 300)
    right_a, right_b = answers
    assert found["difference"]["estimate"] == pytest.approx(6)
    assert found["errors"]["difference"] == pytest.approx(100 * of_inspect(right_b.astype(float) - right_a))
    assert (found["churn"], found["superiority"], found["more_runs"]) == (None, None, None)
    text = nondet("compare", "b.npy", "a.npy", "--labels", "y.npy").out
    assert "worse" in text
    assert "these two models, one run each, and not about the two recipes" in " ".join(text.split())


def test_the_same_from_scores_and_arrays(nondet: Nondet, answers: tuple[np.ndarray, np.ndarray]) -> None:
    """Right and wrong by example as 0 and 1; logits of one run without an axis of runs; predicted classes."""
    found = nondet("compare", "a.scores.npy", "b.scores.npy", "--json").json
    assert found["mcnemar"]["b_only"] == 30
    assert found["difference"]["estimate"] == pytest.approx(0.06)
    logits, labels = np.load("b.npy")[0], np.load("y.npy")
    other: Any = nd.compare(np.load("a.npy").argmax(axis=2), logits, labels=labels)
    assert other[0].better_in == 30
    assert other.verdict == "better"


def test_a_margin(nondet: Nondet, answers: tuple[np.ndarray, np.ndarray]) -> None:
    """Alike where the difference lies inside; without any flip by the examples that did not flip; else undecided."""
    words = ("--labels", "y.npy", "--json", "--margin")
    assert nondet("compare", "a.npy", "b.npy", *words, 12).json["verdict"] == "alike"
    np.save("a2.npy", 2 * np.load("a.npy"))
    same = nondet("compare", "a.npy", "a2.npy", *words, 1.5).json
    assert same["p_alike"] == pytest.approx(0.985**300)
    assert same["verdict"] == "alike"
    assert nondet("compare", "a.npy", "a2.npy", *words, 0.5).json["verdict"] == "undecided"


def test_runs_have_no_flips(nondet: Nondet, tmp_path: Path) -> None:
    """Of several runs each, mcnemar is null, and clusters are refused."""
    rng = np.random.Generator(np.random.Philox(3))
    for name in ("a", "b"):
        np.save(tmp_path / f"{name}.npy", rng.normal(size=(3, 20, 2)))
    np.save(tmp_path / "y.npy", np.arange(20) % 2)
    words = ("compare", tmp_path / "a.npy", tmp_path / "b.npy", "--labels", tmp_path / "y.npy", "--json")
    assert nondet(*words).json["mcnemar"] is None
    ran = nondet(*words, "--cluster", "x")
    assert ran.code == 2
    assert "--cluster" in ran.err


# --- logs --------------------------------------------------------------------------------------------------------


def harness(name: str, right: np.ndarray, hashes: str = "h") -> str:
    lines = [
        {
            "doc_id": i,
            "doc": {"question": f"q{i}", "passage": int(i) // 5},
            "target": "1",
            "resps": [["x"]],
            "filtered_resps": ["x"],
            "filter": kind,
            "metrics": ["exact_match"],
            "doc_hash": f"{hashes}{i}",
            "exact_match": float(value and kind == "flexible-extract"),
        }
        for i, value in enumerate(right)
        for kind in ("strict-match", "flexible-extract")
    ]
    Path(name).write_text("".join(json.dumps(line) + "\n" for line in lines))
    return name


def inspect_log(name: str, right: np.ndarray) -> str:
    samples = [
        {
            "id": i,
            "epoch": epoch,
            "target": "C",
            "metadata": {"passage": f"p{i // 5}"},
            "scores": {"match": {"value": "C" if value else "I"}, "style": {"value": 0.5}},
        }
        for i, value in enumerate(right.tolist())
        for epoch in (1, 2)
    ]
    Path(name).write_text(json.dumps({"version": 2, "eval": {}, "results": {}, "samples": samples}))
    return name


@pytest.mark.parametrize("write", [harness, inspect_log])
def test_logs_of_harnesses(
    nondet: Nondet, answers: tuple[np.ndarray, np.ndarray], write: Callable[[str, np.ndarray], str]
) -> None:
    """Examples meet by their names; clusters come from what the log says of them; errors are inspect's."""
    suffix = ".jsonl" if write is harness else ".json"
    a, b = write(f"a{suffix}", answers[0]), write(f"b{suffix}", answers[1])
    metric = "exact_match,flexible-extract" if write is harness else "match"
    found = nondet("compare", a, b, "--metric", metric, "--cluster", "passage", "--json").json
    assert (found["mcnemar"]["b_only"], found["mcnemar"]["a_only"], found["clusters"]) == (30, 12, 60)
    groups = np.arange(300) // 5
    for side, right in zip("ab", answers, strict=True):
        assert abs(found["errors"][side] - of_inspect(right.astype(float), groups)) < 1e-12
    assert found["p_value"] > found["mcnemar"]["p_value"]
    ran = nondet("compare", a, b, "--metric", metric, "--cluster", "nothing")
    assert ran.code == 2
    assert "'passage'" in ran.err
    assert nondet("compare", a, b, "--metric", "f1").code == 2


def test_other_examples_are_refused(nondet: Nondet, answers: tuple[np.ndarray, np.ndarray]) -> None:
    """Examples of one name that are others by their hash; and some that are only in one log are left out, and said."""
    a, b = harness("a.jsonl", answers[0]), harness("b.jsonl", answers[1], "other")
    ran = nondet("compare", a, b)
    assert ran.code == 2
    assert "is not the same in" in ran.err
    fewer = harness("c.jsonl", answers[1][:200])
    notes = nondet("compare", a, fewer, "--metric", "exact_match,flexible-extract", "--json").json["notes"]
    assert "100 examples" in notes[0]


def test_tables_by_example(nondet: Nondet, answers: tuple[np.ndarray, np.ndarray]) -> None:
    """Any score, in any order; a loss is better when lower."""
    rng = np.random.Generator(np.random.Philox(4))
    losses = rng.random(100)
    for name, shift, order in (("a.csv", 0.1, 1), ("b.csv", 0.0, -1)):
        rows = [f"q{i},{losses[i] + shift + 0.05 * rng.random()},{i % 7}" for i in range(100)][::order]
        Path(name).write_text("question_id,loss,topic\n" + "\n".join(rows) + "\n")
    found = nondet("compare", "a.csv", "b.csv", "--metric", "loss", "--json").json
    assert (found["verdict"], found["mcnemar"], found["worse_in"]) == ("better", None, 100)
    assert nondet("compare", "a.csv", "b.csv", "--metric", "loss", "--cluster", "topic", "--json").json["clusters"] == 7
