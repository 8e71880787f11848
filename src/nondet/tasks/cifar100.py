"""CIFAR-100 and ResNet-34, with the fine labels."""

from __future__ import annotations

from dataclasses import replace

from nondet.data.cifar import read_cifar100
from nondet.tasks import cifar10
from nondet.tasks.options import Options
from nondet.tasks.pictures import PictureSet, picture_task
from nondet.tasks.task import Task

RECIPE = replace(cifar10.RECIPE, epochs=200)
"""The main experiment's recipe with fewer epochs (the replication of Summers & Dinneen 2021)."""


def task(options: Options) -> Task:
    """50,000 training and 10,000 test images; crops to 32 x 32 after 4 pixels of black padding, and flips."""
    cifar100 = PictureSet(
        name="cifar100",
        read=read_cifar100,
        classes=100,
        mean=(0.5071, 0.4865, 0.4409),
        std=(0.2673, 0.2564, 0.2762),
        network="resnet34",
        recipe=RECIPE,
        padding=4,
        flip=True,
        stack=2,  # each model has 21 million parameters
    )
    return picture_task(cifar100, options)
