"""Small problems to train on: different layers, data and recipes."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nondet import Crop, Flip, Recipe, Task
from nondet.models.resnet import ResNet
from nondet.training.prepare import prepare
from nondet.training.problem import Problem

CPU = torch.device("cpu")


class Mlp(nn.Module):
    """Two layers, a layer norm, and dropout by module and by function."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.a, self.norm, self.drop, self.b = nn.Linear(12, 16), nn.LayerNorm(16), nn.Dropout(p), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.drop(F.relu(self.norm(self.a(x.flatten(1)))))
        return self.b(F.dropout(x, 0.2, self.training) if self.drop.p else x)


class Explosive(Mlp):
    """Its init decides: with about one seed in three its weights are so large that the loss overflows."""

    def __init__(self) -> None:
        super().__init__(0.0)
        with torch.no_grad():
            self.b.weight.mul_(1e38 if torch.rand(()) < 1 / 3 else 1.0)


MODELS = {
    "mlp": lambda: Mlp(0.0),
    "dropout": lambda: Mlp(0.4),
    "resnet": lambda: ResNet(channels=(4, 8), blocks=(1, 1), inputs=1, classes=3),
    "attention": lambda: nn.Sequential(
        nn.Flatten(1, 2),  # three tokens of four numbers
        nn.TransformerEncoderLayer(4, 2, 16, dropout=0.0, batch_first=True),
        nn.Flatten(),
        nn.Linear(12, 3),
    ),
}


def problem(model: object = "mlp", device: torch.device = CPU, **recipe: object) -> Problem:
    """A problem of 50 training and 20 test images of 1 x 3 x 4, in mini-batches of 16, 16, 16 and 2."""
    rng = np.random.default_rng(7)
    inputs = torch.from_numpy(rng.standard_normal((70, 1, 3, 4)).astype(np.float32))
    labels = torch.from_numpy(rng.integers(3, size=70))
    fields: dict[str, object] = {"epochs": 3, "batch_size": 16, "lr": 0.05, "optimizer": "SGD"}
    task = Task(
        name="small",
        model=MODELS[model] if isinstance(model, str) else model,  # type: ignore[arg-type]
        train=(inputs[:50], labels[:50]),
        test=(inputs[50:], labels[50:]),
        recipe=Recipe(**(fields | recipe)),  # type: ignore[arg-type]
        augment=(Crop(1), Flip()),
    )
    return prepare(task, task.recipe, device)


def seeds(problem: Problem, number: int, *vary: str) -> dict[str, int]:
    """Run `number` of the condition that varies these sources (all of them if none is named)."""
    return {source: number if source in (vary or problem.sources) else 1 for source in problem.sources}
