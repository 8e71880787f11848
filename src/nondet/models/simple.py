"""The smallest networks: linear, and one hidden layer (Summers & Dinneen 2021 show that even these are unstable).

Each takes images (B, inputs, size, size) and returns logits (B, classes).
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn


def linear(inputs: int, size: int, classes: int) -> nn.Module:
    """One fully connected layer on the pixels."""
    return nn.Sequential(OrderedDict[str, nn.Module](flatten=nn.Flatten(), fc=nn.Linear(inputs * size**2, classes)))


def dense(inputs: int, size: int, classes: int) -> nn.Module:
    """One hidden fully connected layer of 512."""
    return nn.Sequential(
        OrderedDict[str, nn.Module](
            flatten=nn.Flatten(),
            hidden=nn.Linear(inputs * size**2, 512),
            relu=nn.ReLU(),
            fc=nn.Linear(512, classes),
        )
    )


def conv(inputs: int, size: int, classes: int) -> nn.Module:
    """One hidden 5x5 convolution of 64 channels with stride 2; the last layer gets every position of its output."""
    side = (size + 1) // 2
    return nn.Sequential(
        OrderedDict[str, nn.Module](
            conv1=nn.Conv2d(inputs, 64, 5, stride=2, padding=2),
            relu=nn.ReLU(),
            flatten=nn.Flatten(),
            fc=nn.Linear(64 * side**2, classes),
        )
    )
