"""A runner in one file, which trains no network at all: its runs make a study like any other."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nondet as nd
from nondet.runners.base import OnEpoch, Places, Runner
from nondet.sources import stream
from nondet.study.spec import Outcome

Nondet = Callable[..., Any]


class Logistic(Runner):
    """Logistic regression by numpy: the initial weights and the order of the examples vary."""

    name = "logistic"
    sources = ("init", "shuffle")
    epochs = 3

    def __init__(self, rate: float = 0.1, stop_after: int | None = None) -> None:
        rng = np.random.default_rng(0)
        self.x = rng.standard_normal((80, 3))
        truth = (self.x[:, 0] + 0.5 * rng.standard_normal(80) > 0).astype(np.int64)
        self.y, self.labels, self.recipe = truth[:40], truth[40:], {"rate": rate}
        self.made, self.stop_after = 0, stop_after

    def produce(self, seeds: Sequence[Mapping[str, int]], places: Places, on_epoch: OnEpoch) -> list[Outcome]:
        return [self.one(run) for run in seeds]

    def one(self, run: Mapping[str, int]) -> Outcome:
        if self.stop_after is not None and self.made >= self.stop_after:
            raise KeyboardInterrupt
        self.made += 1
        weights = stream("init", run["init"]).normal(size=3)
        losses = []
        for epoch in range(self.epochs):
            for i in stream("shuffle", run["shuffle"], epoch).permutation(40):
                chance = 1 / (1 + np.exp(-self.x[i] @ weights))
                weights += self.recipe["rate"] * (self.y[i] - chance) * self.x[i]
            losses.append(float(np.mean(np.log1p(np.exp(-(2 * self.y - 1) * (self.x[:40] @ weights))))))
        score = self.x[40:] @ weights
        outputs = np.stack([np.zeros_like(score), score], axis=1).astype(np.float32)
        return Outcome({"outputs": outputs, "curves.loss": np.array(losses)})


def test_its_runs_are_a_study(nondet: Nondet, tmp_path: Path) -> None:
    """Trained, shown with a control of zero, reported, and compared, by the API and by the command line."""
    a = nd.run(Logistic(), runs=8, folder=tmp_path / "a")
    nd.run(Logistic(rate=0.001), runs=8, folder=tmp_path / "b")
    found = json.loads(nondet("show", tmp_path / "a", "--json").out)
    assert found["control"]["identical"] is True
    assert [c["name"] for c in found["conditions"]] == ["init", "shuffle", "all"]
    assert a["all"].outputs.shape == (8, 40, 2)
    assert a["all"].curves["loss"].shape == (8, 3)
    assert nondet("report", tmp_path / "a").code == 0
    assert nondet("verify", tmp_path / "a").code == 0
    assert nd.compare(tmp_path / "a", tmp_path / "b")[0].runs == (8, 8)


def test_it_goes_on_after_an_interruption(tmp_path: Path) -> None:
    """What was made before a stop is never made again, and the study is the one of an uninterrupted command."""
    nd.run(Logistic(), runs=5, vary="all", folder=tmp_path / "whole")
    with pytest.raises(nd.Stopped, match=r"Stopped. 3 of 6 runs are safe"):
        nd.run(Logistic(stop_after=3), runs=5, vary="all", folder=tmp_path / "s")
    later = Logistic()
    nd.run(later, runs=5, vary="all", folder=tmp_path / "s")
    assert later.made == 4  # the three that were missing, and the reference run, which proves that it is as before
    blobs = [{p.name: p.read_bytes() for p in (tmp_path / n / "runs").glob("*.safetensors")} for n in ("whole", "s")]
    assert blobs[0] == blobs[1]


def test_another_training_is_refused(tmp_path: Path) -> None:
    """A runner that names another recipe adds nothing; one that trains otherwise in silence is found out."""
    nd.run(Logistic(), runs=3, folder=tmp_path / "s")
    with pytest.raises(nd.BadInput, match="was made with another recipe"):
        nd.run(Logistic(rate=0.2), runs=4, folder=tmp_path / "s")
    other = Logistic()
    other.x = other.x * 1.5
    with pytest.raises(nd.BadInput, match="a control run trained here differs from that of"):
        nd.run(other, runs=4, folder=tmp_path / "s")


def test_a_late_onset_needs_states(tmp_path: Path) -> None:
    with pytest.raises(nd.BadInput, match="an onset continues from a stored state, but its runs keep no states"):
        nd.run(Logistic(), runs=3, onset=1, folder=tmp_path / "s")
