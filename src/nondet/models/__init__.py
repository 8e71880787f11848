"""Networks: plain `nn.Module`s, each written for one model, one file per family.

Importing this package does not import torch: the command line only needs the names and descriptions.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from nondet.errors import BadInput
from nondet.io.nearest import did_you_mean

if TYPE_CHECKING:
    from torch import nn

__all__ = ["MODELS", "build", "parameter_counts"]

MODELS = MappingProxyType(
    {
        "linear": "one fully connected layer",
        "dense": "one hidden fully connected layer of 512",
        "conv": "one hidden 5x5 convolution of 64 channels, stride 2",
        "resnet6": "ResNet for small images: one stage of 2 blocks, 16 channels",
        "resnet10": "ResNet for small images: 2, 2 blocks of 16, 32 channels",
        "resnet14": "ResNet for small images: 2, 2, 2 blocks of 16, 32, 64 channels; the protocol's main network",
        "resnet18": "ResNet for small images: 2, 2, 2, 2 blocks of 64, 128, 256, 512 channels",
        "resnet20": "ResNet for small images: 3 blocks in each stage of 16, 32, 64 channels",
        "resnet32": "ResNet for small images: 5 blocks in each stage of 16, 32, 64 channels",
        "resnet44": "ResNet for small images: 7 blocks in each stage of 16, 32, 64 channels",
        "resnet56": "ResNet for small images: 9 blocks in each stage of 16, 32, 64 channels",
        "resnet110": "ResNet for small images: 18 blocks in each stage of 16, 32, 64 channels",
        "resnet34": "ResNet for small images: 3, 4, 6, 3 blocks of 64, 128, 256, 512 channels",
        "resnet14x0.125": "ResNet-14 at one eighth of its width",
        "resnet14x0.25": "ResNet-14 at one quarter of its width",
        "resnet14x0.5": "ResNet-14 at half its width",
        "resnet14x2": "ResNet-14 at twice its width",
        "resnet14x4": "ResNet-14 at four times its width",
        "resnet14x8": "ResNet-14 at eight times its width",
        "vgg11": "VGG-11 with batch norm, for images of at least 32 pixels",
        "shufflenet0.5": "ShuffleNetV2 for small images, at half its width",
        "shufflenet1": "ShuffleNetV2 for small images",
        "mnist-cnn": "two 3x3 convolutions of 32 and 64 channels, max pooling, a hidden layer of 128",
        "mnist-linear": "`linear` for MNIST",
        "mnist-dense": "`dense` for MNIST",
        "mnist-conv": "`conv` for MNIST",
        "imagenet-resnet18": "ResNet-18 for ImageNet: 7x7 stem, max pooling, 1x1-convolution shortcuts",
        "qrnn": "quasi-recurrent language model (Bradbury et al. 2016)",
    }
)
"""Networks by name, in the order in which tables list them."""


def build(name: str, *, inputs: int, size: int, classes: int) -> nn.Module:
    """Build the named network for images with `inputs` channels and size x size pixels: (B, inputs, size, size).

    It returns logits (B, classes). Its constructor draws from the global generators; see `sources.seeded_globals`.
    BadInput for an unknown name, for the language model, and for images too small for the network's pooling.
    """
    if name not in MODELS:
        near = did_you_mean(name, MODELS, "; {}")
        raise BadInput(f"model must be one of {', '.join(MODELS)} (got {name!r}{near}); choose one")
    if name == "qrnn":
        raise BadInput(
            "qrnn is a language model and takes no images (got 'qrnn'); use nondet run ptb or nondet run text"
        )
    from nondet.models.catalogue import NETWORKS

    return NETWORKS[name].build(inputs, size, classes)


def parameter_counts() -> dict[str, dict[str, int]]:
    """Return {name: {"parameters": learnable parameters}} for every network in its usual setting.

    That is 3 x 32 x 32 pixels and 10 classes; 1 x 28 x 28 and 10 for MNIST's networks; 3 x 224 x 224 and 1000 for
    ImageNet's; 10,000 words for the language model. Nothing is allocated and no random number is drawn.
    """
    import torch

    from nondet.models import qrnn
    from nondet.models.catalogue import NETWORKS

    with torch.device("meta"):
        models = {name: n.build(n.inputs, n.size, n.classes) for name, n in NETWORKS.items()}
        models["qrnn"] = qrnn.build_default(words=10_000)
    return {
        name: {"parameters": sum(p.numel() for p in models[name].parameters() if p.requires_grad)} for name in MODELS
    }
