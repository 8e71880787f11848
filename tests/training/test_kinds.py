"""Tasks of every kind: chosen by labels and outputs, trained as a plain loop trains them, measured and shown."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import nondet as nd
from nondet.kinds import fitting
from nondet.sources import seeded_globals, stream
from nondet.training.examples import epoch_plan
from nondet.training.prepare import prepare
from nondet.training.train import train_stack

RNG = np.random.default_rng(3)
X = torch.from_numpy(RNG.standard_normal((60, 1, 4, 4)))
FLAT = X.flatten(1)
MASK = (X[:, 0] > 0).long()
VOID = torch.where(torch.from_numpy(RNG.random((60, 4, 4))) < 0.1, 255, MASK)
WORDS = torch.from_numpy(RNG.integers(7, size=(60, 6)))
NUMBER = FLAT[:, 0] + FLAT[:, 1] ** 2
SEVERAL = torch.stack([FLAT[:, 0] > 0, FLAT[:, 1] > 0.3, FLAT[:, 2] + FLAT[:, 3] > 0], 1)
CLASS = FLAT[:, :3].argmax(1)
PARTLY = torch.where(torch.arange(60) % 7 == 0, -100, CLASS)


def mlp(outputs: int) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, outputs))


class Named(nn.Module):
    """Returns a dictionary, and takes its two inputs by name."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(16, 3)

    def forward(self, values: Tensor, scale: Tensor) -> dict[str, Tensor]:
        return {"logits": self.line(values) * scale[:, None], "hidden": values}


class Words(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.line = nn.Embedding(7, 5), nn.Linear(5, 7)

    def forward(self, x: Tensor) -> Tensor:
        return self.line(self.table(x))


def pixels() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Tanh(), nn.Conv2d(4, 2, 1))


class Coder(nn.Module):
    """A variational autoencoder: it draws noise in training and in evaluation."""

    def __init__(self) -> None:
        super().__init__()
        self.code, self.decode = nn.Linear(16, 4), nn.Linear(2, 16)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, log = self.code(x).chunk(2, 1)
        return self.decode(mean + torch.randn_like(mean) * (log / 2).exp()), mean.square() + log.exp() - log


