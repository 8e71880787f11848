"""How each network of `MODELS` is built, and the images it was made for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType

from torch import nn

from nondet.models import imagenet, mnist, shufflenet, simple, vgg
from nondet.models.resnet import ResNet

Builder = Callable[[int, int, int], nn.Module]
"""(channels, pixels along each side, classes) -> a model."""


@dataclass(frozen=True)
class Network:
    """A builder, and the network's usual setting: channels, pixels along each side, classes."""

    build: Builder
    inputs: int = 3
    size: int = 32
    classes: int = 10


def _resnet(channels: tuple[int, ...], blocks: tuple[int, ...]) -> Network:
    return Network(lambda inputs, size, classes: ResNet(channels, blocks, inputs, classes))


def _deep(blocks: int) -> Network:
    return _resnet((16, 32, 64), (blocks,) * 3)


def _wide(first: int) -> Network:
    return _resnet((first, 2 * first, 4 * first), (2, 2, 2))


def _mnist(build: Builder) -> Network:
    return Network(build, inputs=1, size=28)


NETWORKS = MappingProxyType(
    {
        "linear": Network(simple.linear),
        "dense": Network(simple.dense),
        "conv": Network(simple.conv),
        "resnet6": _resnet((16,), (2,)),
        "resnet10": _resnet((16, 32), (2, 2)),
        "resnet14": _deep(2),
        "resnet18": _resnet((64, 128, 256, 512), (2, 2, 2, 2)),
        "resnet20": _deep(3),
        "resnet32": _deep(5),
        "resnet44": _deep(7),
        "resnet56": _deep(9),
        "resnet110": _deep(18),
        "resnet34": _resnet((64, 128, 256, 512), (3, 4, 6, 3)),
        "resnet14x0.125": _wide(2),
        "resnet14x0.25": _wide(4),
        "resnet14x0.5": _wide(8),
        "resnet14x2": _wide(32),
        "resnet14x4": _wide(64),
        "resnet14x8": _wide(128),
        "vgg11": Network(vgg.vgg11),
        "shufflenet0.5": Network(lambda inputs, size, classes: shufflenet.ShuffleNet((48, 96, 192), inputs, classes)),
        "shufflenet1": Network(lambda inputs, size, classes: shufflenet.ShuffleNet((116, 232, 464), inputs, classes)),
        "mnist-cnn": _mnist(mnist.Cnn),
        "mnist-linear": _mnist(simple.linear),
        "mnist-dense": _mnist(simple.dense),
        "mnist-conv": _mnist(simple.conv),
        "imagenet-resnet18": Network(imagenet.resnet18, size=224, classes=1000),
    }
)
"""Every image network of `MODELS`."""
