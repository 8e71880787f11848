"""CIFAR-10 and ResNet-14: the protocol's main experiment (Summers & Dinneen 2021)."""

from __future__ import annotations

from nondet.data.cifar import read_cifar10
from nondet.tasks.options import Options
from nondet.tasks.pictures import PictureSet, picture_task
from nondet.tasks.recipe import Recipe
from nondet.tasks.task import Task

RECIPE = Recipe(
    epochs=500,
    batch_size=512,
    lr=0.4,
    optimizer="SGD",
    options={"momentum": 0.9, "weight_decay": 5e-4},
    schedule="cosine",
    warmup=3.0,
    bias_lr=0.1,
)
"""Exactly the authors' recipe."""


def task(options: Options) -> Task:
    """50,000 training and 10,000 test images; crops to 32 x 32 after 4 pixels of black padding, and flips."""
    cifar10 = PictureSet(
        name="cifar10",
        read=read_cifar10,
        classes=10,
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2023, 0.1994, 0.2010),
        network="resnet14",
        recipe=RECIPE,
        padding=4,
        flip=True,
        stack=4,
    )
    return picture_task(cifar10, options)
