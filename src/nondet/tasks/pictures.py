"""The tasks on small pictures: normalised pixels, a network by name, and the usual augmentations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from nondet.data import Pictures
from nondet.data.cifar import read_cifar10, read_cifar100
from nondet.data.fetch import folder
from nondet.data.idx import read_fashion_mnist, read_mnist
from nondet.models import build
from nondet.tasks.augment import Crop, Flip
from nondet.tasks.recipe import Recipe
from nondet.tasks.task import Options, Task


@dataclass(frozen=True)
class PictureSet:
    """A data set and how it is trained.

    mean, std: of each channel, on a scale where white is 1. network: its name, unless the command names another.
    padding: the pixels of black added on every side before a random crop to the original size.
    """

    read: Callable[[Path], Pictures]
    classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    network: str
    recipe: Recipe
    padding: int
    flip: bool
    stack: int


_MNIST = PictureSet(
    read=read_mnist,
    classes=10,
    mean=(0.1307,),
    std=(0.3081,),
    network="mnist-cnn",
    # Short enough for two cores. The reference has no recipe for MNIST.
    recipe=Recipe(
        epochs=8,
        batch_size=64,
        lr=0.05,
        optimizer="SGD",
        options={"momentum": 0.9, "weight_decay": 5e-4},
        warmup=1.0,
    ),
    padding=1,
    flip=False,  # a digit's mirror image is not a digit
    stack=8,
)
_CIFAR10 = PictureSet(
    read=read_cifar10,
    classes=10,
    mean=(0.4914, 0.4822, 0.4465),
    std=(0.2023, 0.1994, 0.2010),
    network="resnet14",
    # The protocol's main experiment: exactly the recipe of its authors (Summers & Dinneen 2021).
    recipe=Recipe(
        epochs=500,
        batch_size=512,
        lr=0.4,
        optimizer="SGD",
        options={"momentum": 0.9, "weight_decay": 5e-4},
        schedule="cosine",
        warmup=3.0,
        bias_lr=0.1,
    ),
    padding=4,
    flip=True,
    stack=4,
)
SETS = MappingProxyType(
    {
        "mnist": _MNIST,
        "fashion-mnist": replace(_MNIST, read=read_fashion_mnist, mean=(0.2860,), std=(0.3530,)),
        "cifar10": _CIFAR10,
        "cifar100": replace(  # the fine labels; fewer epochs, as in the replication of Summers & Dinneen 2021
            _CIFAR10,
            read=read_cifar100,
            classes=100,
            mean=(0.5071, 0.4865, 0.4409),
            std=(0.2673, 0.2564, 0.2762),
            network="resnet34",
            recipe=replace(_CIFAR10.recipe, epochs=200),
            stack=2,  # each model has 21 million parameters
        ),
    }
)
RECIPES = MappingProxyType({name: chosen.recipe for name, chosen in SETS.items()})


def task(name: str, options: Options) -> Task:
    """Return the task of a data set with the command's options. BadInput says what is wrong with the files."""
    chosen = SETS[name]
    pictures = chosen.read(folder(name, options.data))
    _, channels, size, _ = pictures.train_images.shape
    # The padding is black, so its value is that of a black pixel after normalisation; 0 would be the mean.
    black = tuple(-mean / std for mean, std in zip(chosen.mean, chosen.std, strict=True))
    crop = Crop(chosen.padding, fill=black)

    def part(images: np.ndarray, labels: np.ndarray, which: str) -> tuple[Tensor, Tensor]:
        pixels, targets = options.first(which, (torch.from_numpy(images), torch.from_numpy(labels)))
        mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (chosen.mean, chosen.std))
        return pixels.float().div_(255).sub_(mean).div_(std), targets  # in place: CIFAR's training set is 614 MB

    return Task(
        name=name,
        model=lambda: build(options.model or chosen.network, inputs=channels, size=size, classes=chosen.classes),
        train=part(pictures.train_images, pictures.train_labels, "train"),
        test=part(pictures.test_images, pictures.test_labels, "test"),
        recipe=chosen.recipe,
        augment=(crop, Flip()) if chosen.flip else (crop,),
        stack=chosen.stack,
    )
