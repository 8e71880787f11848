"""However the kept models are asked, they answer as stacks do in training: equal to the last bit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from nondet import Crop, Flip, Recipe, Task
from nondet.analysis.remedies import kept
from nondet.analysis.remedies.kept import Runs, sound_runs
from nondet.analysis.remedies.tta import augmented_outputs, margin, padded_batches, seen, view_sets
from nondet.data.decoders import Decoders
from nondet.data.streamed import Streamed
from nondet.data.trees import Tree
from nondet.models.resnet import ResNet
from nondet.sources import FIXED_SEED
from nondet.study.study import Study
from nondet.training.examples import logits as logits_of
from nondet.training.new_stack import new_stack
from nondet.training.prepare import prepare
from nondet.training.problem import Problem
from nondet.training.settings import kernels

MODELS: dict[str, Callable[[], nn.Module]] = {
    "cnn": lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(72, 3)),
    "resnet": lambda: ResNet(channels=(4, 8), blocks=(1, 1), inputs=3, classes=3),
    "dropout": lambda: nn.Sequential(nn.Flatten(), nn.Linear(192, 16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 3)),
}


def problem_of(model: str, **recipe: Any) -> Problem:
    """24 training and 20 test images of 8 x 8 pixels and three channels, in float32."""
    rng = np.random.default_rng(3)
    images = torch.from_numpy(rng.standard_normal((44, 3, 8, 8), dtype=np.float32))
    labels = torch.from_numpy(rng.integers(3, size=44))
    task = Task(
        name=model,
        model=MODELS[model],
        train=(images[:24], labels[:24]),
        test=(images[24:], labels[24:]),
        recipe=Recipe(**({"epochs": 2, "batch_size": 8, "lr": 0.1} | recipe)),
        augment=(Crop(1), Flip()),
    )
    return prepare(task, task.recipe, torch.device("cpu"))


def as_trained(problem: Problem, runs: Runs) -> dict[str, np.ndarray]:
    """The mean logits over each kind's copies, by whole stacks filled up with copies, one after the other."""
    width, edge = runs.study.width, margin(problem)
    base = new_stack(problem, [dict.fromkeys(problem.sources, FIXED_SEED)] * width)
    base.skeleton.eval()
    arrays = [runs.study.store.get(spec.key).arrays for spec in runs.specs]
    found: dict[str, list[np.ndarray]] = {name: [] for name in view_sets(problem)}
    for start in range(0, len(arrays), width):
        some = arrays[start : start + width]
        filled = [*some, *[some[0]] * (width - len(some))]
        members = [
            base.holding({k: torch.stack([torch.from_numpy(a[p + k]) for a in filled]) for k in base.weights})
            for p in runs.prefixes
        ]
        for name, views in view_sets(problem).items():
            batches: list[torch.Tensor] = []
            with kernels(), torch.no_grad():
                for x in padded_batches(problem):
                    logits = [logits_of(m, seen(x, view, edge)).double() for view in views for m in members]
                    batches.append((sum(logits[1:], logits[0]) / len(logits)).float())
            found[name].extend(torch.cat(batches, dim=1).numpy()[: len(some)])
    return {name: np.stack(rows) for name, rows in found.items()}


def require_equal(problem: Problem, study: Study, workers: int) -> None:
    runs = sound_runs(study)
    found = augmented_outputs(problem, runs, view_sets(problem), workers=workers)
    expected = as_trained(problem, runs)
    assert list(found) == list(expected)
    assert all(found[name].tobytes() == expected[name].tobytes() for name in expected)


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("width", [pytest.param(1, marks=pytest.mark.slow), 3, pytest.param(4, marks=pytest.mark.slow)])
@pytest.mark.parametrize("model", list(MODELS))
def test_equal_bits(model: str, width: int, trained: Callable[..., Study], tmp_path: Path) -> None:
    """Any number of workers, any model; the last stack holds one run of four, or two of three."""
    problem = problem_of(model)
    study = trained(tmp_path / "study", problem, runs=5, width=width)
    for workers in (1, 2, 5):
        require_equal(problem, study, workers)


def test_equal_bits_of_members(trained: Callable[..., Study], tmp_path: Path) -> None:
    """Those of an accelerated ensemble too."""
    problem = problem_of("resnet", cycles=2)
    require_equal(problem, trained(tmp_path / "study", problem, runs=3, width=4), 2)


@pytest.mark.usefixtures("narrow")
def test_few_examples_at_a_time(trained: Callable[..., Study], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch in parts, the last one smaller."""
    monkeypatch.setattr(kept, "FEW", 3)
    monkeypatch.setattr(kept, "LARGE", 1)
    problem = problem_of("cnn")
    require_equal(problem, trained(tmp_path / "study", problem, runs=3, width=4), 2)


def test_streamed_images(trained: Callable[..., Study], tmp_path: Path) -> None:
    """Images that stay in their files."""
    image = pytest.importorskip("PIL.Image", reason="streamed images need Pillow")
    rng = np.random.default_rng(5)
    for number in range(20):
        image.fromarray(rng.integers(256, size=(20, 22, 3), dtype=np.uint8)).save(tmp_path / f"{number}.png")
    zeros = np.zeros(20, dtype=np.int64)
    tree = Tree(tmp_path, ("one",), tuple(f"{number}.png" for number in range(20)), zeros, zeros, zeros)
    problem = problem_of("resnet")
    problem = replace(problem, test=(Streamed(tree, Decoders(0), size=8, resize=16), problem.test[1]))
    require_equal(problem, trained(tmp_path / "study", problem, runs=3, width=2), 2)


def test_where_shares_round_otherwise_stacks_are_those_of_training(
    trained: Callable[..., Study], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What gives other bits than were stored is not used: first for its shares, then for its threads."""
    problem = problem_of("cnn")
    study = trained(tmp_path / "study", problem, runs=5, width=4)
    asked: list[tuple[int, int]] = []
    plainly = kept._asked

    def unsound(problem: Problem, threads: Any, shares: Any) -> Any:
        found = plainly(problem, threads, shares)
        asked.append((threads.count, len(shares[0])))
        return replace(found, plain=[z + 1 for z in found.plain]) if len(asked) < 3 else found

    monkeypatch.setattr(kept, "_asked", unsound)
    require_equal(problem, study, 2)
    assert asked == [(2, 2), (2, 1), (1, 1), (1, 1)]
