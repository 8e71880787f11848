"""A source of a user's own, in one file: seen wherever sources are."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Nondet = Callable[..., Any]

FILE = """
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

import nondet as nd


@dataclass(frozen=True)
class LabelNoise:
    percent: int = 30
    source = nd.Source("labelnoise", causes="the share of wrong labels is 0")

    def draw(self, rng, n):
        return rng.integers(100, size=(n, 1))

    def apply(self, inputs, draws):
        return inputs

    def label(self, labels, draws):
        return torch.where(draws[:, 0] < self.percent, 1 - labels, labels)


rng = np.random.default_rng(0)
x = torch.from_numpy(rng.standard_normal((60, 6), dtype=np.float32))
y = (x[:, 0] > 0).long()
task = nd.Task(
    model=lambda: nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 2)),
    train=(x[:40], y[:40]),
    test=(x[40:], y[40:]),
    recipe=nd.Recipe(epochs=2, batch_size=16, lr=0.3),
    stack=4,
    augment=(LabelNoise(),),
)
"""


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "noisy.py"
    path.write_text(FILE)
    return path


@pytest.fixture(scope="module")
def study(task: Path, process: Nondet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All conditions of the noisy task, six runs each. Read it only."""
    folder = tmp_path_factory.mktemp("studies") / "noisy"
    ran = process("run", task, "--runs", 6, "--study", folder)
    assert ran.code == 0, ran.err
    return folder


def test_it_stands_in_the_table_and_the_json(nondet: Nondet, study: Path) -> None:
    """It is a condition of its own beside those of nondet's own sources, and it has an effect."""
    names = [c["name"] for c in json.loads(nondet("show", study, "--json").out)["conditions"]]
    assert names == ["init", "shuffle", "labelnoise", "order", "bit", "all"]
    (own,) = [c for c in json.loads(nondet("show", study, "--json").out)["conditions"] if c["name"] == "labelnoise"]
    assert own["vary"] == ["labelnoise"]
    assert own["dead"] is False
    assert own["cross_entropy"]["sd"] > 0
    assert "\nlabelnoise " in nondet("show", study).out


def test_all_varies_it_too(nondet: Nondet, study: Path) -> None:
    (every,) = [c for c in json.loads(nondet("show", study, "--json").out)["conditions"] if c["name"] == "all"]
    assert "labelnoise" in every["vary"]


def test_it_is_tested_with_the_others(nondet: Nondet, study: Path) -> None:
    """`nondet alike` compares its effect with those of the other sources."""
    pairs = json.loads(nondet("alike", study, "--json").out)["pairs"]
    assert any("labelnoise" in (pair["a"], pair["b"]) for pair in pairs)


def test_it_is_named_joined_and_crossed(nondet: Nondet, task: Path, tmp_path: Path) -> None:
    """--vary takes it alone and with others, also from a late onset; a crossed design has its share."""
    words = ("--vary", "labelnoise", "--vary", "init+labelnoise", "--onset", 0, "--onset", 1)
    assert nondet("run", task, "--runs", 3, *words, "--study", tmp_path / "s").code == 0
    names = [c["name"] for c in json.loads(nondet("show", tmp_path / "s", "--json").out)["conditions"]]
    assert names == ["labelnoise", "init+labelnoise", "labelnoise@1", "init+labelnoise@1"]
    crossed = ("--design", "crossed", "--levels", 3, "--vary", "init", "--vary", "labelnoise")
    assert nondet("run", task, *crossed, "--study", tmp_path / "c").code == 0
    found = json.loads(nondet("show", tmp_path / "c", "--json").out)
    assert found["crossed"]["vary"] == ["init", "labelnoise"]


def test_one_that_reaches_nothing_is_dead(nondet: Nondet, task: Path, tmp_path: Path) -> None:
    """Its own words say why it may be."""
    silent = tmp_path / "silent.py"
    silent.write_text(task.read_text().replace("percent: int = 30", "percent: int = 0"))
    out = nondet("run", silent, "--runs", 3, "--vary", "labelnoise", "--study", tmp_path / "s").out
    assert "DEAD: all 3 runs of labelnoise equal the control to the last bit" in " ".join(out.split())


def test_its_runs_do_not_depend_on_their_stack(nondet: Nondet, task: Path, tmp_path: Path) -> None:
    """Alone and beside others, whole and gone on with, a run with the same seed is the same to the last bit."""
    runs = {}
    for name, words in (("four", (4, 6)), ("again", (4, 3)), ("again ", (4, 6))):
        stack, count = words
        folder = tmp_path / name.strip()
        ran = nondet("run", task, "--runs", count, "--vary", "labelnoise", "--stack", stack, "--study", folder)
        assert ran.code == 0, ran.err
        runs[name.strip()] = {p.name: p.read_bytes() for p in sorted((folder / "runs").glob("*.safetensors"))}
    assert runs["four"] == runs["again"]


@pytest.mark.parametrize("name", ["all", "a+b", "a@1", "two words", "", "a:b"])
def test_names_that_cannot_be(name: str) -> None:
    import nondet as nd

    with pytest.raises(nd.BadInput, match="a source's name must consist of"):
        nd.Source(name)
