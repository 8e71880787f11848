"""VGG for small images (Simonyan & Zisserman 2015), with batch norm and one fully connected layer."""

from __future__ import annotations

from torch import nn

from nondet.errors import BadInput
from nondet.models.simple import named

_STAGES = ((64,), (128,), (256, 256), (512, 512), (512, 512))
_SMALLEST = 2 ** len(_STAGES)  # pixels: each stage halves the image


def vgg11(inputs: int, size: int, classes: int) -> nn.Module:
    """Eight 3x3 convolutions with batch norm in five stages, each followed by max pooling, and one linear layer.

    The pixels left after pooling are averaged: at 32 pixels only one is left, as usual for CIFAR.
    """
    if size < _SMALLEST:
        raise BadInput(
            f"vgg11 needs images of at least {_SMALLEST} pixels along each side, because it halves them five times "
            f"(got {size}); choose another network, such as resnet14"
        )
    layers: dict[str, nn.Module] = {}
    number, width = 0, inputs
    for stage, channels in enumerate(_STAGES, start=1):
        for outputs in channels:
            number += 1
            layers[f"conv{number}"] = nn.Conv2d(width, outputs, 3, padding=1)
            layers[f"bn{number}"] = nn.BatchNorm2d(outputs)
            layers[f"relu{number}"] = nn.ReLU()
            width = outputs
        layers[f"pool{stage}"] = nn.MaxPool2d(2)
    layers["mean"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    layers["fc"] = nn.Linear(width, classes)
    return named(**layers)
