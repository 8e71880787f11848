"""A kind of task of another package, in one file: trained, stored, and seen in the table, the JSON, the page."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import nondet as nd

Nondet = Callable[..., Any]

MODULE = '''
"""Regression: real numbers as labels, and the mean squared error."""

from functools import cached_property
from types import MappingProxyType

import numpy as np

import nondet as nd
from nondet.stats.intervals import pairwise_estimate


class Predicted:
    """The predictions (N, n, k) of N runs."""

    classes_alone = False
    sampled_pairs = None

    def __init__(self, outputs, labels):
        self.outputs, self.labels = np.asarray(outputs, dtype=np.float64), np.asarray(labels, dtype=np.float64)
        self.runs, self.examples = self.outputs.shape[:2]

    @cached_property
    def equal(self):
        return bool((self.outputs == self.outputs[0]).all())

    @cached_property
    def errors(self):
        truth = self.labels.reshape(self.examples, -1)
        return np.square(self.outputs - truth).mean(axis=2)  # (N, n)

    def distance_by_run(self):
        apart = self.outputs[:, None] - self.outputs[None]
        return np.abs(apart).mean(axis=(2, 3)).sum(axis=1) / (self.runs - 1)


MSE = nd.Score(
    "mse", "squared error", lambda answers: answers.errors.mean(axis=1), better=-1, decimals=4,
    bounds=(0.0, float("inf")), title="MSE", sd_title="MSE SD", plot="mse-sd", short="MSE SD",
    table=lambda answers: answers.errors,
)
DISTANCE = nd.Figure(
    "distance", lambda answers: pairwise_estimate(answers.distance_by_run(), distance_from=0.0),
    label="mean distance of two runs' predictions", words="the distance", title="distance", decimals=4,
    plot="distance", bounds=(0.0, float("inf")), origin=0.0,
    effect=lambda answers: answers.distance_by_run(), short="distance",
)


class Regression(nd.Kind):
    name = "line"
    what = "regression"
    answers = MappingProxyType({"outputs": 2})
    scores = (MSE,)
    own_figures = (*MSE.figures(), DISTANCE)
    by_example = True

    def read(self, arrays, labels):
        return Predicted(arrays["outputs"], labels)

    def check_labels(self, name, labels):
        if not labels.is_floating_point() or labels.dim() not in (1, 2):
            raise nd.BadInput(f"{name} labels must be real numbers (n,) or (n, k) (got {labels.dtype}); convert")
        return labels

    def check_outputs(self, outputs, examples, labels):
        if outputs.dim() != 2 or len(outputs) != examples:
            raise nd.BadInput(f"the model must return (batch, k) (got {tuple(outputs.shape)}); fix its last layer")
        return outputs

    def loss(self, outputs, labels):
        return (outputs - labels.reshape(outputs.shape).to(outputs.dtype)).square().mean()


REGRESSION = Regression()
'''
TASK = """
import numpy as np
import torch
from torch import nn

import nondet as nd

rng = np.random.default_rng(0)
x = torch.from_numpy(rng.standard_normal((60, 4)))
y = x[:, 0] + 0.5 * x[:, 1] ** 2


def model():
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))


task = nd.Task(
    model=model,
    train=(x[:40], y[:40]),
    test=(x[40:], y[40:]),
    recipe=nd.Recipe(epochs=2, batch_size=16, lr=0.05, schedule="constant", precision="float64"),
    stack=4,
    kind="line",
)
"""


@pytest.fixture
def task(install: Any, tmp_path: Path) -> Path:
    install("regress", MODULE, ("nondet.kinds", "line", "REGRESSION"))
    path = tmp_path / "line.py"
    path.write_text(TASK)
    return path


def test_it_is_seen_everywhere(nondet: Nondet, task: Path, tmp_path: Path) -> None:
    """The table has its columns, the JSON its figures, the page its plots; sources are compared by them."""
    folder = tmp_path / "s"
    ran = nondet("run", task, "--runs", 6, "--vary", "init", "--vary", "shuffle", "--study", folder)
    assert ran.code == 0, ran.err
    titles = ran.out.splitlines()[2]
    assert all(title in titles for title in ("MSE", "MSE SD", "distance"))
    assert "accuracy" not in ran.out
    found = json.loads(nondet("show", folder, "--json").out)
    assert found["control"]["identical"] is True
    init = found["conditions"][0]
    assert list(init["errors"]) == ["mse.mean", "mse.sd", "distance"]
    assert init["mse"]["sd"] > 0
    assert init["distance"] > 0
    assert json.loads(nondet("alike", folder, "--json").out)["pairs"][0]["metric"] == "mse.sd"
    assert nondet("report", folder).code == 0
    page = (folder / "report.html").read_text()
    assert "Squared error" in page or "Mse of every run" in page
    assert nondet("run", task, "--runs", 7, "--vary", "init", "--study", folder).code == 0
    assert nondet("show", folder, "--examples").code == 0


def test_a_comparison_goes_by_its_score(nondet: Nondet, task: Path, tmp_path: Path) -> None:
    """Less is better, as the score says."""
    for name, lr in (("a", "0.05"), ("b", "0.0001")):
        words = ("--runs", 8, "--vary", "init", "--set", f"lr={lr}", "--study", tmp_path / name)
        assert nondet("run", task, *words).code == 0
    found = nd.compare(tmp_path / "b", tmp_path / "a")
    assert found[0].metric.name == "mse"
    assert found[0].difference.value < 0
    assert found.verdict in ("better", "undecided")


def test_it_is_the_users_model(task: Path, tmp_path: Path) -> None:
    """A run of a stack is, to 1e-12 in float64, what a plain loop with the same numbers trains."""
    from nondet.running.request import Request
    from nondet.sources import seeded_globals, stream
    from nondet.training.examples import epoch_plan

    problem = Request(str(task)).prepare()
    study = nd.run(task, runs=5, vary="all", folder=tmp_path / "s")
    with seeded_globals(stream("init", 3)):
        model = problem.task.model().double()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    x, y = problem.train
    for epoch in range(2):
        order = torch.from_numpy(epoch_plan(problem, study["all"].seeds[2], epoch).examples)
        for part in order.split(16):
            optimizer.zero_grad()
            (model(x[part])[:, 0] - y[part]).square().mean().backward()
            optimizer.step()
    outputs = model(problem.test[0]).detach().numpy()
    assert abs(study["all"].outputs[2] - outputs).max() < 1e-12


def test_without_its_package_a_study_says_so(nondet: Nondet, task: Path, tmp_path: Path, process: Nondet) -> None:
    folder = tmp_path / "s"
    assert nondet("run", task, "--runs", 2, "--vary", "init", "--study", folder).code == 0
    (tmp_path / "site" / "regress-1.0.dist-info" / "entry_points.txt").write_text("")
    ran = process("show", folder)
    assert (ran.code, ran.out, len(ran.err.splitlines())) == (2, "", 1)
    assert "unknown kind of task 'line'" in ran.err
