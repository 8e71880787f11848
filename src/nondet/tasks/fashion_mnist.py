"""Fashion-MNIST and a small convolutional network."""

from __future__ import annotations

from dataclasses import replace

from nondet.data.idx import read_fashion_mnist
from nondet.tasks import mnist
from nondet.tasks.options import Options
from nondet.tasks.pictures import picture_task
from nondet.tasks.task import Task

RECIPE = mnist.RECIPE


def task(options: Options) -> Task:
    """60,000 training and 10,000 test images, trained like MNIST; crops to 28 x 28 after 1 pixel of black padding."""
    named = replace(mnist.MNIST, name="fashion-mnist", read=read_fashion_mnist)
    return picture_task(replace(named, mean=(0.2860,), std=(0.3530,)), options)
