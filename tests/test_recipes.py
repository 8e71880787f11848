"""The recipes of the tasks on pictures, step by step against the protocol's written formulas."""

from __future__ import annotations

import gzip
import math
import struct
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from nondet.data import cifar
from nondet.errors import BadInput
from nondet.sources import seeded_globals, stream
from nondet.tasks import load_task
from nondet.tasks.augment import Crop, Flip
from nondet.tasks.pictures import RECIPES
from nondet.tasks.task import Options
from nondet.training.optimizers import make_optimizer
from nondet.training.prepare import prepare
from nondet.training.stack import Stack, set_rate
from nondet.training.train import train_stack

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
CIFAR10 = RECIPES["cifar10"]
PROBLEM: Any = SimpleNamespace(recipe=CIFAR10, settings=None)
STEPS = 98
"""Mini-batches in an epoch: 97 of 512 of the 50,000 images, and the last, smaller one."""
TRAIN, TEST = 2, 3
"""Images in each of the small files that stand in for the official ones."""


def written(epoch: float, epochs: int, highest: float = 0.4) -> float:
    """The learning rate at a fractional epoch, as the protocol writes it."""
    if epoch < 3:
        return highest * epoch / 3
    return 0.5 * highest * (1 + math.cos(math.pi * epoch / epochs))


def small_stack(trained: Mapping[str, Tensor]) -> Stack:
    """The main experiment's optimizer over these parameters."""
    optimizer, peaks = make_optimizer(CIFAR10, trained, axes=1)
    failed = torch.zeros(2, dtype=torch.int64)
    return Stack(nn.Identity(), dict(trained), {}, {}, dict(trained), optimizer, peaks, {}, failed, [])


@pytest.fixture
def parameters() -> dict[str, Tensor]:
    """A weight, a bias and a batch norm's scale of a stack of two models."""
    shapes = {"conv.weight": (2, 4, 3), "conv.bias": (2, 4), "bn.weight": (2, 4)}
    return {name: torch.ones(shape, requires_grad=True) for name, shape in shapes.items()}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every data set in one folder, of a few images each, in the official layouts."""
    for name in ("CIFAR10", "CIFAR100"):
        monkeypatch.setattr(cifar, name, tuple(replace(version, images=TRAIN) for version in getattr(cifar, name)))
    monkeypatch.setattr(cifar, "TEST_IMAGES", TEST)
    rng = np.random.default_rng(0)
    batches = [f"cifar-10-batches-bin/data_batch_{i}.bin" for i in range(1, 6)]
    for name in (
        *batches,
        "cifar-10-batches-bin/test_batch.bin",
        "cifar-100-binary/train.bin",
        "cifar-100-binary/test.bin",
    ):
        labels = 2 if "100" in name else 1
        records = rng.integers(256, size=(TEST if "test" in name else TRAIN, labels + 3072), dtype=np.uint8)
        records[:, :labels] %= 10
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(records.tobytes())
    for name in ("mnist", "fashion-mnist"):
        (tmp_path / name).mkdir()
        for part, n in (("train", 10), ("t10k", TEST)):
            pixels, classes = rng.integers(256, size=(n, 28, 28), dtype=np.uint8), np.arange(n, dtype=np.uint8) % 10
            for kind, values in (("images", pixels), ("labels", classes)):
                header = struct.pack(f">{1 + values.ndim}I", 0x800 + values.ndim, *values.shape)
                path = tmp_path / name / f"{part}-{kind}-idx{values.ndim}-ubyte.gz"
                path.write_bytes(gzip.compress(header + values.tobytes()))
    return tmp_path


def tensor(inputs: object) -> Tensor:
    assert isinstance(inputs, Tensor)
    return inputs


def test_the_main_experiments_recipe_is_the_protocols() -> None:
    """Every field, with its options and no other."""
    assert CIFAR10.as_dict() == {
        "epochs": 500,
        "batch_size": 512,
        "lr": 0.40,
        "optimizer": "SGD",
        "schedule": "cosine",
        "warmup": 3.0,
        "bias_lr": 0.1,
        "precision": "float32",
        "momentum": 0.9,
        "weight_decay": 5e-4,
    }
    assert replace(CIFAR10, epochs=200) == RECIPES["cifar100"]


def test_the_rate_at_every_step(parameters: dict[str, Tensor]) -> None:
    """All 49,000 steps: the weights' rate is the written formula's, that of biases and scales a tenth of it."""
    stack = small_stack(parameters)
    weights, vectors = stack.optimizer.param_groups
    rates: list[tuple[float, float]] = []
    for stack.epoch in range(500):
        for step in range(STEPS):
            set_rate(stack, PROBLEM, step, STEPS)
            rates.append((weights["lr"], vectors["lr"]))
    wanted = np.array([written(i / STEPS, 500) for i in range(500 * STEPS)])
    np.testing.assert_allclose(np.array(rates), wanted[:, None] * [1, 0.1], rtol=1e-9, atol=1e-12)
    assert rates[0] == (0, 0)
    assert 0.3999 < max(rates)[0] < 0.4  # just after the warm-up, and slightly below the highest
    assert rates.index(max(rates)) == 3 * STEPS


def test_each_group_decays_and_has_its_parameters(parameters: dict[str, Tensor]) -> None:
    """Weight decay and momentum in both groups; what has one axis besides the stack's is a bias or a scale."""
    weights, vectors = small_stack(parameters).optimizer.param_groups
    assert [id(p) for p in weights["params"]] == [id(parameters["conv.weight"])]
    assert {id(p) for p in vectors["params"]} == {id(parameters["conv.bias"]), id(parameters["bn.weight"])}
    for group in (weights, vectors):
        assert (group["momentum"], group["weight_decay"]) == (0.9, 5e-4)
        assert (group["nesterov"], group["dampening"]) == (False, 0)


