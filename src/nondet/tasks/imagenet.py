"""ImageNet (Russakovsky et al. 2015), or any tree of images with a folder for each class, read during training."""

from __future__ import annotations

import torch

from nondet.data.decoders import Decoders, decoder_count
from nondet.data.streamed import Streamed
from nondet.data.trees import read_tree
from nondet.errors import BadInput
from nondet.models import build
from nondet.tasks.recipe import Recipe
from nondet.tasks.task import Options, Task

SIZE = 224
RECIPES = {
    "imagenet": Recipe(
        # The reference states only the network, the number of runs and the augmentation. These are the usual public
        # values for a ResNet-18 on ImageNet ...
        epochs=90,
        batch_size=256,
        lr=0.1,
        optimizer="SGD",
        options={"momentum": 0.9, "weight_decay": 1e-4},
        # ... with the cosine schedule and the warm-up of the reference's main experiment instead of steps.
        schedule="cosine",
        warmup=3.0,
    )
}
STACK = 2
"""A larger stack would need the memory of several such trainings at once."""


def task(name: str, options: Options) -> Task:
    """Random resized crops to 224 x 224, and flips; tested on central crops, after resizing the short side to 256."""
    if options.data is None:
        raise BadInput(
            "imagenet has no free download, so its folder must be given (got none); give <<data=DIR>>, "
            "where DIR contains train/CLASS/*.JPEG and val/CLASS/*.JPEG"
        )
    train, test = read_tree(options.data, options.broken, (options.train_examples, options.test_examples))
    decoders = Decoders(decoder_count(len(train.files)))
    classes = len(train.classes)
    network = options.model or "imagenet-resnet18"
    return Task(
        name=name,
        model=lambda: build(network, inputs=3, size=SIZE, classes=classes),
        train=(Streamed(train, decoders), torch.from_numpy(train.labels)),
        test=(Streamed(test, decoders), torch.from_numpy(test.labels)),
        recipe=RECIPES[name],
        stack=STACK,
    )
