"""MNIST and a small convolutional network."""

from __future__ import annotations

from nondet.data.idx import read_mnist
from nondet.tasks.options import Options
from nondet.tasks.pictures import PictureSet, picture_task
from nondet.tasks.recipe import Recipe
from nondet.tasks.task import Task

RECIPE = Recipe(
    epochs=8,
    batch_size=64,
    lr=0.05,
    optimizer="SGD",
    options={"momentum": 0.9, "weight_decay": 5e-4},
    warmup=1.0,
)
"""Short enough for two cores. The reference has no recipe for MNIST."""


MNIST = PictureSet(
    name="mnist",
    read=read_mnist,
    classes=10,
    mean=(0.1307,),
    std=(0.3081,),
    network="mnist-cnn",
    recipe=RECIPE,
    padding=1,
    flip=False,  # a digit's mirror image is not a digit
    stack=8,
)


def task(options: Options) -> Task:
    """60,000 training and 10,000 test images; crops to 28 x 28 after 1 pixel of black padding."""
    return picture_task(MNIST, options)
