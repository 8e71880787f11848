"""How each network of `MODELS` is built, and the images it was made for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType

from torch import nn

from nondet.models import simple, vgg
from nondet.models.resnet import ResNet, ResNet18
from nondet.models.shufflenet import ShuffleNet


@dataclass(frozen=True)
class Network:
    """A builder, and the network's usual setting: channels, pixels along each side, classes."""

    build: Callable[[int, int, int], nn.Module]
    inputs: int = 3
    size: int = 32
    classes: int = 10


def _resnet(first: int, *blocks: int) -> Network:
    """The protocol's ResNet with this many channels in the first stage, twice as many in each next one."""
    channels = [first * 2**stage for stage in range(len(blocks))]
    return Network(lambda inputs, size, classes: ResNet(channels, blocks, inputs, classes))


def _shufflenet(*widths: int) -> Network:
    return Network(lambda inputs, size, classes: ShuffleNet(widths, inputs, classes))


NETWORKS = MappingProxyType(
    {
        "linear": Network(simple.linear),
        "dense": Network(simple.dense),
        "conv": Network(simple.conv),
        "resnet6": _resnet(16, 2),
        "resnet10": _resnet(16, 2, 2),
        "resnet14": _resnet(16, 2, 2, 2),
        "resnet18": _resnet(64, 2, 2, 2, 2),
        "resnet20": _resnet(16, 3, 3, 3),
        "resnet32": _resnet(16, 5, 5, 5),
        "resnet44": _resnet(16, 7, 7, 7),
        "resnet56": _resnet(16, 9, 9, 9),
        "resnet110": _resnet(16, 18, 18, 18),
        "resnet34": _resnet(64, 3, 4, 6, 3),
        "resnet14x0.125": _resnet(2, 2, 2, 2),
        "resnet14x0.25": _resnet(4, 2, 2, 2),
        "resnet14x0.5": _resnet(8, 2, 2, 2),
        "resnet14x2": _resnet(32, 2, 2, 2),
        "resnet14x4": _resnet(64, 2, 2, 2),
        "resnet14x8": _resnet(128, 2, 2, 2),
        "vgg11": Network(vgg.vgg11),
        "shufflenet0.5": _shufflenet(48, 96, 192),
        "shufflenet1": _shufflenet(116, 232, 464),
        "mnist-cnn": Network(simple.Cnn, inputs=1, size=28),
        "mnist-linear": Network(simple.linear, inputs=1, size=28),
        "mnist-dense": Network(simple.dense, inputs=1, size=28),
        "mnist-conv": Network(simple.conv, inputs=1, size=28),
        "imagenet-resnet18": Network(lambda inputs, size, classes: ResNet18(inputs, classes), size=224, classes=1000),
    }
)
"""Every image network of `MODELS`."""