def test_two_steps_by_hand(parameters: dict[str, Tensor]) -> None:
    """v <- 0.9 v + (g + 5e-4 w), w <- w - lr v, with a rate that changes in between and a tenth of it for biases."""
    stack = small_stack(parameters)
    by_hand = dict.fromkeys(parameters, (1.0, 0.0))
    for epoch, gradient in ((100.25, 2.0), (400.5, -1.0)):
        stack.epoch = int(epoch)
        set_rate(stack, PROBLEM, int(100 * (epoch % 1)), 100)
        for name, parameter in parameters.items():
            parameter.grad = torch.full_like(parameter, gradient)
            w, v = by_hand[name]
            v = 0.9 * v + gradient + 5e-4 * w
            by_hand[name] = w - written(epoch, 500) * (1 if name == "conv.weight" else 0.1) * v, v
        stack.optimizer.step()
    for name, parameter in parameters.items():
        np.testing.assert_allclose(parameter.detach().numpy(), by_hand[name][0], rtol=1e-5)


class Noted(torch.optim.SGD):
    """SGD that notes its groups' rates at every step."""

    rates: ClassVar[list[list[float]]] = []

    def step(self, closure: Any = None) -> Any:
        Noted.rates.append([group["lr"] for group in self.param_groups])
        return super().step(closure)


def test_a_training_takes_these_rates(folder: Path) -> None:
    """Three steps an epoch of 10 images by 4, the last one smaller: the formula at thirds of an epoch."""
    task = load_task("cifar10", Options(data=folder, model="resnet14x0.125"))
    recipe = replace(CIFAR10, epochs=4, batch_size=4, optimizer=Noted)
    problem = prepare(task, recipe, torch.device("cpu"))
    Noted.rates.clear()  # of the trial steps
    train_stack(problem, [dict.fromkeys(problem.sources, seed) for seed in (1, 2)])
    wanted = [written(i / 3, 4) for i in range(12)]
    np.testing.assert_allclose(Noted.rates, [[rate, 0.1 * rate] for rate in wanted], rtol=1e-9)


def test_biases_and_scales_of_the_network_take_a_tenth(folder: Path) -> None:
    """In ResNet-14: 14 weights, one of them the last layer's; two vectors of each batch norm, and the last bias."""
    with seeded_globals(np.random.default_rng(0)):
        model = load_task("cifar10", Options(data=folder)).model()
    stacked = {name: p.detach()[None].requires_grad_() for name, p in model.named_parameters()}
    weights, vectors = small_stack(stacked).optimizer.param_groups
    norms = sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    assert len(weights["params"]) == 14
    assert len(vectors["params"]) == 2 * norms + 1


def test_offsets_and_flips_are_uniform(folder: Path) -> None:
    """All 162 pairs of an offset on 9 x 9 and a flip are equally likely (chi-squared, 200 epochs of fixed streams)."""
    crop, flip = load_task("cifar10", Options(data=folder)).augment
    counts = np.zeros((9, 9, 2))
    for epoch in range(200):
        rng = stream("augment", 1, epoch)
        offsets, flips = crop.draw(rng, 500), flip.draw(rng, 500)
        np.add.at(counts, (offsets[:, 0], offsets[:, 1], flips[:, 0]), 1)
    assert counts.sum() == 100_000
    for table in (counts, counts.sum(2), counts.sum((0, 1)), counts.sum((1, 2)), counts.sum((0, 2))):
        assert stats.chisquare(table.ravel()).pvalue > 0.001


