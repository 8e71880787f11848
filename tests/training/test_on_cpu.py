"""A stack on a CPU with the channels last in memory: each run's numbers are torch's, and no run's depend on another."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from problems import problem, seeds
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from nondet.sources import seeded_globals, stream
from nondet.training import examples as classify
from nondet.training.kernels import door, on_cpu
from nondet.training.kernels.mode import Door
from nondet.training.new_stack import new_stack
from nondet.training.settings import kernels
from nondet.training.snapshots import same_bits
from nondet.training.trial import fitting_width


class Net(nn.Module):
    """Convolutions and what may follow them, as the argument says."""

    def __init__(self, layers: Callable[[], nn.Module], use: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        self.layers, self.use = layers(), use

    def forward(self, x: Tensor) -> Tensor:
        return self.use(self.layers, x)


def net(*layers: Callable[[], nn.Module], use: Callable[[Any, Tensor], Tensor] | None = None) -> Callable[[], Net]:
    return lambda: Net(lambda: nn.ModuleList([make() for make in layers]), use or _in_turn)


def _in_turn(layers: Any, x: Tensor) -> Tensor:
    for layer in layers:
        x = layer(x)
    return x


def conv(*args: Any, **given: Any) -> Callable[[], nn.Module]:
    return lambda: nn.Conv2d(*args, **given)


def norm(channels: int, **given: Any) -> Callable[[], nn.Module]:
    return lambda: nn.BatchNorm2d(channels, **given)


NETS: dict[str, Callable[[], Net]] = {
    "convolution": net(conv(3, 6, 3)),
    "stride, padding": net(
        conv(3, 6, 5, stride=2, padding=2, bias=False), conv(6, 6, 3, stride=(1, 2), padding=(0, 1))
    ),
    "same": net(conv(3, 6, 3, padding="same")),
    "dilated": net(conv(3, 6, 3, dilation=2)),
    "grouped": net(conv(3, 6, 1), conv(6, 6, 3, groups=3, padding=1), conv(6, 12, 3, groups=6, padding=1)),
    "reflected": net(conv(3, 6, 3, padding=1, padding_mode="reflect")),
    "norm": net(conv(3, 6, 3), norm(6)),
    "norm without weights": net(conv(3, 6, 3), norm(6, affine=False)),
    "norm without averages": net(conv(3, 6, 3), norm(6, track_running_stats=False)),
    "norm first": net(norm(3), nn.ReLU, conv(3, 6, 3)),
    "norm, ReLU": net(conv(3, 6, 3), norm(6), lambda: nn.ReLU(inplace=True), conv(6, 6, 1)),
    "residual": net(conv(3, 6, 3, padding=1), norm(6), norm(6), use=lambda m, x: F.relu(m[1](m[0](x)) + m[2](m[0](x)))),
    "residual in place": net(
        conv(3, 6, 3, padding=1), norm(6), use=lambda m, x: (lambda y, z: y.add_(z).relu_())(m[1](m[0](x)), m[0](x))
    ),
    "norm used twice": net(conv(3, 6, 3), norm(6), use=lambda m, x: (lambda y: F.relu(y) * 2 + y)(m[1](m[0](x)))),
    "norm changed in place": net(conv(3, 6, 3), norm(6), use=lambda m, x: m[1](m[0](x)).mul_(2).relu_()),
    "pools": net(conv(3, 6, 3), lambda: nn.MaxPool2d(2), lambda: nn.AvgPool2d(2, padding=1), conv(6, 6, 1)),
    "pools that overlap": net(conv(3, 6, 3), lambda: nn.MaxPool2d(3, 2, 1, ceil_mode=True)),
    "pooled to one": net(conv(3, 6, 3), lambda: nn.AdaptiveAvgPool2d(1), conv(6, 6, 1)),
    "mean of the pixels": net(conv(3, 6, 3), norm(6), use=lambda m, x: m[1](m[0](x)).mean(dim=(2, 3)) ** 3),
    "mean that keeps axes": net(
        conv(3, 6, 3), conv(6, 6, 1), use=lambda m, x: m[1](torch.mean(m[0](x), [-2, -1], keepdim=True)) ** 3
    ),
    "other means": net(
        conv(3, 6, 3), use=lambda m, x: m[0](x).mean() ** 3 + m[0](x).mean((1, 3)) + m[0](x).mean(2).mean(1)
    ),
    "pooled to four": net(conv(3, 6, 3), lambda: nn.AdaptiveAvgPool2d(2)),
    "every second": net(conv(3, 6, 3), norm(6), use=lambda m, x: m[1](m[0](x))[:, :, ::2, ::3]),
    "padded channels": net(conv(3, 6, 3), use=lambda m, x: F.pad(m[0](x), (0, 0, 0, 0, 1, 2))),
    "viewed": net(conv(3, 6, 3), use=lambda m, x: (lambda y: y.view(len(y), -1).cos().view(y.shape))(m[0](x))),
    "transposed": net(conv(3, 6, 3), lambda: nn.ConvTranspose2d(6, 4, 2)),
    "one pixel": net(conv(3, 6, 8), norm(6)),
}
RUNS, IMAGES = 3, 5


def members(make: Callable[[], nn.Module], dtype: torch.dtype, runs: int = RUNS) -> list[nn.Module]:
    with seeded_globals(stream("init", 1)):
        return [make().to(dtype) for _ in range(runs)]


def drawn(*shape: int) -> Tensor:
    return torch.from_numpy(stream("shuffle", 1).standard_normal(shape, dtype=np.float32))


def stacked(
    models: list[nn.Module], x: Tensor, training: bool, way: Door
) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
    """Outputs, gradients of their squares' sum, and buffers of all runs, each (R, ...)."""
    skeleton = copy.deepcopy(models[0]).train(training)
    parameters, buffers = stack_module_state(models)
    held = {n: p.detach().requires_grad_() for n, p in parameters.items()}

    def run(weights: dict[str, Tensor], x: Tensor) -> Tensor:
        with way.open(True) as mode:
            found = functional_call(skeleton, weights, (x,))
        return mode.finished(found)

    y = vmap(run)({**held, **buffers}, x)
    y.square().sum().backward()
    return y, {n: p.grad for n, p in held.items() if p.grad is not None}, buffers


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", NETS)
def test_numbers_are_those_of_plain_torch(
    name: str, training: bool, apart: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Outputs, gradients and running statistics, in float64; with all runs' images together and run by run."""
    if apart:
        monkeypatch.setattr(on_cpu, "APART", 0)
    models = members(NETS[name], torch.float64)
    x = drawn(RUNS, IMAGES, 3, 8, 8).double()
    y, gradients, buffers = stacked(models, x, training, Door())
    for run, model in enumerate(models):
        plain = model.train(training)(x[run])
        plain.square().sum().backward()
        assert torch.allclose(y[run], plain, rtol=1e-10, atol=1e-12)
        for n, p in model.named_parameters():
            assert torch.allclose(gradients[n][run], p.grad, rtol=1e-9, atol=1e-10), n  # type: ignore[arg-type]
        for n, b in model.named_buffers():
            assert torch.allclose(buffers[n][run].double(), b.double(), rtol=1e-10, atol=1e-12), n


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("channels", [1, 3, 5, 8, 16])
@pytest.mark.parametrize("runs", [2, 3, 5, 8])
def test_no_slot_rounds_otherwise(runs: int, channels: int, apart: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal runs stay equal to the last bit, however many channels lie next to each other."""
    if apart:
        monkeypatch.setattr(on_cpu, "APART", 0)
    (model,) = members(
        lambda: nn.Sequential(
            nn.Conv2d(1, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(channels, channels, 3), nn.BatchNorm2d(channels),
        ), torch.float32, 1,
    )  # fmt: skip
    x = drawn(1, 7, 1, 9, 9).expand(runs, -1, -1, -1, -1)
    y, gradients, buffers = stacked([model] * runs, x, True, Door())
    for t in (y, *gradients.values(), *buffers.values()):
        assert all(same_bits(part, t[0]) for part in t)


def test_a_network_is_trained_with_them_and_says_so() -> None:
    p = problem("resnet")
    assert p.door is not None
    assert fitting_width(p, 3) == (3, "")
    assert p.door.as_dict() == {"stacked": ["batch_norm", "conv2d"]}
    assert not p.width_free


def test_a_single_run_is_the_plain_module() -> None:
    p = problem("resnet")
    stack = new_stack(p, [seeds(p, 1)])
    with kernels():
        classify.train_epoch(p, stack, [seeds(p, 1)])
    assert p.door is not None
    assert p.door.used == set()


def test_running_statistics_that_runs_share_are_refused() -> None:
    shared = nn.BatchNorm2d(3)

    def run(x: Tensor) -> Tensor:
        with Door().open(True) as mode:
            y = shared(x)
        return mode.finished(y)

    with pytest.raises(RuntimeError, match="share the running statistics"):
        vmap(run)(drawn(2, 4, 3, 5, 5))


def test_mixed_precision_uses_torchs_own() -> None:
    way, model = Door(), nn.Conv2d(3, 4, 3)

    def run(x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16), way.open(True) as mode:
            y = model(x)
        return mode.finished(y)

    vmap(run)(drawn(2, 4, 3, 5, 5))
    assert way.used == set()
    assert way.stock == {"conv2d": "with an unsupported shape or type"}


def test_a_cpu_has_a_door() -> None:
    recipe = problem("mlp").recipe
    way = door(torch.device("cpu"), recipe, False)
    assert way is not None
    assert way.how is None
    assert way.as_dict() == {}  # nothing was used yet
