"""Residual networks of the protocol's family (He et al. 2016, as Summers & Dinneen 2021 train them on CIFAR-10)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut without a convolution.

    If the block changes the shape, the shortcut is a strided 1x1 average pool, a batch norm and zero padding of
    the channels. The last batch-norm scale starts at zero, so that the block starts as its shortcut.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.stride = stride
        self.widening = outputs - inputs
        self.shortcut_bn = nn.BatchNorm2d(inputs) if stride != 1 or self.widening else None

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        if self.shortcut_bn is not None:
            # A strided 1x1 average pool keeps one pixel in stride x stride: slicing gives the same numbers, faster.
            x = self.shortcut_bn(x[:, :, :: self.stride, :: self.stride])
            x = F.pad(x, (0, 0, 0, 0, 0, self.widening))
        return F.relu(x + y)


class ResNet(nn.Module):
    """A stem, stages of basic blocks, global average pooling and one fully connected layer.

    channels, blocks: the width of each stage and its number of blocks; every stage except the first halves the image.
    """

    def __init__(self, channels: Sequence[int], blocks: Sequence[int], inputs: int, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, channels[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels[0])
        stages: list[nn.Module] = []
        width = channels[0]
        for stage, (outputs, count) in enumerate(zip(channels, blocks, strict=True)):
            for block in range(count):
                stages.append(BasicBlock(width, outputs, stride=2 if stage > 0 and block == 0 else 1))
                width = outputs
        self.blocks = nn.Sequential(*stages)
        self.fc = nn.Linear(width, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, BasicBlock):
                nn.init.zeros_(module.bn2.weight)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.blocks(x)
        return self.fc(torch.mean(x, dim=(2, 3)))
