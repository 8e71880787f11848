"""Data and models in the forms that people have: what they train is what the same tensors and modules train."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset, WeightedRandomSampler

import nondet as nd
from nondet.training.prepare import prepare
from nondet.training.problem import Problem
from nondet.training.train import train_stack
from nondet.training.trial import fitting_width

RNG = np.random.default_rng(11)
X = torch.from_numpy(RNG.standard_normal((60, 6)))
Y = X[:, :3].argmax(1)


def line() -> nn.Module:
    return nn.Linear(6, 3)


def prepared(train: Any = None, test: Any = None, model: Callable[[], nn.Module] = line, **rest: Any) -> Problem:
    fields = {"epochs": 2, "batch_size": 16, "lr": 0.1, "schedule": "constant", "precision": "float64"}
    fields |= rest.pop("recipe", {})
    task = nd.Task(
        model=model,
        train=(X[:40], Y[:40]) if train is None else train,
        test=(X[40:], Y[40:]) if test is None else test,
        recipe=nd.Recipe(**fields),  # type: ignore[arg-type]
        name="form",
        **rest,
    )
    return prepare(task, task.recipe, torch.device("cpu"))


def trained(problem: Problem, vary: str = "init", count: int = 2) -> list[dict[str, Any]]:
    runs = [dict.fromkeys(problem.sources, 1) | {vary: seed} for seed in range(1, count + 1)]
    width, _ = fitting_width(problem, count)
    parts = [runs] if width > 1 else [[run] for run in runs]
    return [dict(outcome.arrays) for part in parts for outcome in train_stack(problem, part)]


def same(a: list[dict[str, Any]], b: list[dict[str, Any]]) -> bool:
    return all(np.array_equal(x["outputs"], y["outputs"]) for x, y in zip(a, b, strict=True))


class Items(Dataset[Any]):
    """A map-style data set of a user's own."""

    def __init__(self, rows: slice, noise: float = 0.0) -> None:
        self.x, self.y, self.noise = X[rows], Y[rows], noise

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        x = self.x[place]
        return x + self.noise * torch.randn(6, dtype=x.dtype) if self.noise else x, int(self.y[place])


class ByName(nn.Module):
    """As Hugging Face's: takes labels, and returns its loss beside logits."""

    def __init__(self, shift: bool = False) -> None:
        super().__init__()
        self.line, self.shift = nn.Linear(6, 3), shift

    def forward(self, x: Tensor, mask: Tensor | None = None, labels: Tensor | None = None) -> Any:
        logits = self.line(x if mask is None else x * mask[:, None])
        loss = None if labels is None else F.cross_entropy(logits, labels)
        return SimpleNamespace(logits=logits, loss=loss)


FORMS: dict[str, Callable[[slice], Any]] = {
    "arrays": lambda rows: (X[rows].numpy(), Y[rows].numpy()),
    "a data set": lambda rows: Items(rows),
    "a TensorDataset": lambda rows: TensorDataset(X[rows], Y[rows]),
    "a loader": lambda rows: DataLoader(TensorDataset(X[rows], Y[rows]), 7, shuffle=True),
    "a list of batches": lambda rows: list(zip(X[rows].split(9), Y[rows].split(9), strict=True)),
}


@pytest.mark.parametrize("form", FORMS)
def test_data_of_every_form_trains_the_same(form: str) -> None:
    """The form of the data changes no bit of a run."""
    make = FORMS[form]
    assert same(trained(prepared(make(slice(0, 40)), make(slice(40, 60)))), trained(prepared()))


@pytest.mark.parametrize("inside", [False, True])
def test_labels_inside_a_dictionary(inside: bool) -> None:
    """One dictionary of all that a model takes is what a pair is; a loss that the model returns is its loss."""

    def part(rows: slice) -> dict[str, Tensor]:
        return {"x": X[rows], "mask": torch.ones(len(X[rows])), "labels": Y[rows]}

    class NoLabels(ByName):
        def forward(self, x: Tensor, mask: Tensor | None = None) -> Any:  # type: ignore[override]
            return super().forward(x, mask)

    problem = prepared(part(slice(0, 40)), part(slice(40, 60)), ByName if inside else NoLabels)
    assert problem.objective.inside is inside
    found, plain = trained(problem), trained(prepared())
    assert all(np.abs(a["outputs"] - b["outputs"]).max() < 1e-12 for a, b in zip(found, plain, strict=True))


def test_a_data_set_that_draws_belongs_to_the_augment_source() -> None:
    """What reading an example draws follows the augment seed, an epoch and the example; the test set is fixed."""
    problem = prepared(Items(slice(0, 40), noise=0.5), Items(slice(40, 60)))
    assert "augment" in problem.sources
    found, again = trained(problem, "augment", 3), trained(problem, "augment", 3)
    assert same(found, again)
    assert not np.array_equal(found[0]["outputs"], found[1]["outputs"])


