"""What the trial finds before training: usual models train in stacks, and nothing else is taken for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from nondet import Recipe, Task
from nondet.study.spec import same_task
from nondet.training.prepare import prepare
from nondet.training.problem import Problem
from nondet.training.trial import fitting_width

GENERATOR = torch.Generator().manual_seed(0)
LABELS = torch.randint(0, 4, (90,), generator=GENERATOR)
IMAGES = torch.randn(90, 3, 12, 12, generator=GENERATOR)
ROWS = torch.randn(90, 6, 8, generator=GENERATOR)
WORDS = torch.randint(0, 30, (90, 6), generator=GENERATOR)


class Bag(nn.Module):
    """The mean of the words' embeddings."""

    def __init__(self) -> None:
        super().__init__()
        self.bag, self.line = nn.EmbeddingBag(30, 8), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.line(self.bag(x))


def convolutions(norm: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    def model() -> nn.Module:
        body = [nn.Conv2d(3, 8, 3, padding=1), norm(), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3), nn.ReLU()]
        return nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))

    return model


def dense(*inside: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(nn.Flatten(), nn.Linear(48, 16), *(make() for make in inside), nn.Linear(16, 4))


def attention() -> nn.Module:
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    return nn.Sequential(nn.Dropout(0.1), layer, nn.Flatten(), nn.Linear(48, 4))


USUAL: dict[str, tuple[Callable[[], nn.Module], Tensor]] = {
    "batch norm": (convolutions(lambda: nn.BatchNorm2d(8)), IMAGES),
    "group norm": (convolutions(lambda: nn.GroupNorm(2, 8)), IMAGES),
    "instance norm": (convolutions(lambda: nn.InstanceNorm2d(8, affine=True)), IMAGES),
    "layer norm": (convolutions(lambda: nn.LayerNorm([8, 12, 12])), IMAGES),
    "embedding": (lambda: nn.Sequential(nn.Embedding(30, 8), nn.Flatten(), nn.Linear(48, 4)), WORDS),
    "embedding bag": (Bag, WORDS),
    "attention": (attention, ROWS),
    "dropout": (dense(lambda: nn.Dropout(0.3, inplace=True), nn.ReLU), ROWS),
    "weight norm": (dense(lambda: nn.utils.parametrizations.weight_norm(nn.Linear(16, 16)), nn.Tanh), ROWS),
    "GELU": (dense(nn.GELU), ROWS),
}


def problem(model: Callable[[], nn.Module], inputs: Tensor, **recipe: object) -> Problem:
    made = Recipe(**({"epochs": 2, "batch_size": 24, "lr": 0.01} | recipe))  # type: ignore[arg-type]
    task = Task(
        name="usual", model=model, train=(inputs[:60], LABELS[:60]), test=(inputs[60:], LABELS[60:]), recipe=made
    )
    return prepare(task, made, torch.device("cpu"))


@pytest.mark.filterwarnings("ignore:There is a performance drop")  # vmap's own, where it loops
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", USUAL)
def test_usual_models_train_in_stacks(name: str, precision: str) -> None:
    """With an optimizer that scales every gradient up to the same size, rounding noise too."""
    assert fitting_width(problem(*USUAL[name], optimizer="AdamW", precision=precision), 3) == (3, "")


def test_averages_train_in_stacks() -> None:
    """A recipe that asks for averages of the weights changes nothing of it."""
    p = problem(*USUAL["batch norm"], ema=0.9, swa=1)
    assert fitting_width(p, 3) == (3, "")


def test_three_steps_are_part_of_the_name() -> None:
    """Their losses and gradients: equal for the same task, others for another function of the same shapes."""
    relu, tanh, again = (problem(dense(kind), ROWS) for kind in (nn.ReLU, nn.Tanh, nn.ReLU))
    assert relu.identity["trial"] == again.identity["trial"]
    assert len(relu.identity["trial"]["loss"]) == len(relu.identity["trial"]["gradient"]) == 3
    assert not same_task(relu.identity, relu.identity | {"trial": tanh.identity["trial"]})


def test_rounding_does_not_change_the_name() -> None:
    """Numbers that differ in the tenth digit, as on another processor, name the same training; not in the fourth."""
    found = problem(dense(nn.ReLU), ROWS).identity
    for factor, same in ((1 + 1e-10, True), (1 + 1e-4, False)):
        trial = found["trial"] | {"loss": [factor * x for x in found["trial"]["loss"]]}
        assert same_task(found, found | {"trial": trial}) is same
    assert same_task(found, {name: value for name, value in found.items() if name != "trial"})


def test_a_model_that_does_not_repeat_itself_has_no_numbers() -> None:
    """Its own generator goes on from one model to the next: nothing is held against it, and the control will tell."""
    generator = torch.Generator().manual_seed(1)

    class Noisy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.line = nn.Linear(48, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.line(x.flatten(1)) + torch.randn(4, generator=generator)

    p = problem(Noisy, ROWS)
    assert not p.repeats
    assert p.identity["trial"] is None


def test_a_training_that_explodes_has_a_name_too() -> None:
    """Losses that are no finite numbers are None in it, and two such trainings repeat each other."""
    huge = problem(dense(nn.ReLU), ROWS, lr=1e200, precision="float64")
    assert huge.repeats
    assert None in huge.identity["trial"]["loss"]
    assert same_task(huge.identity, problem(dense(nn.ReLU), ROWS, lr=1e200, precision="float64").identity)
    assert fitting_width(huge, 3) == (3, "")


def test_dropout_is_part_of_the_trial() -> None:
    """Another rate of dropout is another training."""
    low, high = problem(dense(lambda: nn.Dropout(0.1)), ROWS), problem(dense(lambda: nn.Dropout(0.6)), ROWS)
    assert low.identity["trial"] != high.identity["trial"]
    assert replace(low, identity={}).dropout == high.dropout
