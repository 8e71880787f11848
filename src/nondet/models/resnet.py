"""Residual networks (He et al. 2016): the protocol's family for CIFAR-10 (Summers & Dinneen 2021), and ImageNet's."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def _he(model: nn.Module) -> None:
    """Draw the weights of all convolutions as He et al. 2015 do."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


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
        nn.init.zeros_(self.bn2.weight)
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
        _he(self)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.blocks(x)
        return self.fc(torch.mean(x, dim=(2, 3)))


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut: a 1x1 convolution with batch norm if the block changes the shape."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.shortcut(x) + self.bn2(self.conv2(y)))


class ResNet18(nn.Module):
    """A 7x7 stem with stride 2, max pooling, four stages of two blocks, global average pooling, one linear layer."""

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        widths = (64, 64, 64, 128, 128, 256, 256, 512, 512)
        self.blocks = nn.Sequential(*(Block(a, b, 1 if a == b else 2) for a, b in pairwise(widths)))
        self.fc = nn.Linear(widths[-1], classes)
        _he(self)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, stride=2, padding=1)
        return self.fc(self.blocks(x).mean(dim=(2, 3)))