def test_a_collate_makes_the_batches() -> None:
    """Examples of unequal length need one, and the sentence says so."""
    rows: Any = [(torch.ones(1 + place % 3), place % 3) for place in range(30)]

    def padded(batch: list[Any]) -> tuple[Tensor, Tensor]:
        return torch.stack([F.pad(x, (0, 6 - len(x))) for x, _ in batch]), torch.tensor([y for _, y in batch])

    class Ragged(Dataset[Any]):
        def __len__(self) -> int:
            return len(rows)

        def __getitem__(self, place: int) -> Any:
            return rows[place]

    with pytest.raises(nd.BadInput, match=r"collate=\.\.\."):
        prepared(Ragged(), Ragged())
    problem = prepared(Ragged(), Ragged(), collate=padded)
    assert trained(problem)[0]["outputs"].shape == (30, 3)


def test_a_loader_that_weighs_its_examples_is_refused() -> None:
    """A sampler of its own would be left out in silence; the way out is the data set itself."""
    data = TensorDataset(X[:40], Y[:40])
    with pytest.raises(nd.BadInput, match=r"train=loader\.dataset"):
        prepared(DataLoader(data, 8, sampler=WeightedRandomSampler([1.0] * 40, 40)))
    assert prepared(data).kind.name == "classification"


def test_a_transform_of_one_example_draws_from_the_augment_source() -> None:
    """As those of torchvision do from the global generator; a run repeats to the last bit."""

    def noisy(x: Tensor) -> Tensor:
        return x + 0.3 * torch.randn_like(x)

    problem = prepared(augment=(noisy,))
    found = trained(problem, "augment", 3)
    assert same(found, trained(problem, "augment", 3))
    assert not np.array_equal(found[0]["outputs"], found[2]["outputs"])


