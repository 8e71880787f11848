"""scikit-learn's handwritten digits: 1,797 images of 8 x 8 pixels (Alpaydin & Kaynak 1998, the UCI test set)."""

from __future__ import annotations

import numpy as np
import torch

from nondet import models
from nondet.models.resnet import ResNet
from nondet.tasks.augment import Crop
from nondet.tasks.recipe import Recipe
from nondet.tasks.task import Options, Task

RECIPES = {
    "digits": Recipe(
        epochs=24,
        batch_size=32,
        lr=0.4,
        optimizer="SGD",
        options={"momentum": 0.9, "weight_decay": 5e-3},
        warmup=1.0,
    )
}


def task(name: str, options: Options) -> Task:
    """896 training and 901 test images (every second image of each class); crops to 8 x 8 after 1 pixel of zeros.

    The network is a small ResNet made for this task, or any that `nondet models` lists.
    """
    from sklearn.datasets import load_digits

    pixels, classes = load_digits(return_X_y=True)
    labels = np.asarray(classes, dtype=np.int64)
    train = np.zeros(len(labels), dtype=bool)
    for digit in range(10):
        where = np.flatnonzero(labels == digit)
        train[where[1::2]] = True
    images = torch.from_numpy(np.asarray(pixels, dtype=np.float32)).view(-1, 1, 8, 8) / 16
    mean, std = images[train].mean(), images[train].std()
    images = (images - mean) / std
    targets = torch.from_numpy(labels)
    return Task(
        name=name,
        model=lambda: (
            ResNet(channels=(8, 16), blocks=(1, 1), inputs=1, classes=10)
            if options.model is None
            else models.build(options.model, inputs=1, size=8, classes=10)
        ),
        train=options.first("train", (images[train], targets[train])),
        test=options.first("test", (images[~train], targets[~train])),
        recipe=RECIPES[name],
        augment=(Crop(1),),
    )