def test_crops_are_slices_of_a_padded_image() -> None:
    """Against numpy, at every offset: the fill outside, exactly the image's pixels inside."""
    rng = np.random.default_rng(0)
    images = rng.standard_normal((81, 3, 32, 32)).astype(np.float32)
    fill = (-2.5, 0.5, 3.0)
    offsets = np.array([(row, column) for row in range(9) for column in range(9)])
    got = Crop(4, fill=fill).apply(torch.from_numpy(images), torch.from_numpy(offsets)).numpy()
    for image, (row, column), result in zip(images, offsets, got, strict=True):
        padded = np.stack([np.pad(plane, 4, constant_values=value) for plane, value in zip(image, fill, strict=True)])
        np.testing.assert_array_equal(result, padded[:, row : row + 32, column : column + 32])


def test_augmented_images_are_those_of_the_pixels(folder: Path) -> None:
    """Padding with zeros, cropping and flipping the pixels, then normalising them, comes to the same."""
    raw = (folder / "cifar-10-batches-bin/data_batch_1.bin").read_bytes()
    pixels = np.frombuffer(raw, dtype=np.uint8).reshape(TRAIN, -1)[:, 1:].reshape(TRAIN, 3, 32, 32)
    task = load_task("cifar10", Options(data=folder))
    inputs = tensor(task.train[0])[:TRAIN]
    for augmentation, draws in zip(task.augment, ([[0, 8], [7, 1]], [[1], [0]]), strict=True):
        inputs = augmentation.apply(inputs, torch.tensor(draws))
    padded = np.pad(pixels, ((0, 0), (0, 0), (4, 4), (4, 4))) / 255
    cropped = np.stack([padded[0, :, 0:32, 8:40][..., ::-1], padded[1, :, 7:39, 1:33]])
    wanted = (cropped - np.reshape(MEAN, (3, 1, 1))) / np.reshape(STD, (3, 1, 1))
    np.testing.assert_allclose(inputs.numpy(), wanted, atol=1e-6)


NORMAL = {
    "cifar10": (MEAN, STD),
    "cifar100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    "mnist": ((0.1307,), (0.3081,)),
    "fashion-mnist": ((0.2860,), (0.3530,)),
}
# ResNet-34: 21,328,292 with convolutions of 1 x 1 as shortcuts, of which it has none, so 172,032 weights and 896 of the
# batch norms fewer.
PARAMETERS = {"cifar10": 172_602, "cifar100": 21_155_364, "mnist": 1_199_882, "fashion-mnist": 1_199_882}


@pytest.mark.parametrize("name", NORMAL)
def test_each_task_has_its_network_and_pixels(folder: Path, name: str) -> None:
    """Name, network, augmentations, and pixels that come back as whole numbers when the normalisation is undone."""
    task = load_task(name, Options(data=folder))
    assert task.name == name
    mean, std = NORMAL[name]
    black = tuple(-m / s for m, s in zip(mean, std, strict=True))
    assert task.augment == ((Crop(4, fill=black), Flip()) if "cifar" in name else (Crop(1, fill=black),))
    train, test = tensor(task.train[0]), tensor(task.test[0])
    assert len(test) == len(task.test[1]) == TEST
    for images in (train, test):
        pixels = 255 * (images.double().numpy() * np.reshape(std, (-1, 1, 1)) + np.reshape(mean, (-1, 1, 1)))
        np.testing.assert_allclose(pixels, pixels.round(), atol=1e-3)
        assert pixels.max() > 200
        assert pixels.min() > -1e-3
    with torch.device("meta"):
        model = task.model()
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS[name]


@pytest.mark.parametrize("name", NORMAL)
def test_small_trials(folder: Path, name: str) -> None:
    """The first so many examples, and any network by name."""
    whole = load_task(name, Options(data=folder))
    small = load_task(name, Options(data=folder, model="linear", train_examples=2, test_examples=1))
    for part, rest, n in ((small.train, whole.train, 2), (small.test, whole.test, 1)):
        assert torch.equal(tensor(part[0]), tensor(rest[0])[:n])
        assert torch.equal(part[1], rest[1][:n])
    assert len(list(small.model().parameters())) == 2


@pytest.mark.parametrize("options", [{"train_examples": 0}, {"train_examples": 11}, {"test_examples": -1}])
def test_a_trial_of_no_or_of_too_many_examples_is_refused(folder: Path, options: dict[str, int]) -> None:
    """With the number that there is."""
    with pytest.raises(
        BadInput, match=r"(train_examples must be from 1 to 10|test_examples must be from 1 to 3) \(got"
    ):
        load_task("mnist", Options(data=folder, **options))  # type: ignore[arg-type]


def test_an_unknown_network_is_refused(folder: Path) -> None:
    """The sentence lists those that there are."""
    with pytest.raises(BadInput, match=r"model must be one of linear, .* \(got 'resnet15'; did you mean resnet10\?\)"):
        load_task("mnist", Options(data=folder, model="resnet15")).model()
