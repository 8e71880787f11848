"""Every network: its number of parameters, its forward pass, its start, and its place in a stack."""

import copy
import hashlib
import math
import subprocess
import sys
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from nondet.errors import BadInput
from nondet.models import MODELS, build, parameter_counts
from nondet.models.catalogue import NETWORKS
from nondet.models.resnet import BasicBlock, ResNet
from nondet.sources import seeded_globals, stream
from nondet.training.dropout import given_dropout, recorded_dropout

COUNTS = {
    "resnet6": 9_978,
    "resnet10": 42_682,
    "resnet14": 172_602,
    "resnet14x0.125": 2_936,
    "resnet14x8": 10_928_522,
    "resnet18": 11_001_034,
    "resnet20": 269_818,
    "resnet56": 853_114,
    "vgg11": 9_231_114,
    "shufflenet0.5": 352_042,
    "shufflenet1": 2_278_604 - 1_025_000 + 10_250,  # the published network with a last layer of 10 classes, not 1000
    "mnist-cnn": 1_199_882,
    "mnist-linear": 7_850,
    "mnist-dense": (784 + 1) * 512 + (512 + 1) * 10,
    "mnist-conv": (25 + 1) * 64 + (14 * 14 * 64 + 1) * 10,
    "linear": (3 * 32 * 32 + 1) * 10,
    "dense": (3 * 32 * 32 + 1) * 512 + (512 + 1) * 10,
    "conv": (3 * 25 + 1) * 64 + (16 * 16 * 64 + 1) * 10,
    "imagenet-resnet18": 11_689_512,
}
FAMILIES = ["linear", "dense", "conv", "resnet14x0.125", "vgg11", "shufflenet0.5", "mnist-cnn", "imagenet-resnet18"]


def made(name: str, seed: int = 1, **setting: int) -> nn.Module:
    """The network at its own setting or another, from one seed of the init source."""
    own = NETWORKS[name]
    with seeded_globals(stream("init", seed)):
        return build(name, **({"inputs": own.inputs, "size": own.size, "classes": own.classes} | setting))


def images(name: str, count: int, size: int = 0) -> Tensor:
    """Seeded images (count, channels, size, size) of the network's own channels, and of its own size unless told."""
    size = size or NETWORKS[name].size
    numbers = stream("images", 1).standard_normal((count, NETWORKS[name].inputs, size, size))
    return torch.from_numpy(numbers).float()


@pytest.fixture(scope="module")
def counts() -> dict[str, dict[str, int]]:
    """What `nondet models --json` prints."""
    return parameter_counts()


@pytest.mark.parametrize("name", COUNTS)
def test_parameters_are_as_many_as_the_reference_has(name: str, counts: dict[str, dict[str, int]]) -> None:
    """The number of learnable parameters is exactly the reference's, or that of the written shapes."""
    assert counts[name] == {"parameters": COUNTS[name]}


def test_every_network_is_counted_in_the_order_of_the_table(counts: dict[str, dict[str, int]]) -> None:
    """Names, descriptions, builders and counts are of the same networks."""
    assert list(counts) == list(MODELS)
    assert [*NETWORKS, "qrnn"] == list(MODELS)
    assert all(entry["parameters"] > 0 for entry in counts.values())


def test_counting_draws_no_random_number() -> None:
    """The global generator stands where it stood."""
    before = torch.get_rng_state()
    parameter_counts()
    assert torch.equal(torch.get_rng_state(), before)


def test_names_come_without_torch() -> None:
    """Importing the package for its names leaves torch alone."""
    code = "import sys, nondet.models; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", NETWORKS)
def test_logits_have_one_row_for_each_image(name: str) -> None:
    """At its own setting every network returns finite logits (batch, classes)."""
    model = made(name).eval()
    with torch.no_grad():
        outputs = model(images(name, 2))
    assert outputs.shape == (2, NETWORKS[name].classes)
    assert outputs.isfinite().all()


