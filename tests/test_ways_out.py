"""A refusal of a task names a way out, and following it works: each is followed here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler

import nondet as nd
from nondet.training.prepare import prepare

X = torch.randn(24, 6, generator=torch.Generator().manual_seed(0))
Y = X[:, :3].argmax(1)
LOADER = DataLoader(TensorDataset(X, Y), sampler=WeightedRandomSampler([1.0] * 24, 24), batch_size=4)


class Pair(nn.Module):
    """Returns two tensors, as a generator and a discriminator may."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> Any:
        return self.line(x), x


class First(Pair):
    def forward(self, x: torch.Tensor) -> Any:
        return super().forward(x)[0]


def two_losses(model: Any, batch: Any) -> Any:
    logits, _ = model(batch[0])
    return nn.functional.cross_entropy(logits, batch[1]), logits


def line() -> nn.Module:
    return nn.Linear(6, 3)


def prepared(recipe: Mapping[str, Any] | None = None, **fields: Any) -> Any:
    taken = {"epochs": 1, "batch_size": 8, "lr": 0.1} | dict(recipe or {})
    given = {"model": line, "train": (X, Y), "test": (X, Y), "name": "small"} | fields
    task = nd.Task(**given, recipe=nd.Recipe(**taken))
    return prepare(task, task.recipe, torch.device("cpu"))


ONE_HOT = nn.functional.one_hot(Y).float()
REFUSED: dict[str, tuple[dict[str, Any], str, dict[str, Any]]] = {
    "two outputs, and none chosen": ({"model": Pair}, "return its logits alone", {"model": First}),
    "two outputs, and no loss": ({"model": Pair}, "loss=lambda model, batch", {"model": Pair, "loss": two_losses}),
    "a model in place of its function": ({"model": line()}, "write model=lambda", {"model": lambda: line()}),
    "a sampler that repeats": ({"train": LOADER}, r"train=loader\.dataset", {"train": LOADER.dataset}),
    "inputs alone": ({"train": X}, "use one form", {"train": (X, Y)}),
    "NaN": ({"train": (X / 0 * 0, Y)}, "clean the data", {"train": (torch.nan_to_num(X / 0 * 0), Y)}),
    "other lengths": ({"train": (X, Y[1:])}, "one label for each example", {"train": (X[1:], Y[1:])}),
    "a loss that the kind has not": (
        {"recipe": {"loss": "mse"}},
        "choose another",
        {"recipe": {"loss": "cross_entropy"}},
    ),
    "two kinds": (
        {"train": (X, ONE_HOT), "test": (X, ONE_HOT)},
        "kind=",
        {"train": (X, ONE_HOT), "test": (X, ONE_HOT), "kind": "multilabel"},
    ),
    "selection without examples": (
        {"recipe": {"select": "best"}},
        r"val=\(inputs, labels\)",
        {"recipe": {"select": "best"}, "val": (X, Y)},
    ),
    "a field that is not there": (
        {"recipe": {"learning_rate": 0.1}},
        "it has epochs, batch_size, lr",
        {"recipe": {"lr": 0.1}},
    ),
    "an optimizer that is not there": (
        {"recipe": {"optimizer": "Adamm"}},
        "SGD or AdamW",
        {"recipe": {"optimizer": "AdamW"}},
    ),
    "options that the optimizer refuses": (
        {"recipe": {"options": {"momentum": -1}}},
        "change them",
        {"recipe": {"options": {"momentum": 0.9}}},
    ),
    "a schedule without its arguments": (
        {"recipe": {"schedule": "StepLR"}},
        "schedule_options",
        {"recipe": {"schedule": "StepLR", "schedule_options": {"step_size": 1}}},
    ),
    "two precisions": (
        {"recipe": {"amp": "bfloat16", "precision": "float64"}},
        "leave out one",
        {"recipe": {"amp": "bfloat16"}},
    ),
    "a bptt beside a loss": ({"recipe": {"bptt": 4, "loss": "mse"}}, "leave one out", {}),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_way_out_works(name: str) -> None:
    """What is refused is refused with these words, and what they say is prepared."""
    refused, words, mended = REFUSED[name]
    with pytest.raises(nd.BadInput, match=words):
        prepared(**refused)
    prepared(**mended)


@pytest.mark.slow
def test_stabilize_of_another_kind_names_what_works(nondet: Callable[..., Any], tmp_path: Path) -> None:
    """It is for classifiers, and says so before any training; two recipes can be compared for every kind."""
    file = tmp_path / "numbers.py"
    file.write_text(
        "import torch, nondet\n"
        "x = torch.randn(60, 6, generator=torch.Generator().manual_seed(0))\n"
        "y = x[:, 0] + x[:, 1] ** 2\n"
        "task = nondet.Task(model=lambda: torch.nn.Linear(6, 1), train=(x[:40], y[:40]), test=(x[40:], y[40:]),\n"
        "    recipe=nondet.Recipe(epochs=2, batch_size=8, lr=0.05), stack=3)\n"
    )
    ran = nondet("stabilize", file, "--study", tmp_path / "s")
    assert ran.code == 2
    assert "kind regression" in ran.err
    assert not (tmp_path / "s").exists()
    for name, rate in (("a", 0.05), ("b", 0.01)):
        given = ("--runs", 3, "--vary", "init", "--set", f"lr={rate}", "--study", tmp_path / name)
        assert nondet("run", file, *given).code == 0
    assert nondet("compare", tmp_path / "a", tmp_path / "b").code == 0
    assert nondet("stabilize", tmp_path / "a").code == 2
