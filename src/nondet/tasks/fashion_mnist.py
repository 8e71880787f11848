"""Fashion-MNIST and a small convolutional network."""

from __future__ import annotations

from nondet.data.idx import read_fashion_mnist
from nondet.tasks import mnist
from nondet.tasks.options import Options
from nondet.tasks.pictures import PictureSet, picture_task
from nondet.tasks.task import Task

RECIPE = mnist.RECIPE


def task(options: Options) -> Task:
    """60,000 training and 10,000 test images, trained as MNIST; crops of 28 from a black padding of 1 pixel."""
    fashion_mnist = PictureSet(
        name="fashion-mnist",
        read=read_fashion_mnist,
        classes=10,
        mean=(0.2860,),
        std=(0.3530,),
        network="mnist-cnn",
        recipe=RECIPE,
        padding=1,
        flip=False,
        stack=8,
    )
    return picture_task(fashion_mnist, options)
