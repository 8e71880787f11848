"""What the tasks on small pictures share: normalised pixels, a network by name, and the usual augmentations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nondet.data import Pictures
from nondet.data.fetch import folder
from nondet.models import build
from nondet.tasks.augment import Crop, Flip
from nondet.tasks.options import Options, first
from nondet.tasks.recipe import Recipe
from nondet.tasks.task import Task


@dataclass(frozen=True)
class PictureSet:
    """A data set and how it is trained.

    mean, std: of each channel, on a scale where white is 1. network: its name, unless the command names another.
    padding: the pixels added on every side before a random crop.
    """

    name: str
    read: Callable[[Path], Pictures]
    classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    network: str
    recipe: Recipe
    padding: int
    flip: bool
    stack: int


def picture_task(chosen: PictureSet, options: Options) -> Task:
    """Return the task of a data set with the command's options. BadInput says what is wrong with the files."""
    pictures = chosen.read(folder(chosen.name, options.data))
    _, channels, size, _ = pictures.train_images.shape
    # The padding is black, so its value is that of a black pixel after normalisation; 0 would be the mean.
    black = tuple(-mean / std for mean, std in zip(chosen.mean, chosen.std, strict=True))
    crop = Crop(chosen.padding, fill=black)
    return Task(
        name=chosen.name,
        model=lambda: build(options.model or chosen.network, inputs=channels, size=size, classes=chosen.classes),
        train=_part(chosen, pictures.train_images, pictures.train_labels, options.train_examples, "train_examples"),
        test=_part(chosen, pictures.test_images, pictures.test_labels, options.test_examples, "test_examples"),
        recipe=chosen.recipe,
        augment=(crop, Flip()) if chosen.flip else (crop,),
        stack=chosen.stack,
    )


def _part(
    chosen: PictureSet, images: np.ndarray, labels: np.ndarray, count: int | None, name: str
) -> tuple[Tensor, Tensor]:
    pixels, targets = first((torch.from_numpy(images), torch.from_numpy(labels)), count, name)
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (chosen.mean, chosen.std))
    return pixels.float().div_(255).sub_(mean).div_(std), targets  # in place: CIFAR's training set is 614 MB
