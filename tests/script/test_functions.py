"""Runs of a function: it asks for seeds by name, and returns what a run leaves."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nondet as nd


def train(seeds: Any) -> tuple[np.ndarray, np.ndarray]:
    """Least squares on noisy targets, from initial weights: 40 test points of 3 classes."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(80, 4)), rng.integers(0, 3, 80)
    weights = seeds.numpy("init").normal(size=(4, 3))
    for epoch in range(3):
        for i in seeds.numpy("shuffle", epoch).permutation(40):
            weights -= 0.05 * np.outer(x[i], x[i] @ weights - np.eye(3)[y[i]])
    return x[40:] @ weights, y[40:]


def test_a_study_of_a_function(tmp_path: Path) -> None:
    """The sources are those that it asks for; each run is what the function returns for its seeds."""
    study = nd.run(nd.Function(train), runs=4, folder=tmp_path / "s")
    assert study.conditions == ["init", "shuffle", "all"]
    assert nd.show(study).to_dict()["control"]["identical"] is True
    seeds = nd.Function(train).seeds({"init": 3})
    assert study["init"].outputs[2].tobytes() == train(seeds)[0].tobytes()
    assert study["init"].outputs[0].tobytes() == study["shuffle"].outputs[0].tobytes()
    assert (study.labels == train(seeds)[1]).all()


def test_it_goes_on(tmp_path: Path) -> None:
    """More runs are added to it; a function that trains otherwise adds none, even where its text is the same."""
    rate = [1.0]

    def scaled(seeds: Any) -> dict[str, Any]:
        outputs, labels = train(seeds)
        return {"outputs": rate[0] * outputs, "labels": labels, "size": np.abs(outputs).sum()}

    nd.run(nd.Function(scaled), runs=2, vary="init", folder=tmp_path / "s")
    study = nd.run(nd.Function(scaled), runs=3, vary="init", folder=tmp_path / "s")
    assert study["init"].outputs.shape == (3, 40, 3)
    assert study["init"].scores()["size"].shape == (3,)
    rate[0] = 2.0
    with pytest.raises(nd.BadInput, match="a control run trained here differs from that of"):
        nd.run(nd.Function(scaled), runs=4, vary="init", folder=tmp_path / "s")


class Training:
    def __init__(self, rate: float) -> None:
        self.rate = rate

    def __call__(self, seeds: Any) -> Any:
        return self.rate * train(seeds)[0], train(seeds)[1]


FORMS = """
import functools
from test_functions import Training
from nondet import Function

without_a_text = {}
exec("def f(seeds): return [lambda: 1, seeds]", without_a_text)
given = Training(1.0), functools.partial(Training.__call__, Training(1.0)), Training(1.0).__call__, without_a_text["f"]
found = [(Function(train).title, Function(train).code) for train in given]
"""


def test_whatever_can_be_called(tmp_path: Path) -> None:
    """An object, a partial function, a method, a function without a text: the same ones in another process."""
    here: dict[str, Any] = {}
    exec(FORMS, here)
    assert [title for title, _ in here["found"]] == ["Training", "__call__", "__call__", "f"]
    where = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])}
    words = [sys.executable, "-c", f"{FORMS}print(found)"]
    there = subprocess.run(words, env=where, check=True, capture_output=True, text=True)
    assert ast.literal_eval(there.stdout) == here["found"]
    study = nd.run(nd.Function(Training(2.0)), runs=2, vary="init", folder=tmp_path / "s")
    assert study["init"].outputs[0].tobytes() == (2.0 * train(nd.Function(train).seeds({}))[0]).tobytes()


@pytest.mark.parametrize("here", [False, True])
def test_where_runs_are_made(tmp_path: Path, here: bool) -> None:
    """Each in a process of its own, which leaves this one as it was; or in this one."""
    seen: list[int] = []

    def scored(seeds: Any) -> float:
        seen.append(os.getpid())
        return float(seeds["noise"])

    study = nd.run(nd.Function(scored, here=here), runs=3, vary="noise", folder=tmp_path / "s")
    assert study["noise"].scores()["score"].tolist() == [1.0, 2.0, 3.0]
    assert seen == ([os.getpid()] * 4 if here else [])


def test_generators() -> None:
    """Of one source and place the same numbers again; of another source, seed or place others."""
    seeds, other = nd.Function(train).seeds({}), nd.Function(train).seeds({"init": 2})
    drawn = [
        int(s.generator(name, *place).initial_seed())
        for s in (seeds, other)
        for name, *place in (("init",), ("init", 1), ("shuffle",))
    ]
    assert len({*drawn}) == 5
    assert drawn[2] == drawn[5]
    assert list(seeds.asked) == ["init", "shuffle"]


def failing(seeds: Any) -> float:
    if seeds["init"] == 3:
        raise RuntimeError("it diverged")
    return float(seeds["init"])


def test_a_run_that_fails(tmp_path: Path) -> None:
    """It is recorded, and the others go on."""
    study = nd.run(nd.Function(failing), runs=5, vary="init", folder=tmp_path / "s")
    assert study["init"].failed == {3: 1}
    assert study["init"].scores()["score"].tolist() == [1.0, 2.0, 4.0, 5.0]


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda seeds: 1.0, 'use seeds\\["init"\\] in it'),
        (lambda seeds: None, "must leave outputs or scores"),
        (lambda seeds: 1 / (seeds["init"] - 1), r"ZeroDivisionError: .* \(test_functions.py:\d+\)"),
        (lambda seeds: os._exit(seeds["init"] + 6), "its process ended with exit status 7"),
        (lambda seeds: (np.zeros((3, 2)) * seeds["init"], [0, 1]), "labels must be whole class numbers, one for each"),
        (3, "the training must be a function"),
    ],
)
def test_bad_input(tmp_path: Path, function: Any, said: str) -> None:
    with pytest.raises(nd.BadInput, match=said):
        nd.run(nd.Function(function), runs=3, folder=tmp_path / "s")
    assert not (tmp_path / "s").exists()
