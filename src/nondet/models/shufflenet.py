"""ShuffleNetV2 for small images (Ma et al. 2018): the stem keeps the image's size, three stages halve it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nondet.models.simple import named

_STEM, _LAST = 24, 1024  # channels of the first and the last convolution
_BLOCKS = (4, 8, 4)  # in each stage


class Unit(nn.Module):
    """Half of the channels pass unchanged, the others go through three convolutions; then the halves are shuffled.

    With stride 2, both halves get all channels, and the passing half is convolved too.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        half = outputs // 2
        given = inputs if stride > 1 else half
        self.passing = _two(given, half, stride) if stride > 1 else None
        self.branch = nn.Sequential(_point(given, half), *_two(half, half, stride))

    def forward(self, x: Tensor) -> Tensor:
        if self.passing is None:
            left, right = x.chunk(2, dim=1)
        else:
            left, right = self.passing(x), x
        both = torch.stack([left, self.branch(right)], dim=2)  # (B, half, 2, H, W): the halves' channels alternate
        return both.flatten(1, 2)


class ShuffleNet(nn.Module):
    """The whole network. widths: the channels of the three stages, which must be even."""

    def __init__(self, widths: Sequence[int], inputs: int, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, _STEM, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(_STEM)
        units: list[nn.Module] = []
        width = _STEM
        for outputs, count in zip(widths, _BLOCKS, strict=True):
            for block in range(count):
                units.append(Unit(width, outputs, stride=2 if block == 0 else 1))
                width = outputs
        self.blocks = nn.Sequential(*units)
        self.conv2 = nn.Conv2d(width, _LAST, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(_LAST)
        self.fc = nn.Linear(_LAST, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(self.blocks(x))))
        return self.fc(x.mean(dim=(2, 3)))


def _point(inputs: int, outputs: int) -> nn.Sequential:
    """1x1 convolution, batch norm, ReLU."""
    return named(conv=nn.Conv2d(inputs, outputs, 1, bias=False), bn=nn.BatchNorm2d(outputs), relu=nn.ReLU())


def _two(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    """A depthwise 3x3 convolution with batch norm but no ReLU, then a 1x1 convolution with both."""
    each = nn.Conv2d(inputs, inputs, 3, stride, padding=1, groups=inputs, bias=False)
    return nn.Sequential(named(conv=each, bn=nn.BatchNorm2d(inputs)), _point(inputs, outputs))
