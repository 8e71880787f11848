"""Tasks as people write them: each is trained as it is, in a stack where it can be, or refused with a way out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.utils.data import Dataset

import nondet as nd
from nondet.training.prepare import prepare
from nondet.training.train import train_stack
from nondet.training.trial import fitting_width

X = torch.randn(48, 6, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > 0).long()
VOID = torch.where(torch.arange(48) % 5 == 0, 255, Y)
BITS = (X[:, :3] > 0).float()
UNSURE = torch.where(torch.arange(48)[:, None] % 5 == 0, -1.0, BITS)
KNOWN = torch.where(torch.arange(48)[:, None] % 5 == 0, -100.0, BITS)
SCHEDULERS = torch.optim.lr_scheduler


class Coder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Dropout(0.2))
        self.decoder = nn.Linear(4, 6)

    def encode(self, x: Tensor) -> Tensor:
        return self.encoder(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.encode(x))


class Hooked(nn.Module):
    """Keeps a layer's outputs for the loss, in a hook that a copy of the model shares."""

    def __init__(self) -> None:
        super().__init__()
        self.line, self.kept = nn.Linear(6, 2), dict[str, Tensor]()
        self.line.register_forward_hook(lambda module, given, made: self.kept.update(line=made))

    def forward(self, x: Tensor) -> Tensor:
        return self.line(x)


class Rows(Dataset[Any]):
    """Examples with several targets, or with the name of a file."""

    def __init__(self, form: str) -> None:
        self.form = form

    def __len__(self) -> int:
        return 48

    def __getitem__(self, i: int) -> Any:
        return {
            "pair": (X[i], (Y[i], X[i, :1])),
            "dict": (X[i], {"class": Y[i], "box": X[i, :1]}),
            "file": {"x": X[i], "labels": Y[i], "file": f"{i}.png"},
            "label": {"x": X[i], "label": Y[i]},
        }[self.form]


class Groups(torch.optim.SGD):
    """An optimizer that makes its own groups from plain parameters."""

    def __init__(self, params: Any, lr: float = 0.1) -> None:
        weights = list(params)
        some = [p for p in weights if p.dim() > 1]
        super().__init__([{"params": some}, {"params": [p for p in weights if p.dim() <= 1], "lr": lr * 10}], lr=lr)


class Sam(torch.optim.SGD):
    """An optimizer that clears the gradients before it finds that it has no closure."""

    def step(self, closure: Any = None) -> Any:
        norm = torch.stack([p.grad.norm() for p in self.param_groups[0]["params"] if p.grad is not None]).norm()
        self.zero_grad()
        loss = closure()
        self.param_groups[0]["lr"] = 0.01 / (1 + float(norm))
        super().step()
        return loss


class Warm(SCHEDULERS.SequentialLR):
    def __init__(self, optimizer: Any) -> None:
        parts = [SCHEDULERS.LinearLR(optimizer, 0.1), SCHEDULERS.ConstantLR(optimizer)]
        super().__init__(optimizer, parts, milestones=[1])


