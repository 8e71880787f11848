"""The smallest networks: linear, one hidden layer, and a small convolutional network for MNIST.

Each takes images (B, inputs, size, size) and returns logits (B, classes). Summers & Dinneen 2021 show that even the
first ones are unstable.
"""

from __future__ import annotations

from collections import OrderedDict

import torch.nn.functional as F
from torch import Tensor, nn

from nondet.errors import BadInput


def named(**layers: nn.Module) -> nn.Sequential:
    """Return these layers in a row, under these names."""
    return nn.Sequential(OrderedDict(layers))


def linear(inputs: int, size: int, classes: int) -> nn.Module:
    """One fully connected layer on the pixels."""
    return named(flatten=nn.Flatten(), fc=nn.Linear(inputs * size**2, classes))


def dense(inputs: int, size: int, classes: int) -> nn.Module:
    """One hidden fully connected layer of 512."""
    return named(
        flatten=nn.Flatten(), hidden=nn.Linear(inputs * size**2, 512), relu=nn.ReLU(), fc=nn.Linear(512, classes)
    )


def conv(inputs: int, size: int, classes: int) -> nn.Module:
    """One hidden 5x5 convolution of 64 channels with stride 2; the last layer gets every position of its output."""
    first = nn.Conv2d(inputs, 64, 5, stride=2, padding=2)
    side = (size + 1) // 2
    return named(conv1=first, relu=nn.ReLU(), flatten=nn.Flatten(), fc=nn.Linear(64 * side**2, classes))


class Cnn(nn.Module):
    """Two 3x3 convolutions of 32 and 64 channels, max pooling, a hidden layer of 128: PyTorch's MNIST example.

    Like the protocol's network, it has no dropout, unlike the example, and returns logits, not their log-softmax.
    """

    def __init__(self, inputs: int, size: int, classes: int) -> None:
        super().__init__()
        if size < 6:
            raise BadInput(
                f"mnist-cnn needs images of at least 6 pixels along each side, because its pooling leaves nothing of "
                f"smaller images (got {size}); choose another network, such as mnist-dense"
            )
        side = (size - 4) // 2
        self.conv1 = nn.Conv2d(inputs, 32, 3)
        self.conv2 = nn.Conv2d(32, 64, 3)
        self.hidden = nn.Linear(64 * side**2, 128)
        self.fc = nn.Linear(128, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv2(F.relu(self.conv1(x))))
        x = F.max_pool2d(x, 2)
        x = F.relu(self.hidden(x.flatten(1)))
        return self.fc(x)
