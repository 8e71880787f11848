"""Refusals of data, models, losses and recipes: each says a way out, and following it works."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import nondet as nd
from nondet.training.prepare import prepare

X = torch.randn(24, 6, generator=torch.Generator().manual_seed(0))
Y = X[:, :3].argmax(1)
BITS = (X[:, :3] > 0).float()
IMAGES = X[:, :4].reshape(24, 1, 2, 2)
MASKS = (IMAGES[:, 0] > 0).long()
TEXT = torch.arange(200) % 7
GIVEN = {"epochs": 1, "batch_size": 8, "lr": 0.1}


def line() -> nn.Module:
    return nn.Linear(6, 3)


def one() -> nn.Module:
    return nn.Linear(6, 1)


def pixels() -> nn.Module:
    return nn.Conv2d(1, 2, 1)


class Words(nn.Module):
    """A language model; `wrong` says what it returns."""

    def __init__(self, words: int = 7, wrong: str = "") -> None:
        super().__init__()
        self.wrong = wrong
        self.embed = nn.Embedding(words, 4)
        self.drop = nn.Linear(4, words)

    def forward(self, x: torch.Tensor, state: Any = None) -> Any:
        hidden = self.embed(x)
        logits = self.drop(hidden)
        after = state if state is not None else torch.zeros(len(x), 1)
        if self.wrong == "flat":
            return logits.mean(1), after
        return (logits, "state") if self.wrong == "text" else (logits, after)


class Named(nn.Module):
    """Takes its input by the name `of`."""

    def __init__(self, of: str) -> None:
        super().__init__()
        self.of, self.line = of, nn.Linear(6, 3)

    def forward(self, **given: torch.Tensor) -> Any:
        return self.line(given[self.of])


class Packed(nn.Linear):
    """Returns its logits with something else."""

    def __init__(self, how: str) -> None:
        super().__init__(6, 3)
        self.how = how

    def forward(self, input: torch.Tensor) -> Any:
        logits = super().forward(input)
        both = {"scores": logits, "hidden": logits}
        return {"dict": both, "object": SimpleNamespace(**both), "pair": (logits, logits)}[self.how]


class Stream(IterableDataset[Any]):
    """The examples one by one, in their order or in a random one."""

    def __init__(self, shuffled: bool = False) -> None:
        self.shuffled = shuffled

    def __iter__(self) -> Any:
        order = torch.randperm(24) if self.shuffled else range(24)
        return iter([(X[i], int(Y[i])) for i in order])


class Frozen(nn.Linear):
    def __init__(self, frozen: bool = True) -> None:
        super().__init__(6, 3)
        self.requires_grad_(not frozen)


def broken_model() -> nn.Module:
    return nn.Linear("six", 3)  # type: ignore[arg-type]


def task(recipe: dict[str, Any] | None = None, **fields: Any) -> nd.Task:
    given = {"model": line, "train": (X, Y), "test": (X, Y), "name": "small"} | fields
    return nd.Task(**given, recipe=nd.Recipe(**GIVEN | (recipe or {})))


def prepared(recipe: dict[str, Any] | None = None, **fields: Any) -> Any:
    made = task(recipe, **fields)
    return prepare(made, made.recipe, torch.device("cpu"))


def both(inputs: Any, labels: Any, **fields: Any) -> dict[str, Any]:
    return {"train": (inputs, labels), "test": (inputs, labels)} | fields


def text(tokens: torch.Tensor = TEXT, bptt: int = 5, model: Any = Words, **recipe: Any) -> dict[str, Any]:
    pair = (tokens[:-1], tokens[1:])
    return {"train": pair, "test": pair, "model": model, "recipe": {"bptt": bptt, "batch_size": 4} | recipe}


Case = tuple[dict[str, Any], str, dict[str, Any]]
LABELS: dict[str, Case] = {
    "a kind that is not there": (
        {"kind": "regresion"},
        "choose from .*regression",
        both(X, X[:, :3], kind="regression"),
    ),
    "one logit, and classes of three": (
        both(X, Y, model=one, kind="binary"),
        "kind='regression'",
        both(X, Y.float(), model=one, kind="regression"),
    ),
    "one logit, and no label known": (
        both(X, torch.full((24,), -100), model=one, kind="binary"),
        "give the known labels as 0 and 1",
        both(X, Y.clamp(max=1), model=one, kind="binary"),
    ),
    "one logit, and three outputs": (
        both(X, Y.clamp(max=1), kind="binary"),
        "fix its last layer",
        both(X, Y.clamp(max=1), kind="binary", model=one),
    ),
    "two labels, and three outputs": (
        both(X, BITS[:, :2], kind="multilabel"),
        "one output for each label",
        both(X, BITS[:, :2], kind="multilabel", model=lambda: nn.Linear(6, 2)),
    ),
    "labels below 0": (both(X, Y - 1), "set ignore=-1", both(X, Y - 1, ignore=-1)),
    "labels that are all ignored": (
        both(X, torch.full((24,), -100)),
        "give the classes",
        both(X, Y),
    ),
    "shares that do not sum to 1": (
        both(X, BITS + 0.5, kind="classification"),
        "kind='regression'",
        both(X, BITS + 0.5, kind="regression"),
    ),
    "real numbers as classes": (
        both(X, X[:, 0], kind="classification"),
        "kind='regression'",
        both(X, X[:, 0], kind="regression", model=one),
    ),
    "one logit of a classifier": (
        both(X, Y, model=lambda: nn.Flatten(0), kind="classification"),
        "parameters to train|fix its last layer",
        both(X, Y),
    ),
    "more classes than outputs": (
        both(X, Y + 3),
        "one output for each class",
        both(X, Y + 3, model=lambda: nn.Linear(6, 6)),
    ),
    "pixels of real numbers": (
        both(IMAGES, IMAGES[:, 0], model=pixels, kind="segmentation"),
        r"convert them with \.long\(\)",
        both(IMAGES, IMAGES[:, 0].long().clamp(min=0, max=1), model=pixels, kind="segmentation"),
    ),
    "more classes of pixels than outputs": (
        both(IMAGES, MASKS + 1, model=pixels, kind="segmentation"),
        "one output for each class",
        both(IMAGES, MASKS + 1, model=lambda: nn.Conv2d(1, 3, 1), kind="segmentation"),
    ),
    "pixels of another size": (
        both(IMAGES, MASKS[:, :1], model=pixels, kind="segmentation"),
        "make the sizes equal",
        both(IMAGES, MASKS, model=pixels, kind="segmentation"),
    ),
    "complex targets": (
        both(X, X[:, :3] * 1j, kind="regression"),
        "give the real and imaginary parts",
        both(X, torch.view_as_real(X[:, :3] * 1j).flatten(1), kind="regression", model=lambda: nn.Linear(6, 6)),
    ),
    "targets that are NaN": (
        both(X, X[:, :3] / 0, kind="regression"),
        "clean the data",
        both(X, X[:, :3], kind="regression"),
    ),
    "two targets, and three outputs": (
        both(X, X[:, :2], kind="regression"),
        "one output for each number",
        both(X, X[:, :2], kind="regression", model=lambda: nn.Linear(6, 2)),
    ),
    "any kind, and no loss": (
        {"kind": "any"},
        r"Task\(loss=lambda",
        {"kind": "any", "loss": lambda model, batch: (lambda out: (out.square().mean(), out))(model(batch[0]))},
    ),
    "a test of other classes": (
        {"train": (X, ["a", "b", "c"] * 8), "test": (X, ["a", "b", "z"] * 8)},
        "leave those examples out",
        {"train": (X, ["a", "b", "c"] * 8), "test": (X, ["a", "b", "c"] * 8)},
    ),
}
MODELS: dict[str, Case] = {
    "a dictionary of outputs": ({"model": lambda: Packed("dict")}, r"return out\['scores'\]", {"model": line}),
    "an object of outputs": ({"model": lambda: Packed("object")}, r"return out\.scores", {"model": line}),
    "two outputs": ({"model": lambda: Packed("pair")}, r"return out\[0\]", {"model": line}),
    "a test of another width": ({"test": (X[:, :5], Y)}, "fails on test inputs", {"test": (X, Y)}),
    "whole numbers as inputs": (both((X * 9).long(), Y), r"inputs\.float\(\)", both((X * 9).long().float(), Y)),
    "a stream that draws": ({"train": Stream(True)}, "give a Dataset with __getitem__", {"train": TensorDataset(X, Y)}),
    "a constructor that fails": ({"model": broken_model}, "fix it", {}),
    "a model of no class": (
        {"model": lambda: "net"},
        r"model=lambda: nn\.Sequential",
        {"model": lambda: nn.Sequential(line())},
    ),
    "nothing to train": ({"model": Frozen}, "leave requires_grad on", {"model": lambda: Frozen(False)}),
    "inputs of another width": ({"model": lambda: nn.Linear(5, 3)}, "fix the model or the data", {}),
    "names that forward has not": (
        both({"x": X}, Y, model=lambda: Named("inputs")),
        r"forward\(self, x\)|fix the model",
        both({"inputs": X}, Y, model=lambda: Named("inputs")),
    ),
    "complex inputs": (both(X * 1j, Y), "convert them", both(X, Y)),
    "an augmentation of images": ({"augment": (nd.Crop(1),)}, "leave it out", {}),
    "an augmentation alone": (
        {"augment": nd.Crop(1)},
        "with a comma",
        both(IMAGES, Y, augment=(nd.Crop(1),), model=lambda: nn.Sequential(nn.Flatten(), nn.Linear(4, 3))),
    ),
    "an augmentation that fails": (
        {"augment": (lambda x: x[:, :, :99] @ x,)},
        "fix the task's augment",
        {"augment": (lambda x: x,)},
    ),
    "words that are none": (text(TEXT - 1), "number the (words|classes) from 0", text(TEXT)),
    "more words than the model has": (
        text(TEXT, model=lambda: Words(5)),
        "one (place|output) for each word",
        text(TEXT, model=lambda: Words(7)),
    ),
    "a text shorter than its columns": (text(TEXT[:4], batch_size=8), "batch_size", text(TEXT[:9], batch_size=8)),
    "a language model without time": (text(model=lambda: Words(wrong="flat")), r"return \(logits, state\)", text()),
    "a state that is a text": (text(model=lambda: Words(wrong="text")), r"return \(logits, state\)", text()),
    "images with a bptt": (both(X, Y, recipe={"bptt": 5}), "leave bptt out", both(X, Y)),
    "a loss that returns one thing": (
        {"loss": lambda model, batch: model(batch[0]).sum()},
        "return the mean loss and the outputs",
        {"loss": lambda model, batch: (model(batch[0]).square().mean(), model(batch[0]))},
    ),
    "a loss of many numbers": (
        {"loss": lambda model, batch: (model(batch[0]), model(batch[0]))},
        "return its mean",
        {"loss": lambda model, batch: (model(batch[0]).mean(), model(batch[0]))},
    ),
    "a loss of other arguments": (
        {"loss": lambda outputs, labels: nn.functional.cross_entropy(outputs, labels)},
        r"Recipe\(loss=\.\.\.\)",
        {"recipe": {"loss": nn.functional.cross_entropy}},
    ),
}
RECIPES: dict[str, Case] = {
    "epochs and cycles": (
        {"recipe": {"epochs": 5, "cycles": 2}},
        r"'epochs': 4",
        {"recipe": {"epochs": 4, "cycles": 2}},
    ),
    "more averages than epochs": ({"recipe": {"swa": 3}}, r"'swa': 1", {"recipe": {"swa": 1}}),
    "a rate below 0": ({"recipe": {"lr": -1}}, r"'lr': 0\.1", {"recipe": {"lr": 0.1}}),
    "a clip below 0": ({"recipe": {"grad_clip": -1}}, r"'grad_clip': 0\.1", {"recipe": {"grad_clip": 0.1}}),
    "smoothing above 1": ({"recipe": {"label_smoothing": 2}}, "try .*0.1", {"recipe": {"label_smoothing": 0.1}}),
    "a selection that is not there": (
        {"recipe": {"select": "first"}},
        "'select': 'best'",
        {"recipe": {"select": "best"}, "val": (X, Y)},
    ),
    "a schedule by day": ({"recipe": {"schedule_by": "day"}}, "leave it out", {}),
    "a loss that is a number": (
        {"recipe": {"loss": 3}},
        'loss="mse"',
        {"recipe": {"loss": "mse"}, **both(X, X[:, :3])},
    ),
    "weights that are one number": (
        {"recipe": {"class_weights": 2.0}},
        r"class_weights=\[1\.0, 2\.0\]",
        {"recipe": {"class_weights": [1.0, 2.0, 1.0]}},
    ),
    "no decay of one text": (
        {"recipe": {"no_decay": "bias"}},
        r"no_decay=\['bias'\]",
        {"recipe": {"no_decay": ["bias"]}},
    ),
    "options that are a list": (
        {"recipe": {"options": [1]}},
        r'options=\{"weight_decay": 0\.01\}',
        {"recipe": {"options": {"weight_decay": 0.01}}},
    ),
    "schedule options that are a list": (
        {"recipe": {"schedule": "StepLR", "schedule_options": [1]}},
        r'schedule_options=\{"step_size": 10\}',
        {"recipe": {"schedule": "StepLR", "schedule_options": {"step_size": 10}}},
    ),
    "names in options that are no texts": (
        {"recipe": {"options": {"nested": {1: 2}}}},
        "write them in quotes",
        {"recipe": {"options": {"weight_decay": 0.1}}},
    ),
    "no whole mini-batch": (
        {"recipe": {"drop_last": True, "batch_size": 32}},
        r"'batch_size': 24",
        {"recipe": {"drop_last": True, "batch_size": 24}},
    ),
    "a drop that is a number": ({"recipe": {"drop_last": 3}}, "'drop_last': 'true'", {"recipe": {"drop_last": True}}),
    "an average of 1": ({"recipe": {"ema": 1.0}}, r"'ema': 0\.99", {"recipe": {"ema": 0.99}}),
    "a bit that is a number": ({"recipe": {"bit": 3}}, "'bit': 'random'", {"recipe": {"bit": "random"}}),
    "a precision that is not there": (
        {"recipe": {"precision": "float8"}},
        "'amp': 'bfloat16'",
        {"recipe": {"amp": "bfloat16"}},
    ),
    "an amp that is not there": ({"recipe": {"amp": "int8"}}, "'amp': 'bfloat16'", {"recipe": {"amp": "bfloat16"}}),
    "a schedule that is not there": (
        {"recipe": {"schedule": "linear"}},
        "'schedule': 'constant'",
        {"recipe": {"schedule": "constant"}},
    ),
    "a schedule that fails": (
        {"recipe": {"schedule": lambda epoch: 1 / epoch}},
        r"schedule\(epoch, epochs\)",
        {"recipe": {"schedule": lambda epoch, epochs: 1 / (1 + epoch)}},
    ),
    "a schedule below 0": (
        {"recipe": {"schedule": lambda epoch, epochs: -1.0}},
        "fix it",
        {"recipe": {"schedule": lambda epoch, epochs: 1.0}},
    ),
    "smoothing of another loss": (
        {"recipe": {"loss": nn.functional.multi_margin_loss, "label_smoothing": 0.1}},
        "torch.nn.CrossEntropyLoss",
        {"recipe": {"loss": nn.CrossEntropyLoss(label_smoothing=0.1)}},
    ),
    "smoothing of a loss that has its own": (
        {"recipe": {"loss": nn.CrossEntropyLoss(), "label_smoothing": 0.1}},
        "torch.nn.CrossEntropyLoss",
        {"recipe": {"loss": nn.CrossEntropyLoss(label_smoothing=0.1)}},
    ),
    "a loss of no reduction": (
        {"recipe": {"loss": nn.CrossEntropyLoss(reduction="none")}},
        "return its mean",
        {"recipe": {"loss": nn.CrossEntropyLoss()}},
    ),
    "a plateau without its arguments": (
        {"recipe": {"schedule": "ReduceLROnPlateau", "schedule_options": {"factor": 2}}, "val": (X, Y)},
        "schedule_options",
        {"recipe": {"schedule": "ReduceLROnPlateau", "schedule_options": {"factor": 0.5}}, "val": (X, Y)},
    ),
}


@pytest.mark.parametrize("name", [*LABELS, *MODELS, *RECIPES])
def test_what_it_says_works(name: str) -> None:
    """What is refused is refused with these words, and what they say is prepared."""
    refused, words, mended = (LABELS | MODELS | RECIPES)[name]
    with pytest.raises(nd.BadInput, match=words):
        prepared(**refused)
    prepared(**mended)


def test_a_recipe_that_is_a_dictionary() -> None:
    """The sentence writes the recipe out."""
    with pytest.raises(nd.BadInput, match=r"recipe=nondet\.Recipe\(epochs=10, batch_size=32, lr=0\.1\)"):
        nd.Task(model=line, train=(X, Y), test=(X, Y), recipe=GIVEN)  # type: ignore[arg-type]
    nd.Task(model=line, train=(X, Y), test=(X, Y), recipe=nd.Recipe(epochs=10, batch_size=32, lr=0.1))


@pytest.mark.parametrize(
    "train",
    [Stream(), DataLoader(Stream(), batch_size=5), list(Stream()), [(X[:9], Y[:9]), (X[9:], Y[9:])]],
    ids=["a stream", "a loader of it", "a list of examples", "a list of batches"],
)
def test_examples_in_other_hands(train: Any) -> None:
    """An iterable data set, a loader of one, and lists hold the same examples as the tensors."""
    problem = prepared(train=train)
    assert torch.equal(problem.train[0], X)
    assert torch.equal(problem.train[1], Y)