class Centred(nn.Module):
    """A loss with a parameter of its own."""

    def __init__(self, learnt: bool = True) -> None:
        super().__init__()
        self.centre = nn.Parameter(torch.zeros(2), requires_grad=learnt)

    def forward(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(outputs - self.centre, labels)


def line(outputs: int = 2) -> Callable[[], nn.Module]:
    return lambda: nn.Linear(6, outputs)


def regularized(model: Any, batch: Any) -> Any:
    out = model(batch[0] + (0.1 if model.training else 0.0))
    return F.cross_entropy(out, batch[1]) + 0.01 * sum(p.abs().sum() for p in model.parameters()), out


def encoded(model: Any, x: Tensor) -> Any:
    code = model.encode(x)
    made = model.decoder(code)
    return F.mse_loss(made, x) + code.square().mean() + model.decoder.weight.square().sum(), made


def kept(model: Any, batch: Any) -> Any:
    out = model(batch[0])
    return F.cross_entropy(out, batch[1]) + model.kept["line"].abs().mean(), out


def above(model: Any, batch: Any) -> Any:
    """Ordinal labels 0 to 2 as answers to two questions."""
    out = model(batch[0])
    return F.binary_cross_entropy_with_logits(out, (batch[1][:, None] > torch.arange(2)).to(out.dtype)), out


def several(model: Any, batch: Any) -> Any:
    x, targets = batch
    classes, boxes = targets.values() if isinstance(targets, dict) else targets
    out = model(x)
    return F.cross_entropy(out, classes) + F.mse_loss(out[:, :1], boxes), out


def unsure(model: Any, batch: Any) -> Any:
    out = model(batch[0])
    return F.cross_entropy(out, batch[1], ignore_index=255), out


def as_floats(model: Any, batch: Any) -> Any:
    out = model(batch[0])
    return F.binary_cross_entropy_with_logits(out, batch[1]), out


def tilted(model: Any, batch: Any) -> Any:
    """A penalty on the gradient, which the loss itself takes."""
    x = batch[0].clone().requires_grad_()
    out = model(x)
    (slope,) = torch.autograd.grad(out.sum(), x, create_graph=True)
    return F.cross_entropy(out, batch[1]) + slope.square().mean(), out


def tilted_anywhere(model: Any, batch: Any) -> Any:
    with torch.enable_grad():
        return tilted(model, batch)


class Line(nn.Linear):
    def __init__(self) -> None:
        super().__init__(6, 2)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(x)


def prepared(labels: Any = Y, data: Any = None, recipe: dict[str, Any] | None = None, **fields: Any) -> Any:
    fields = {"model": line(), "train": (X, labels), "test": (X, labels), "name": "it"} | fields
    fields |= {} if data is None else {"train": data, "test": data}
    made = nd.Task(recipe=nd.Recipe(**{"epochs": 1, "batch_size": 8, "lr": 0.1} | (recipe or {})), **fields)
    return prepare(made, made.recipe, torch.device("cpu"))


TASKS: dict[str, tuple[dict[str, Any], str, int]] = {
    "a loss that looks at parameters": ({"loss": regularized}, "classification", 3),
    "a loss that calls methods": ({"model": Coder, "data": X, "loss": encoded}, "any", 3),
    "a loss that reads what a hook kept": ({"model": Hooked, "loss": kept}, "classification", 1),
    "labels that no kind has": ({"labels": (X[:, 0] > 0).long() * 2, "loss": above}, "any", 3),
    "floats for a loss of one's own": ({"labels": BITS, "model": line(3), "loss": as_floats}, "multilabel", 3),
    "a column for a loss of one's own": ({"labels": BITS[:, :1], "model": line(1), "loss": as_floats}, "binary", 3),
    "targets in a tuple": ({"data": Rows("pair"), "loss": several}, "any", 3),
    "targets in a dictionary": ({"data": Rows("dict"), "loss": several}, "any", 3),
    "the names of files": ({"data": Rows("file"), "model": Line}, "classification", 3),
    "a label that loss and task ignore": (
        {"labels": VOID, "ignore": 255, "recipe": {"loss": nn.CrossEntropyLoss(ignore_index=255)}},
        "classification",
        3,
    ),
    "a label that the loss ignores": (
        {"labels": VOID, "recipe": {"loss": nn.CrossEntropyLoss(ignore_index=255)}},
        "classification",
        3,
    ),
    "a label that the task ignores": (
        {"labels": VOID, "ignore": 255, "recipe": {"loss": nn.CrossEntropyLoss()}},
        "classification",
        3,
    ),
    "a label that a function ignores": (
        {
            "labels": VOID,
            "ignore": 255,
            "recipe": {"loss": lambda outputs, labels: F.cross_entropy(outputs, labels, ignore_index=255)},
        },
        "classification",
        3,
    ),
    "a label that a loss of one's own ignores": (
        {"labels": VOID, "ignore": 255, "loss": unsure, "kind": "classification"},
        "classification",
        3,
    ),
    "one logit and a label to ignore": ({"labels": VOID, "ignore": 255, "model": line(1)}, "binary", 3),
    "real labels and one to ignore": ({"labels": UNSURE, "ignore": -1, "model": line(3)}, "multilabel", 3),
    "an orthogonal weight": (
        {"model": lambda: nn.Sequential(parametrizations.orthogonal(nn.Linear(6, 6)), nn.Linear(6, 2))},
        "classification",
        3,
    ),
    "an optimizer that makes groups": ({"recipe": {"optimizer": Groups}}, "classification", 1),
    "an optimizer that clears gradients first": ({"recipe": {"optimizer": Sam}}, "classification", 1),
    "a function in a scheduler": (
        {"recipe": {"schedule": "LambdaLR", "schedule_options": {"lr_lambda": lambda epoch: 0.9**epoch}}},
        "classification",
        3,
    ),
}


@pytest.mark.parametrize("name", TASKS)
def test_it_is_trained(name: str) -> None:
    """Its first steps are those of a plain loop, in a stack where it has no reason to be trained alone."""
    fields, kind, width = TASKS[name]
    problem = prepared(**fields)
    assert problem.kind.name == kind
    assert fitting_width(problem, 3)[0] == width
    runs = [dict.fromkeys(problem.sources, 0) | {"bit": seed} for seed in range(width)]
    train_stack(problem, runs)


@pytest.mark.parametrize("loss", ["bce", nn.BCEWithLogitsLoss(), F.binary_cross_entropy_with_logits])
def test_labels_that_are_not_known_have_no_part_in_a_named_loss(loss: Any) -> None:
    """The mean over the known labels, as the kind's own loss has it."""
    problem, usual = prepared(KNOWN, model=line(3), recipe={"loss": loss}), prepared(KNOWN, model=line(3))
    outputs = torch.randn(48, 3)
    assert torch.allclose(
        problem.objective.criterion(outputs, usual.train[1]), usual.kind.loss(outputs, usual.train[1])
    )


WAYS: dict[str, tuple[dict[str, Any], str, dict[str, Any]]] = {
    "a loss with a parameter": (
        {"recipe": {"loss": Centred()}},
        r"requires_grad_\(False\)",
        {"recipe": {"loss": Centred(learnt=False)}},
    ),
    "a loss that fails": (
        {"recipe": {"loss": lambda outputs, labels: outputs.nowhere}},
        "must return one number",
        {"recipe": {"loss": lambda outputs, labels: F.cross_entropy(outputs, labels)}},
    ),
    "a loss that takes gradients": ({"loss": tilted}, r"torch.enable_grad\(\)", {"loss": tilted_anywhere}),
    "a loss that unpacks another form": (
        {"data": (X, X, X), "loss": lambda model, batch: (lambda a, b, c: (model(a).mean(), model(b)))(*batch)},
        r"batch \(\(tensor\[8, 6\], tensor\[8, 6\]\), tensor\[8, 6\]\)",
        {"data": (X, X, X), "loss": lambda model, batch: (model(batch[0][0]).mean(), model(batch[0][1]))},
    ),
    "a dictionary with a label": (
        {"data": Rows("label"), "model": Line},
        "to labels",
        {"data": Rows("file"), "model": Line},
    ),
    "whole numbers to predict": (
        {"labels": torch.arange(48), "model": line(1)},
        "kind='regression'",
        {"labels": torch.arange(48), "model": line(1), "kind": "regression"},
    ),
    "a mean and a variance": (
        {"labels": X[:, :1], "model": lambda: Two()},
        "the task loss=",
        {
            "labels": X[:, :1],
            "model": lambda: Two(),
            "loss": lambda m, b: (F.gaussian_nll_loss(m(b[0])[0], b[1], m(b[0])[1].exp()), m(b[0])[0]),
        },
    ),
    "schedulers in a scheduler": (
        {"recipe": {"schedule": "SequentialLR"}},
        r"class Mine\(SequentialLR\)",
        {"recipe": {"schedule": Warm}},
    ),
    "examples of different lengths": (
        {"data": ((torch.arange(90), torch.arange(48)), Y)},
        "padded",
        {"data": (X, Y)},
    ),
    "texts": ({"data": {"x": ["a"] * 48, "labels": Y}}, "to numbers", {"data": {"x": X, "labels": Y}, "model": Line}),
}


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mean, self.log = nn.Linear(6, 1), nn.Linear(6, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.mean(x), self.log(x)


@pytest.mark.parametrize("name", WAYS)
def test_a_refusal_has_a_way_out(name: str) -> None:
    """What is refused is refused with these words, and what they say is prepared."""
    refused, words, mended = WAYS[name]
    with pytest.raises(nd.BadInput, match=words):
        prepared(**refused)
    prepared(**mended)