@pytest.mark.parametrize("name", [n for n in FAMILIES if n != "vgg11"])
@pytest.mark.parametrize(("inputs", "size"), [(1, 8), (1, 28), (3, 33)])
def test_small_and_odd_images_fit(name: str, inputs: int, size: int) -> None:
    """Digits, MNIST and images of odd size go through every family that does not pool them away."""
    model = made(name, inputs=inputs, size=size, classes=7).eval()
    with torch.no_grad():
        assert model(torch.zeros(2, inputs, size, size)).shape == (2, 7)


@pytest.mark.parametrize("name", ["linear", "dense", "conv", "resnet14x0.125", "vgg11", "shufflenet0.5"])
def test_images_of_imagenet_fit(name: str) -> None:
    """224 pixels along each side go through the networks for small images too, as shapes at least."""
    with torch.device("meta"):
        model = build(name, inputs=3, size=224, classes=1000).eval()
        assert model(torch.zeros(2, 3, 224, 224)).shape == (2, 1000)


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        ("vgg11", 28, r"vgg11 needs images of at least 32 pixels along each side.* \(got 28\); choose another network"),
        ("mnist-cnn", 5, r"mnist-cnn needs images of at least 6 pixels along each side.* \(got 5\); choose another"),
        ("qrnn", 32, r"qrnn is a language model and takes no images .*nondet run ptb"),
        ("resnet15", 32, r"model must be one of linear, dense, .*, qrnn \(got 'resnet15'"),
    ],
)
def test_networks_that_cannot_be_built(name: str, size: int, message: str) -> None:
    """Images that pooling would make empty, the language model and unknown names are refused in one sentence."""
    with pytest.raises(BadInput, match=message):
        build(name, inputs=3, size=size, classes=10)


def test_the_smallest_images_that_pooling_allows() -> None:
    """The sentences above tell the truth: one pixel more goes through."""
    with torch.no_grad():
        assert made("vgg11", size=32).eval()(images("vgg11", 2)).shape == (2, 10)
        assert made("mnist-cnn", size=6).eval()(images("mnist-cnn", 2, 6)).shape == (2, 10)


class TestStack:
    """Three networks as one program, in training."""

    @pytest.mark.parametrize("name", FAMILIES)
    def test_a_stack_equals_its_networks_one_by_one(self, name: str) -> None:
        """Logits and batch-norm buffers in training are those of each network alone, to 1e-10 in float64."""
        models, x, uniforms = trio(name, torch.float64)
        with torch.no_grad():
            _, logits, buffers = stacked(models, x, uniforms)
            for slot, model in enumerate(models):
                with given_dropout([u[slot] for u in uniforms]):
                    torch.testing.assert_close(logits[slot], model(x[slot]), rtol=0, atol=1e-10)
                for key, buffer in model.named_buffers():
                    torch.testing.assert_close(buffers[key][slot], buffer, rtol=0, atol=1e-10)

    @pytest.mark.parametrize("name", FAMILIES)
    def test_the_slot_in_a_stack_does_not_matter(self, name: str) -> None:
        """In another slot, beside other networks, a network's logits and gradients are the same to the last bit."""
        models, x, uniforms = trio(name, torch.float32)
        logits, gradients = step(models, x, uniforms)
        others, other_gradients = step(models[::-1], x.flip(0), [u.flip(0) for u in uniforms])
        assert torch.equal(logits, others.flip(0))
        for key, gradient in gradients.items():
            assert torch.equal(gradient, other_gradients[key].flip(0)), key


