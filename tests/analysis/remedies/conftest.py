"""Small image tasks, and finished studies of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from nondet import Recipe, Task
from nondet.runners.stack import StackRunner
from nondet.running.scheduler import make_missing
from nondet.study.design import conditions
from nondet.study.record import finish, open_study
from nondet.study.study import Study
from nondet.tasks.augment import Augmentation
from nondet.training.prepare import prepare
from nondet.training.problem import Problem

CLASSES = 3
FIELDS: dict[str, Any] = {"epochs": 2, "batch_size": 8, "lr": 0.1, "precision": "float64"}


def model(channels: int) -> nn.Module:
    """A convolution, batch norm and a fully connected layer: parameters and buffers, and places that matter."""
    return nn.Sequential(
        nn.Conv2d(channels, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 3 * 4, CLASSES)
    )


def image_problem(augment: tuple[Augmentation, ...] = (), channels: int = 3, tests: int = 20, **recipe: Any) -> Problem:
    """24 training and so many test images of 5 x 6 pixels."""
    rng = np.random.default_rng(11)
    images = torch.from_numpy(rng.standard_normal((24 + tests, channels, 5, 6)))
    labels = torch.from_numpy(rng.integers(CLASSES, size=24 + tests))
    task = Task(
        name="images",
        model=lambda: model(channels),
        train=(images[:24], labels[:24]),
        test=(images[24:], labels[24:]),
        recipe=Recipe(**(FIELDS | recipe)),
        augment=augment,
        stack=4,
    )
    return prepare(task, task.recipe, torch.device("cpu"))


@pytest.fixture(scope="session")
def trained() -> Callable[..., Study]:
    """Train a problem's study, by default of 11 runs that vary all sources in stacks of 4."""

    def train(folder: Path, problem: Problem, runs: int = 11, width: int = 4) -> Study:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # as in each test
        try:
            wanted = conditions(["all"], problem.sources, runs)
            runner = StackRunner(problem, {})
            study = open_study(folder, runner, runner.environment(width), wanted, ["nondet", "run", "images"])
            make_missing(study, runner)
            finish(study)
        finally:
            torch.set_num_threads(threads)
        return study

    return train


@pytest.fixture(scope="session")
def problem_like() -> Callable[..., Problem]:
    """Make a problem of small images: see `image_problem`."""
    return image_problem


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Evaluate in batches of 8, so that 20 test images are three of them, the last one smaller."""
    monkeypatch.setattr("nondet.training.examples.TEST_BATCH", 8)
    monkeypatch.setattr("nondet.analysis.remedies.tta.TEST_BATCH", 8)
