"""The small convolutional network of PyTorch's MNIST example."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from nondet.errors import BadInput


class Cnn(nn.Module):
    """Two 3x3 convolutions of 32 and 64 channels, max pooling, a hidden layer of 128.

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