def step(models: list[nn.Module], x: Tensor, uniforms: list[Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    """Logits (3, B, c) and every parameter's gradient (3, ...) of the sum of the models' losses."""
    parameters, logits, _ = stacked(models, x, uniforms)
    torch.stack([F.cross_entropy(outputs, torch.arange(len(outputs))) for outputs in logits]).sum().backward()
    return logits.detach(), {key: p.grad for key, p in parameters.items()}


def trio(name: str, dtype: torch.dtype) -> tuple[list[nn.Module], Tensor, list[Tensor]]:
    """Three networks of different weights, a batch of images for each (3, B, ...), and dropout's numbers (3, ...)."""
    size = min(NETWORKS[name].size, 64)  # ImageNet's network at a size that takes less time
    models = [made(name, seed, size=size, classes=10).to(dtype).train() for seed in (1, 2, 3)]
    x = images(name, 9, size).to(dtype).unflatten(0, (3, 3))
    with recorded_dropout() as shapes, torch.no_grad():
        copy.deepcopy(models[0])(x[0])
    uniforms = [torch.from_numpy(stream("dropout", 1, i).random((3, *s))).to(dtype) for i, s in enumerate(shapes)]
    return models, x, uniforms


def stacked(models: list[nn.Module], x: Tensor, uniforms: list[Tensor]) -> tuple[Any, Tensor, Any]:
    """Parameters, logits and buffers after one forward pass of all models, the way `nondet.training` runs them."""
    parameters, buffers = stack_module_state(models)
    buffers = {key: b.clone() for key, b in buffers.items()}
    skeleton = copy.deepcopy(models[0])

    def forward(p: Any, b: Any, images: Tensor, *u: Tensor) -> Tensor:
        with given_dropout(u):
            return functional_call(skeleton, (p, b), (images,))

    return parameters, vmap(forward)(parameters, buffers, x, *uniforms), buffers


class TestResNetStart:
    """How the protocol's networks start."""

    def test_convolutions_have_the_fan_out_deviation(self) -> None:
        """Every convolution's weights have mean 0 and standard deviation sqrt(2 / fan out), within chance."""
        model = made("resnet14x4")
        convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
        assert len(convolutions) == 13
        for conv in convolutions:
            weight, sd = conv.weight.detach(), math.sqrt(2 / (conv.out_channels * 9))
            n = weight.numel()
            assert float(weight.mean()) == pytest.approx(0, abs=4 * sd / math.sqrt(n))
            assert float(weight.std()) == pytest.approx(sd, rel=4 / math.sqrt(2 * n))

    def test_only_the_last_scale_of_each_block_is_zero(self) -> None:
        """Batch-norm scales start at 1, but for the last of each block; all shifts start at 0."""
        scales = {key: p for key, p in made("resnet14").named_parameters() if p.dim() == 1 and key != "fc.bias"}
        for key, p in scales.items():
            ones = key.endswith("weight") and not (key.startswith("blocks.") and key.endswith(".bn2.weight"))
            assert torch.equal(p, torch.full_like(p, float(ones))), key
        assert sum(key.endswith(".bn2.weight") for key in scales) == 6

    def test_a_block_starts_as_its_shortcut(self) -> None:
        """In evaluation a new block returns relu of a strided average pool, batch-normed and padded with zeros."""
        model = made("resnet10").eval()
        x = images("resnet10", 2, 8).repeat(1, 6, 1, 1)[:, :16]
        same, down = (m for i, m in enumerate(m for m in model.modules() if isinstance(m, BasicBlock)) if i in (0, 2))
        assert torch.equal(same(x), F.relu(x))
        expected = F.avg_pool2d(x, 1, stride=2) / math.sqrt(1 + 1e-5)
        expected = F.relu(torch.cat([expected, torch.zeros_like(expected)], dim=1))
        torch.testing.assert_close(down(x), expected, rtol=1e-6, atol=1e-6)

    def test_the_digits_network_is_what_it_was(self) -> None:
        """Its initial weights for one init seed have the SHA-256 of version 0.1, so that old studies go on."""
        with seeded_globals(stream("init", 1)):
            model = ResNet(channels=(8, 16), blocks=(1, 1), inputs=1, classes=10)
        weights = b"".join(p.detach().numpy().tobytes() for p in model.parameters())
        assert hashlib.sha256(weights).hexdigest() == "dcec25cfd47e92c336ddfa8af7263f5aa1c39b1671d1b04fb3154af48476a091"


def test_channels_are_shuffled_between_the_halves() -> None:
    """A ShuffleNet unit of stride 1 hands half of its channels on untouched, at every second place."""
    units = [m for m in made("shufflenet0.5").eval().modules() if type(m).__name__ == "Unit"]
    x = torch.from_numpy(stream("images", 2).standard_normal((2, 48, 4, 4))).float()
    with torch.no_grad():
        y = units[1](x)
    assert torch.equal(y[:, ::2], x[:, :24])
    assert (y[:, 1::2] >= 0).all()
    assert not torch.equal(y[:, 1::2], x[:, 24:])