class MixUp:
    """As torchvision's: draws from torch's global generator, and returns labels as shares."""

    def __call__(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        weight, shares = float(torch.rand(())), F.one_hot(y, 3).to(x.dtype)
        return weight * x + (1 - weight) * x.roll(1, 0), weight * shares + (1 - weight) * shares.roll(1, 0)


@pytest.mark.parametrize("mix", [MixUp(), nd.Mixup(0.4, classes=3)])
def test_mixed_batches_are_each_runs_own(mix: Any) -> None:
    """A run of a stack of three is, to 1e-12, the run alone; the order of a mini-batch is no source then."""
    problem = prepared(augment=(mix,))
    assert "order" not in problem.sources
    runs = [dict.fromkeys(problem.sources, 1) | {"augment": seed} for seed in (1, 2, 3)]
    together = train_stack(problem, runs)
    for run, outcome in zip(runs, together, strict=True):
        (alone,) = train_stack(problem, [run])
        assert np.abs(alone.arrays["outputs"] - outcome.arrays["outputs"]).max() < 1e-12
    assert not np.array_equal(together[0].arrays["outputs"], together[1].arrays["outputs"])


class Lstm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.line = nn.LSTM(2, 5, num_layers=2, batch_first=True, dropout=0.3), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.line(self.rnn(x.unflatten(1, (3, 2)))[0][:, -1])


class DropPath(nn.Module):
    """As timm's: one draw for each example."""

    def __init__(self) -> None:
        super().__init__()
        self.line, self.last = nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        kept = x.new_empty((len(x), 1)).bernoulli_(0.7) if self.training else 1.0
        return self.last(x + self.line(x) * kept)


class Gumbel(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return F.gumbel_softmax(self.line(x), tau=1.0) if self.training else self.line(x)


class LayerDrop(nn.Module):
    """Leaves a layer with dropout out at random, by numpy: another number of dropout calls at each step."""

    def __init__(self) -> None:
        super().__init__()
        self.drop, self.line = nn.Dropout(0.3), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        skip = self.training and np.random.rand() < 0.5  # noqa: NPY002 -- as users write it
        return self.line(x if skip else self.drop(x))


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.line = nn.TransformerEncoderLayer(2, 1, 4, batch_first=True), nn.Linear(2, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.line(self.layer(x.unflatten(1, (3, 2))).mean(1))


@pytest.mark.parametrize("model", [Lstm, DropPath, Gumbel, LayerDrop, Encoder])
def test_what_a_model_draws_belongs_to_the_dropout_source(model: Callable[[], nn.Module]) -> None:
    """It is trained one at a time or in a stack, repeats to the last bit, and varies with the dropout seed alone."""
    problem = prepared(model=model)
    assert "dropout" in problem.sources
    torch.manual_seed(5)  # noqa: TID251 -- a state that no run may depend on
    found = trained(problem, "dropout", 3)
    torch.manual_seed(6)  # noqa: TID251 -- another
    assert same(found, trained(problem, "dropout", 3))
    assert not np.array_equal(found[0]["outputs"], found[1]["outputs"])
    (last,) = trained(prepared(model=model), "dropout", 1)
    assert np.allclose(last["outputs"], found[0]["outputs"], rtol=0, atol=1e-9)  # another width, other last bits


class Noise(nn.Module):
    """Adds noise, written into an empty tensor as torchvision's stochastic depth is; also when it is evaluated."""

    def __init__(self) -> None:
        super().__init__()
        self.line, self.drop = nn.Linear(6, 3), nn.Dropout(0.2)

    def forward(self, x: Tensor) -> Tensor:
        kept = torch.empty(len(x), 1, dtype=x.dtype).bernoulli_(0.8)
        return self.drop(self.line(x + 0.1 * torch.randn_like(x)) * kept)


@pytest.mark.parametrize("model", [DropPath, Gumbel, Encoder, Noise])
def test_what_a_model_draws_is_each_runs_own_in_a_stack(model: Callable[[], nn.Module]) -> None:
    """A run of a stack draws the numbers that it draws alone: the same weights and answers to 1e-9."""
    problem = prepared(model=model)
    assert fitting_width(problem, 3)[0] == 3
    runs = [dict.fromkeys(problem.sources, 1) | {"init": seed, "dropout": seed} for seed in (1, 2, 3)]
    together = train_stack(problem, runs)
    for run, mine in zip(runs, together, strict=True):
        (alone,) = train_stack(problem, [run])
        for name, array in alone.arrays.items():
            assert np.allclose(mine.arrays[name], array, rtol=0, atol=1e-9), name
    again = train_stack(problem, [runs[2], runs[0], runs[1]])
    assert np.array_equal(again[1].arrays["outputs"], together[0].arrays["outputs"])


@pytest.mark.parametrize("name", ["SiLU", "Sigmoid", "Softplus", "Tanh", "Hardswish"])
def test_a_function_that_rounds_by_the_place_in_memory_trains_in_a_stack(name: str) -> None:
    """A run's bits are the same in every slot: each run's part of such a function is computed by itself."""
    act = getattr(nn, name)
    recipe = {"precision": "float32", "batch_size": 11}
    problem = prepared(model=lambda: nn.Sequential(nn.Linear(6, 5), act(), nn.Linear(5, 3)), recipe=recipe)
    assert fitting_width(problem, 7) == (7, "")
    run = dict.fromkeys(problem.sources, 1)
    first, *others = train_stack(problem, [run] * 7)
    assert all(np.array_equal(first.arrays["outputs"], other.arrays["outputs"]) for other in others)


def test_lazy_layers_take_their_shapes_from_the_data() -> None:
    """Their weights are those of layers of the same sizes, drawn from the run's init seed."""
    lazy = prepared(model=lambda: nn.LazyLinear(3))
    assert same(trained(lazy), trained(prepared(model=line)))


def test_classes_that_have_names() -> None:
    """They are numbered in the order of their names, also in a list; one that training does not know is refused."""
    names = np.array(["bee", "cat", "dog"])
    said = prepared((X[:40], list(names[Y[:40]])), (X[40:], names[Y[40:]]))
    assert torch.equal(said.test[1], prepared().test[1])
    assert same(trained(said), trained(prepared()))
    with pytest.raises(nd.BadInput, match="classes of the training set"):
        prepared((X[:40], names[Y[:40]]), (X[40:], ["emu"] * 20))


def test_a_dictionary_that_the_model_does_not_take_by_name() -> None:
    """Where it fails on the whole of it, the sentence writes the names; with them it works."""

    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.line = nn.Linear(6, 3)

        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            return self.line(a + b)

    class Whole(Named):
        def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
            return self.line(x)

    def part(rows: slice) -> Any:
        return {"a": X[rows], "b": X[rows]}, Y[rows]

    parts = part(slice(0, 40)), part(slice(40, 60))
    with pytest.raises(nd.BadInput, match=r"write forward\(self, a, b\)"):
        prepared(*parts, model=Whole)
    assert prepared(*parts, model=Named).kind.name == "classification"


class Causal(nn.Module):
    """As a causal language model of Hugging Face: its loss is of the next token."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.line = nn.Embedding(7, 4), nn.Linear(4, 7)

    def forward(self, input_ids: Tensor, labels: Tensor | None = None) -> Any:
        logits = self.line(self.table(input_ids))
        loss = None if labels is None else F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
        return SimpleNamespace(logits=logits, loss=loss)


def test_a_causal_model_is_measured_on_the_next_token() -> None:
    """The labels of the study are one place ahead, so that perplexity is that of the model's own loss."""
    words = torch.from_numpy(RNG.integers(7, size=(60, 5)))
    parts = [{"input_ids": words[rows], "labels": words[rows]} for rows in (slice(0, 40), slice(40, 60))]
    problem = prepared(parts[0], parts[1], Causal)
    assert problem.kind.name == "tokens"
    assert torch.equal(problem.kind.known(problem.test[1]), words[40:, 1:].flatten())
    assert len(trained(problem)[0]["logprob"]) == 20 * 4
