"""One SD: `show`, `measure`, `plan` and `compare` say the same of the same runs, with the same interval."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nondet.study.record import load

Nondet = Callable[..., Any]


def stacked(folder: Path, condition: str, to: Path) -> tuple[Path, Path]:
    """A condition's outputs and their labels, saved as somebody else's."""
    study = load(folder)
    (chosen,) = (c for c in study.conditions if c.name == condition)
    keys = [spec.key for spec in chosen.specs(study.identity, study.sources)]
    np.save(to / "o.npy", np.stack([study.store.get(key).arrays["outputs"] for key in keys]))
    np.save(to / "l.npy", study.labels)
    return to / "o.npy", to / "l.npy"


@pytest.mark.parametrize("metric", ["accuracy", "cross_entropy"])
@pytest.mark.parametrize("condition", ["init", "all"])
def test_four_commands_say_one_sd(nondet: Nondet, finished: Path, tmp_path: Path, metric: str, condition: str) -> None:
    """Of a study's condition and of its outputs in files: the SD to the last bit, and its interval."""
    outputs, labels = stacked(finished, condition, tmp_path)
    shown = {c["name"]: c for c in nondet("show", finished, "--json").json["conditions"]}[condition]
    measured = nondet("measure", outputs, "--labels", labels, "--json").json
    sd, interval = shown[metric]["sd"], shown["intervals"][f"{metric}.sd"]
    assert (measured[metric]["sd"], measured["intervals"][f"{metric}.sd"]) == (sd, interval)
    for pilot in ((f"{finished}:{condition}",), (outputs, "--labels", labels)):
        planned = nondet("plan", "--effect", 5, "--metric", metric, "--study", *pilot, "--json").json
        assert planned["sd"] == sd
        assert list(planned["sd_interval"].values()) == interval
        assert planned["sd_unbiased"] == pytest.approx(sd * np.sqrt(3 / 2))
    other = "shuffle"
    compared = nondet("compare", f"{finished}:{condition}", f"{finished}:{other}", "--metric", metric, "--json").json
    assert compared["sd"]["a"] == sd
    assert list(compared["sd_interval"]["a"].values()) == interval


def test_the_table_and_the_sentence_have_it_too(nondet: Nondet, finished: Path) -> None:
    """What is printed is the same number."""
    shown = nondet("show", finished, "--csv").out.splitlines()
    head, row = shown[0].split(","), next(line.split(",") for line in shown if line.startswith("init,"))
    sd, low, high = (float(row[head.index(f"accuracy.sd.{side}")]) for side in ("estimate", "low", "high"))
    assert f"SD is {sd:.3g} [{low:.3g}, {high:.3g}]" in " ".join(
        nondet("plan", "--effect", 5, "--study", f"{finished}:init").out.split()
    )
    assert f"{sd:.2f} [{low:.2f}, {high:.2f}]" in nondet("show", finished, "--width", 80).out
    assert f"{sd:.2f} [{low:.2f}, {high:.2f}]" in nondet("compare", f"{finished}:init", f"{finished}:all").out


def test_scores_in_files_have_one_too(nondet: Nondet, tmp_path: Path) -> None:
    """Of numbers in a file it is that of spreadsheets, in every command."""
    values = np.random.default_rng(0).normal(90, 1, 9)
    for name in ("a.txt", "b.txt"):
        np.savetxt(tmp_path / name, values + (name == "b.txt"))
    measured = nondet("measure", tmp_path / "a.txt", "--json").json["arms"][0]
    planned = nondet("plan", "--effect", 1, "--study", tmp_path / "a.txt", "--json").json
    compared = nondet("compare", tmp_path / "a.txt", tmp_path / "b.txt", "--json").json
    assert measured["sd"] == pytest.approx(values.std(ddof=1))
    assert measured["sd"] == planned["sd"] == compared["sd"]["a"]
    assert measured["intervals"]["sd"] == list(planned["sd_interval"].values())
    assert measured["intervals"]["sd"] == list(compared["sd_interval"]["a"].values())