def elbo(model: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    made, divergence = model(x)
    return (made - x).square().mean() + 0.1 * divergence.mean(), made


def binary(z: Tensor, y: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(z, y.double())


def by_pixel(z: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(z, y, ignore_index=255)


CASES: dict[str, tuple[Callable[[], nn.Module], Any, Tensor, Callable[[Tensor, Tensor], Tensor], dict[str, Any]]] = {
    "regression": (mlp(1), FLAT, NUMBER, lambda z, y: F.mse_loss(z[:, 0], y), {}),
    "regression of many": (mlp(16), FLAT, FLAT, F.mse_loss, {"kind": "regression"}),
    "binary": (mlp(1), FLAT, (NUMBER > 1).long(), lambda z, y: binary(z[:, 0], y), {}),
    "multilabel": (mlp(3), FLAT, SEVERAL.double(), binary, {}),
    "segmentation": (pixels, X, MASK, by_pixel, {}),
    "segmentation with void": (pixels, X, VOID, by_pixel, {"ignore": 255}),
    "tokens": (Words, WORDS, WORDS.roll(1, 1), lambda z, y: F.cross_entropy(z.flatten(0, 1), y.flatten()), {}),
    "classification with ignored": (mlp(3), FLAT, PARTLY, F.cross_entropy, {}),
    "classification of shares": (
        mlp(3),
        FLAT,
        F.one_hot(CLASS, 3).double(),
        F.cross_entropy,
        {"kind": "classification"},
    ),
}


def task(model: Callable[[], nn.Module], inputs: Any, labels: Tensor, **rest: Any) -> nd.Task:
    recipe = nd.Recipe(epochs=2, batch_size=16, lr=0.05, schedule="constant", precision="float64")
    part = {"a": slice(0, 40), "b": slice(40, 60)}
    train, test = ((inputs[rows], labels[rows]) for rows in part.values())
    return nd.Task(model=model, train=train, test=test, recipe=recipe, stack=3, name="case", **rest)


@pytest.mark.parametrize("name", CASES)
def test_a_run_of_a_stack_is_a_plain_loops(name: str) -> None:
    """Each kind is found from labels and outputs, and trained as torch's own loss trains it, to 1e-9 in float64."""
    model, inputs, labels, loss, rest = CASES[name]
    problem = prepare(task(model, inputs, labels, **rest), task(model, inputs, labels).recipe, torch.device("cpu"))
    assert problem.kind.name == name.split()[0]
    runs = [dict.fromkeys(problem.sources, 1) | {"init": seed, "shuffle": seed} for seed in (1, 2, 3)]
    outcomes = train_stack(problem, runs)
    with seeded_globals(stream("init", 2)):
        plain = model().double()
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.05)
    for epoch in range(2):
        for part in torch.from_numpy(epoch_plan(problem, runs[1], epoch).examples).split(16):
            optimizer.zero_grad()
            loss(plain(inputs[:40][part]), labels[:40][part]).backward()
            optimizer.step()
    for key, weight in plain.state_dict().items():
        assert np.abs(outcomes[1].arrays[f"weights.{key}"] - weight.numpy()).max() < 1e-9


@pytest.mark.parametrize("name", CASES)
def test_it_is_seen_everywhere(nondet: Callable[..., Any], name: str, tmp_path: Path) -> None:
    """A study of each kind is trained, shown, compared and put on a page, and its JSON has the kind's figures."""
    model, inputs, labels, _, rest = CASES[name]
    study = nd.run(task(model, inputs, labels, **rest), runs=4, vary=["init", "shuffle"], folder=tmp_path / "s")
    found = json.loads(nondet("show", tmp_path / "s", "--json").out)
    score = study["init"].kind.scores[0].name
    assert found["control"]["identical"] is True
    assert found["conditions"][0][score]["sd"] > 0
    assert nd.compare(study["init"], study["shuffle"]).verdict
    assert nondet("report", tmp_path / "s").code == 0
    assert nd.measure(study["init"])[f"{score}.sd"].value == found["conditions"][0][score]["sd"]


def test_a_dictionary_of_inputs_and_of_outputs(tmp_path: Path) -> None:
    """Inputs by name are given by name, and the logits of a dictionary are its outputs."""
    parts = [{"values": FLAT[rows], "scale": torch.ones(len(FLAT[rows]))} for rows in (slice(0, 40), slice(40, 60))]
    made = task(mlp(3), FLAT, CLASS)
    named = nd.Task(
        model=Named, train=(parts[0], CLASS[:40]), test=(parts[1], CLASS[40:]), recipe=made.recipe, stack=2, name="n"
    )
    study = nd.run(named, runs=3, vary="init", folder=tmp_path / "s")
    assert study["init"].outputs.shape == (3, 20, 3)
    assert study["init"].kind.name == "classification"


def test_a_loss_of_the_users_own(tmp_path: Path) -> None:
    """Any model trains with a loss that returns outputs beside it; noise in it comes from the dropout source."""
    made = task(mlp(3), FLAT, CLASS)
    coder = nd.Task(model=Coder, train=FLAT[:40], test=FLAT[40:], recipe=made.recipe, stack=2, name="vae", loss=elbo)
    study = nd.run(coder, runs=3, vary="dropout", folder=tmp_path / "s")
    runs = study["dropout"]
    assert runs.kind.name == "any"
    assert runs.outputs.shape == (3, 20, 16)
    found = nd.measure(runs)
    assert found["test_loss.sd"].value > 0
    assert found["prediction.sd"].value > 0


def test_a_loss_that_fails_says_how_it_is_called() -> None:
    """A loss of outputs and labels in the place of one of model and batch is told apart."""
    wrong = task(mlp(3), FLAT, CLASS, loss=lambda outputs, labels: outputs.square())
    with pytest.raises(nd.BadInput, match=r"loss\(model, batch\)"):
        prepare(wrong, wrong.recipe, torch.device("cpu"))


@pytest.mark.parametrize(
    ("labels", "outputs", "name"),
    [
        ((5,), (5, 3), "classification"),
        ((5,), (5, 1), "binary"),
        ((5,), (5,), "binary"),
        ((5, 4), (5, 4), "multilabel"),
        ((5, 4), (5, 4, 9), "tokens"),
        ((5, 4), (5, 9, 4), "segmentation"),
        ((5, 4, 6), (5, 9, 4, 6), "segmentation"),
        ((5,), (5, 3, 4), None),
        ((5, 3), (5, 9), None),
    ],
)
def test_the_kind_of_whole_numbers(labels: tuple[int, ...], outputs: tuple[int, ...], name: str | None) -> None:
    """Shapes say where the classes are."""
    found = fitting(torch.arange(int(np.prod(labels))).reshape(labels) % 2, torch.zeros(outputs))
    assert (found and found.name) == name


def test_what_two_kinds_fit_is_asked_for() -> None:
    """Nothing is guessed: the sentence names both kinds."""
    with pytest.raises(nd.BadInput, match=r"kind='tokens'.*kind='segmentation'"):
        fitting(torch.ones(5, 4, dtype=torch.int64), torch.zeros(5, 4, 4))
    with pytest.raises(nd.BadInput, match="kind='classification' or kind='multilabel'"):
        fitting(F.one_hot(CLASS, 3).double(), torch.zeros(5, 3))
