"""`nondet alike` of arms that no study made: whether their runs vary alike, by their scores or their outputs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nondet as nd
from nondet.stats.equivalence import same_effect

Nondet = Callable[..., Any]


def table(folder: Path, sds: dict[str, float], runs: int = 30) -> Path:
    rng = np.random.default_rng(1)
    rows = [f"{name},{s},{v:.6f}" for name, sd in sds.items() for s, v in enumerate(90 + sd * rng.normal(size=runs))]
    path = folder / "t.csv"
    path.write_text("\n".join(["method,seed,accuracy", *rows]))
    return path


def test_several_arms_of_scores(nondet: Nondet, tmp_path: Path) -> None:
    """One test of all arms, and one of each pair, of the metric's SD."""
    path = table(tmp_path, {"a": 1, "b": 1, "c": 5})
    ran = nondet("alike", path, "--json")
    assert ran.code == 0, ran.err
    found = ran.json
    assert [test["metric"] for test in found["omnibus"]] == ["accuracy.sd"]
    assert found["omnibus"][0]["p_value"] < 0.01
    verdicts = {(pair["a"], pair["b"]): pair["verdict"] for pair in found["pairs"]}
    assert verdicts == {("a", "b"): "undecided", ("a", "c"): "different", ("b", "c"): "different"}
    assert found["runs"] == {"a": 30, "b": 30, "c": 30}
    measured = {arm["name"]: arm["sd"] for arm in nondet("measure", path, "--json").json["arms"]}
    ratios = {(pair["a"], pair["b"]): pair["ratio"] for pair in found["pairs"]}
    assert ratios[("a", "c")] == pytest.approx(measured["a"] / measured["c"])
    assert "The arms do not all vary alike" in nondet("alike", path).out


def test_arms_with_few_runs_are_left_out(nondet: Nondet, tmp_path: Path) -> None:
    rows = [f"{m},{v}" for m, values in (("a", range(5)), ("b", range(6)), ("c", range(2))) for v in values]
    path = tmp_path / "t.csv"
    path.write_text("\n".join(["method,acc", *rows]))
    found = nondet("alike", path, "--json").json
    assert found["left_out"] == [{"condition": "c", "reason": "2 sound runs, but 5 are needed"}]
    path.write_text("\n".join(["method,acc", *rows[:5], *rows[-2:]]))
    ran = nondet("alike", path)
    assert ran.code == 2
    assert "two arms must have at least 5 sound runs each" in ran.err


def test_outputs(nondet: Nondet, tmp_path: Path) -> None:
    """Of outputs each of their figures, as of a study's conditions."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 50)
    for name, noise in (("a", 1.0), ("b", 1.0)):
        np.save(tmp_path / f"{name}.npy", 2 * np.eye(3)[labels] + noise * rng.normal(size=(6, 50, 3)))
    np.save(tmp_path / "y.npy", labels)
    words = (tmp_path / "a.npy", tmp_path / "b.npy", "--labels", tmp_path / "y.npy", "--json")
    found = nondet("alike", *words).json
    assert {test["metric"] for test in found["omnibus"]} >= {"accuracy.sd", "cross_entropy.sd", "disagreement"}


def test_predicted_classes(nondet: Nondet, tmp_path: Path) -> None:
    """Arms without logits have the measures that need none, and so has an arm with logits beside one without."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 50)
    for name in ("a", "b"):
        logits = 2 * np.eye(3)[labels] + rng.normal(size=(6, 50, 3))
        np.savez(tmp_path / f"{name}.npz", outputs=logits, labels=labels)
        np.savez(tmp_path / f"{name}_classes.npz", outputs=logits.argmax(-1), labels=labels)
    for first in ("a_classes.npz", "a.npz"):
        ran = nondet("alike", tmp_path / first, tmp_path / "b_classes.npz", "--json")
        assert ran.code == 0, ran.err
        assert {test["metric"] for test in ran.json["omnibus"]} == {"accuracy.sd", "disagreement"}


def test_python() -> None:
    """Numbers by name, as a program has them."""
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=10), rng.normal(size=12)
    found = nd.alike({"a": a, "b": b}, 1.5)
    assert found.margin == 1.5
    assert found.groups[0].omnibus[0].p_value == pytest.approx(same_effect([a, b], spread=True))
