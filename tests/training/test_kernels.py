"""The stacked kernels in Triton's interpreter, held against torch in double precision and against themselves."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from problems import problem, seeds
from test_stack import same
from torch import Tensor, nn
from torch.func import functional_call, vmap

from nondet.models.resnet import ResNet
from nondet.tasks.augment import Crop, Flip
from nondet.training.examples import evaluate
from nondet.training.new_stack import new_stack
from nondet.training.problem import Problem
from nondet.training.train import train_stack
from nondet.training.trial import fitting_width

pytest.importorskip("triton")

from nondet.training.kernels import convolution, pictures
from nondet.training.kernels import functions as stacked
from nondet.training.kernels import geometry as shapes
from nondet.training.kernels.functions import Link, Precision
from nondet.training.kernels.mode import Door
from nondet.training.kernels.tiles import Tile, fitted

pytestmark = [
    pytest.mark.skipif(torch.cuda.is_available(), reason="for Triton's interpreter; test_gpu.py is for a device"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),  # numpy's, of the interpreter's NaN
]

EXACT = Precision(torch.float32, "ieee")


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def error(found: Tensor, right: Tensor) -> float:
    """The norm of the difference over that of the right answer."""
    return float(((found.double() - right).norm() / right.norm()).detach())


def doubled(*tensors: Tensor) -> list[Tensor]:
    return [t.detach().double().requires_grad_() for t in tensors]


CONVOLUTIONS = [  # channels, outputs, height, width, kernel, stride, padding, groups
    (16, 16, 6, 6, 3, 1, 1, 1),
    (3, 4, 6, 6, 3, 1, 1, 1),
    (4, 8, 8, 8, 3, 2, 1, 1),
    (4, 8, 7, 9, 3, 2, 1, 2),
    (8, 16, 7, 8, 1, 2, 0, 2),
    (8, 16, 6, 6, 1, 1, 0, 1),
    (3, 4, 7, 7, 5, 1, 2, 1),
    (4, 4, 6, 6, 3, 1, 0, 1),
    (3, 4, 9, 9, 7, 2, 3, 1),
    (8, 8, 7, 6, 3, 1, 1, 8),
    (8, 8, 7, 6, 3, 2, 1, 8),
]


@pytest.mark.parametrize(
    ("case", "products"),
    [(case, "ieee") for case in CONVOLUTIONS] + [(CONVOLUTIONS[n], "tf32x3") for n in (1, 3)],
    ids=str,
)
def test_convolutions(case: tuple[int, ...], products: str) -> None:
    """Output, both gradients and the bias's are those of double precision, to float32's rounding."""
    channels, outputs, height, width, kernel, stride, padding, groups = case
    geometry = shapes.forward(
        (height, width), channels, outputs, (kernel, kernel), stride, (padding, padding), groups, 2
    )
    x, w, b = (
        drawn(2, 2, channels, height, width),
        drawn(2, outputs, channels // groups, kernel, kernel),
        drawn(2, outputs),
    )
    leaves = [t.requires_grad_() for t in (x, w, b)]
    y, sums = stacked.conv2d(x, w, b, geometry, Precision(torch.float32, products), geometry.whole, Link())
    right = doubled(x, w, b)
    z = torch.stack(
        [F.conv2d(a, c, d, stride=stride, padding=padding, groups=groups) for a, c, d in zip(*right, strict=True)]
    )
    dy = drawn(*z.shape, seed=1)
    y.backward(dy)
    z.backward(dy.double())
    assert error(y, z) < 4e-7
    for mine, theirs in zip(leaves, right, strict=True):
        assert error(mine.grad, theirs.grad) < 6e-7  # type: ignore[arg-type]
    if sums is not None:
        mean, rstd = stacked.moments(y.detach(), None, True, 0.1, 1e-5, sums)
        assert error(mean, z.mean((1, 3, 4))) < 1e-5
        assert error(rstd, 1 / (z.var((1, 3, 4), unbiased=False) + 1e-5).sqrt()) < 1e-5


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize(("case", "depth"), [((16, 16, 6, 6, 3, 1, 1, 1), 32), ((4, 8, 7, 9, 3, 2, 1, 2), 64)], ids=str)
def test_taps_of_a_weight_gradient(case: tuple[int, ...], depth: int, together: bool) -> None:
    """One tap, or three in one pass: the gradient is the same."""
    channels, outputs, height, width, kernel, stride, padding, groups = case
    g = shapes.forward((height, width), channels, outputs, (kernel, kernel), stride, (padding, padding), groups, 2)
    x, w = drawn(2, 2, channels, height, width), drawn(2, outputs, channels // groups, kernel, kernel)
    right = doubled(w)[0]
    y = [F.conv2d(a, b, None, stride, padding, 1, groups) for a, b in zip(x.double(), right, strict=True)]
    dy = drawn(*torch.stack(y).shape, seed=1)
    torch.stack(y).backward(dy.double())
    tile = fitted(Tile(16, depth, 16, tiles=2, together=together), g)
    dw = convolution.weight_gradient(stacked.last(x), stacked.last(dy), g, tile, "ieee")
    assert error(dw, right.grad) < 6e-7  # type: ignore[arg-type]


@pytest.mark.parametrize(("products", "bound"), [("tf32", 2**-11), ("tf32x3", 5e-7)])
@pytest.mark.parametrize(("large", "small"), [(1.0, 1e-9), (1e30, 1e-34), (1e-20, 1e-12), (3e4, 3e31)])
def test_a_weight_gradient_of_any_size(products: str, bound: float, large: float, small: float) -> None:
    """The factors are scaled to float16's range: neither large nor small ones lose digits, nor do the zeros of ReLU."""
    g = shapes.forward((6, 6), 4, 4, (3, 3), 1, (1, 1), 1, 2)
    x, dy, w = large * drawn(2, 2, 4, 6, 6).relu(), small * drawn(2, 2, 4, 6, 6, seed=1), torch.zeros(2, 4, 4, 3, 3)
    right = doubled(w)[0]
    torch.stack([F.conv2d(a, b, padding=1) for a, b in zip(x.double(), right, strict=True)]).backward(dy.double())
    tile = fitted(Tile(16, 16, 16, tiles=2, together=True), g)
    dw = convolution.weight_gradient(stacked.last(x), stacked.last(dy), g, tile, products)
    assert error(dw, right.grad) < bound  # type: ignore[arg-type]


@pytest.mark.parametrize("products", ["tf32", "tf32x3"])
@pytest.mark.parametrize("value", [torch.inf, torch.nan])
def test_a_weight_gradient_of_a_run_that_has_failed(products: str, value: float) -> None:
    """What is not finite stays so, and in its own run; zeros alone give zeros."""
    g = shapes.forward((6, 6), 4, 4, (3, 3), 1, (1, 1), 1, 2)
    x, dy = drawn(3, 2, 4, 6, 6), drawn(3, 2, 4, 6, 6, seed=1)
    x[0, 0, 0, 0, 0], dy[2] = value, 0.0
    tile = fitted(Tile(16, 16, 16, tiles=2, together=True), g)
    dw = convolution.weight_gradient(stacked.last(x), stacked.last(dy), g, tile, products)
    assert not bool(dw[0].isfinite().all())
    assert bool(dw[1].isfinite().all())
    assert bool((dw[2] == 0).all())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_short_types(dtype: torch.dtype) -> None:
    """A convolution, a batch norm and a linear layer in a short type, of weights in float32."""
    geometry = shapes.forward((6, 6), 8, 8, (3, 3), 1, (1, 1), 1, 2)
    how = Precision(dtype)
    x, w, v, g = drawn(2, 3, 8, 6, 6), drawn(2, 8, 8, 3, 3), drawn(2, 5, 8, seed=2), torch.ones(2, 8)
    w, v = w.requires_grad_(), v.requires_grad_()
    y, sums = stacked.conv2d(x.to(dtype), w, None, geometry, how, True, Link())
    moments = stacked.moments(y.detach(), None, True, 0.1, 1e-5, sums)
    z = stacked.batch_norm(y, *moments, g, torch.zeros_like(g), None, True, True)
    out = stacked.linear(stacked.means(z), v, None, how)
    assert out.dtype == dtype
    out.float().square().sum().backward()
    right = doubled(w, v)
    plain = [
        F.linear(F.batch_norm(F.conv2d(a, c, padding=1), None, None, training=True).relu().mean((2, 3)), d)
        for a, c, d in zip(x.to(dtype).double(), *right, strict=True)
    ]
    torch.stack(plain).square().sum().backward()
    bound = 8 * torch.finfo(dtype).eps
    assert error(out, torch.stack(plain)) < bound
    assert w.grad is not None
    assert w.grad.dtype == torch.float32
    assert error(v.grad, right[1].grad) < bound  # type: ignore[arg-type]
    assert error(w.grad, right[0].grad) < 4 * bound  # type: ignore[arg-type]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("residual", "relu"), [(True, True), (False, True), (True, False), (False, False)])
def test_batch_norm(training: bool, residual: bool, relu: bool) -> None:
    """With and without the addition and the ReLU; the mean is far from zero, where plain sums of squares would fail."""
    x, r = drawn(2, 3, 5, 6, 7) + 1000, drawn(2, 3, 5, 6, 7, seed=1)
    gamma, beta = drawn(2, 5, seed=4).abs() + 0.5, drawn(2, 5, seed=2)
    mean, var = torch.zeros(2, 5), torch.ones(2, 5)
    leaves = [t.requires_grad_() for t in (x, gamma, beta, r)]
    right, running = doubled(*leaves), [(m.double(), v.double()) for m, v in zip(mean, var, strict=True)]
    moments = stacked.moments(x.detach(), (mean, var), training, 0.1, 1e-5, None)
    z = stacked.batch_norm(x, *moments, gamma, beta, r if residual else None, relu, training)
    parts: list[Tensor] = []
    for a, g, b, s, (m, v) in zip(*right, running, strict=True):
        found = F.batch_norm(a, m, v, g, b, training, 0.1, 1e-5) + (s if residual else 0)
        parts.append(found.relu() if relu else found)
    dz = drawn(*z.shape, seed=3) * (z.detach().abs() > 1e-2)  # none where rounding may decide about the ReLU
    z.backward(dz)
    torch.stack(parts).backward(dz.double())
    assert error(z, torch.stack(parts).detach()) < 2e-4  # 1000 +- 1 in float32 has three digits less
    for mine, theirs in zip(leaves[: 4 if residual else 3], right, strict=False):
        assert error(mine.grad, theirs.grad) < 2e-3  # type: ignore[arg-type]
    assert error(mean, torch.stack([m for m, _ in running])) < 1e-6 or not training
    assert error(var, torch.stack([v for _, v in running])) < 1e-3


@pytest.mark.parametrize(("size", "stride", "padding"), [(2, 2, 0), (3, 2, 1), (3, 1, 1)])
@pytest.mark.parametrize("maximum", [True, False])
def test_pools(size: int, stride: int, padding: int, maximum: bool) -> None:
    """Equal values go to the first, as in torch."""
    x = (drawn(2, 2, 3, 7, 8) * 2).round().requires_grad_()
    (right,) = doubled(x)
    y = stacked.pool(x, ((size, size), (stride, stride), (padding, padding)), maximum)
    plain = F.max_pool2d if maximum else F.avg_pool2d
    z = plain(right.flatten(0, 1), size, stride, padding).unflatten(0, (2, 2))
    dy = drawn(*z.shape)
    y.backward(dy)
    z.backward(dy.double())
    assert error(y, z) < 1e-6
    assert error(x.grad, right.grad) < 1e-6  # type: ignore[arg-type]


def test_a_maximum_of_nan_is_nan() -> None:
    x = torch.ones(1, 1, 1, 2, 2)
    x[..., 1, 0] = torch.nan
    assert bool(stacked.pool(x, ((2, 2), (2, 2), (0, 0)), True).isnan().all())


def test_linear_and_loss() -> None:
    """A linear layer with three axes, and the mean cross-entropy, with their gradients."""
    x, w, b = (t.requires_grad_() for t in (drawn(2, 3, 4, 20), drawn(2, 7, 20), drawn(2, 7)))
    labels = torch.randint(7, (2, 12), generator=torch.Generator().manual_seed(0))
    right = doubled(x, w, b)
    loss = stacked.cross_entropy(stacked.linear(x, w, b, EXACT).flatten(1, 2), labels)
    plain = torch.stack([F.cross_entropy(F.linear(*p).flatten(0, 1), y) for *p, y in zip(*right, labels, strict=True)])
    weight = torch.tensor([1.0, 2.0])
    (loss * weight).sum().backward()
    (plain * weight).sum().backward()
    assert error(loss, plain) < 1e-6
    for mine, theirs in zip((x, w, b), right, strict=True):
        assert error(mine.grad, theirs.grad) < 1e-6  # type: ignore[arg-type]


class Branches(nn.Module):
    """A batch norm that is used twice, in-place ReLUs, depthwise and strided convolutions, pools, a residual."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.deep, self.deep_norm = nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False), nn.BatchNorm2d(4)
        self.relu, self.pool = nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)
        self.last = nn.BatchNorm1d(4)
        self.out = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.pool(self.relu(self.norm(self.stem(x))))
        z = self.deep_norm(self.deep(y))
        z = torch.relu(z + y) + z
        z = F.avg_pool2d(z, 2)
        return self.out(self.last(z.mean(dim=(2, 3)) + F.adaptive_avg_pool2d(z, 1).flatten(1)))


MODELS: dict[str, Callable[[], nn.Module]] = {
    "branches": Branches,
    "resnet": lambda: ResNet((3, 4), (1, 1), 3, 3),
    "mlp": lambda: nn.Sequential(nn.Flatten(), nn.Linear(108, 8), nn.ReLU(), nn.Linear(8, 3)),
}


def models(make: Callable[[], nn.Module], count: int) -> list[nn.Module]:
    found: list[nn.Module] = []
    for number in range(count):
        with torch.random.fork_rng():
            torch.random.manual_seed(number)
            model = make()
            for p in model.parameters():
                p.data += 0.1 * torch.randn_like(p)
        found.append(model)
    return found


def step(members: Sequence[nn.Module], x: Tensor, y: Tensor, how: Precision = EXACT) -> tuple[dict[str, Tensor], Door]:
    """Loss, answers, gradients and buffers after one step of a stack of these models."""
    skeleton, door = copy.deepcopy(members[0]), Door(how)
    weights = {
        n: torch.stack([dict(m.named_parameters())[n].detach() for m in members]).requires_grad_()
        for n, _ in members[0].named_parameters()
    }
    buffers = {n: torch.stack([dict(m.named_buffers())[n] for m in members]) for n, _ in members[0].named_buffers()}

    def forward(w: Any, b: Any, inputs: Tensor, labels: Tensor) -> Any:
        with door.open(True) as mode:
            answers = functional_call(skeleton, (w, b), (inputs,))
            return mode.finished((F.cross_entropy(answers, labels), answers))

    loss, answers = vmap(forward)(weights, buffers, x, y)
    loss.sum().backward()
    found = {"loss": loss.detach(), "answers": answers.detach(), **buffers}
    return found | {f"{n}.grad": w.grad for n, w in weights.items()}, door  # type: ignore[dict-item]


@pytest.mark.parametrize(
    "name", ["mlp", *(pytest.param(name, marks=pytest.mark.slow) for name in ("branches", "resnet"))]
)
def test_models_are_the_users(name: str) -> None:
    """A stack of three models takes the step of three plain ones; a run's bits are the same in any stack, and alone."""
    members, x = models(MODELS[name], 3), drawn(3, 2, 3, 6, 6)
    y = torch.randint(3, (3, 2), generator=torch.Generator().manual_seed(0))
    found, door = step(members, x, y)
    assert not door.stock
    for slot, member in enumerate(copy.deepcopy(members)):
        single = copy.deepcopy(member)
        F.cross_entropy(single(x[slot]), y[slot]).backward()
        member.double()
        answers = member(x[slot].double())
        loss = F.cross_entropy(answers, y[slot])
        loss.backward()
        assert error(found["loss"][slot], loss.detach()) < 1e-4
        assert error(found["answers"][slot], answers.detach()) < 1e-4
        largest = max(float(p.grad.abs().max()) for p in member.parameters())  # type: ignore[union-attr]
        for (n, p), q in zip(member.named_parameters(), single.parameters(), strict=True):
            mine, theirs = (float((g.double() - p.grad).abs().max()) for g in (found[f"{n}.grad"][slot], q.grad))
            assert mine < 4 * theirs + 1e-6 * largest, n  # a batch norm of two examples: float32 has few digits left
        for n, b in member.named_buffers():
            assert torch.allclose(found[n][slot].double(), b.double(), atol=1e-6), n
    broken = x.clone()
    broken[0] = torch.nan
    for slots in ([1], [0, 2, 1], *([[1, 2, 1, 2, 1, 1, 2]] if name == "mlp" else [])):
        others, _ = step([members[s] for s in slots], broken[slots], y[slots])
        for place, slot in enumerate(slots):
            for key, tensor in others.items():
                assert slot == 0 or torch.equal(tensor[place], found[key][slot]), key
    alone = copy.deepcopy(members[1])
    with Door(EXACT).open(False) as mode:
        loss = mode.finished(F.cross_entropy(alone(x[1]), y[1]))
    loss.backward()
    assert all(torch.equal(p.grad, found[f"{n}.grad"][1]) for n, p in alone.named_parameters())  # type: ignore[arg-type]


def meeting(function: Callable[..., Any], *given: Tensor) -> tuple[Any, Door]:
    door = Door(EXACT)
    with door.open(False) as mode:
        return mode.finished(function(*given)), door


def test_a_batch_norm_waits_without_a_trace() -> None:
    """Whatever follows it: its result, changed in place, returned as it is or dropped; its input changed afterwards."""
    norm, x = nn.BatchNorm2d(3), drawn(4, 3, 5, 5)
    right = F.batch_norm(x, None, None, training=True)

    def changed(x: Tensor) -> Tensor:
        y = norm(x)
        y.mul_(2)
        return y + 1

    def input_changed(x: Tensor) -> Tensor:
        x = x + 0
        y = norm(x)
        x.zero_()
        return y.sigmoid()

    def twice(x: Tensor) -> Tensor:
        y = norm(x)
        return torch.relu(y + x) + y

    def used_before(x: Tensor) -> Tensor:
        x = x + 0
        y = norm(x)
        z = torch.relu(y + 1.0 * x)
        x.zero_()
        return z + y

    def dropped(x: Tensor) -> Tensor:
        norm(x)
        return x + 1

    wanted = {
        changed: 2 * right + 1,
        input_changed: right.sigmoid(),
        twice: torch.relu(right + x) + right,
        used_before: torch.relu(right + x) + right,
        dropped: x + 1,
        norm.forward: right,
        lambda x: [norm(x).mT.shape, norm(x).amax()][1]: right.amax(),
    }
    with torch.no_grad():
        for number, (function, answer) in enumerate(wanted.items()):
            before = norm.running_mean.clone()  # type: ignore[union-attr]
            found, _ = meeting(function, x)
            assert torch.allclose(found, answer, atol=1e-5), number
            if function is not list(wanted)[-1]:
                once = 0.9 * before + 0.1 * x.mean((0, 2, 3))
                assert torch.allclose(norm.running_mean, once, atol=1e-6), number  # type: ignore[arg-type]


def test_weights_and_labels_of_any_kind() -> None:
    """Expanded, transposed, channels-last weights; strided biases; labels to ignore; views of images as rows."""
    x, w, b = drawn(2, 4, 6, 6), drawn(4, 4, 3, 3), drawn(8)[::2]
    y = torch.tensor([0, 2, 1, 0, 2])
    cases: list[Callable[[Tensor], Tensor]] = [
        lambda x: F.conv2d(x, w[:1, :1].expand(4, 1, 3, 3), groups=4),
        lambda x: F.conv2d(x, w[:1].expand(4, 4, 3, 3), b),
        lambda x: F.conv2d(x, w.transpose(0, 1)),
        lambda x: F.conv2d(x, w.to(memory_format=torch.channels_last), padding=1),  # type: ignore[call-overload]
        lambda x: F.conv2d(x, w, b).view(2, -1),
        lambda x: F.linear(x.mean((2, 3)), w[:, :, 0, 0].t(), b),
        lambda x: F.cross_entropy(x[0, :, 0].repeat(2, 2)[:5, :3], y, ignore_index=0),
        lambda x: F.cross_entropy(x[0, :, 0].repeat(2, 2)[:5, :3], torch.where(y == 2, -100, y)),
    ]
    for number, function in enumerate(cases):
        given, again = x.clone().requires_grad_(), x.clone().requires_grad_()
        found, _ = meeting(function, given)
        right = function(again)
        assert torch.allclose(found, right, atol=1e-5), number
        found.square().sum().backward()
        right.square().sum().backward()
        assert torch.allclose(given.grad, again.grad, atol=1e-4), number  # type: ignore[arg-type]


def test_what_all_runs_share() -> None:
    """Weights, biases, labels or inputs that are no run's own, inside vmap."""
    x, w, b = drawn(3, 2, 4, 5, 5), drawn(3, 6, 4, 3, 3), drawn(3, 6)
    y = torch.tensor([1, 0])
    cases: list[tuple[Callable[..., Tensor], tuple[int | None, ...]]] = [
        (lambda x, w, b: F.conv2d(x, w, b), (0, None, None)),
        (lambda x, w, b: F.conv2d(x, w, b), (None, 0, None)),
        (lambda x, w, b: F.linear(x.mean((2, 3)), w[:, :, 0, 0], b), (0, None, 0)),
        (lambda x, w, b: F.linear(x.mean((2, 3)), w[:, :, 0, 0], b), (None, None, 0)),
        (lambda x, w, b: F.cross_entropy(x[:, :, 0, 0] + b[:4], y), (0, None, None)),
    ]
    for number, (function, dims) in enumerate(cases):
        given = [t if dim == 0 else t[0] for t, dim in zip((x, w, b), dims, strict=True)]

        def met(*tensors: Tensor, function: Callable[..., Tensor] = function) -> Any:
            with Door(EXACT).open(True) as mode:
                return mode.finished(function(*tensors))

        found = vmap(met, in_dims=dims)(*given)
        assert torch.allclose(found, vmap(function, in_dims=dims)(*given), atol=1e-5), number


def test_a_changed_slice_is_refused() -> None:
    """A slice is a copy here: a model that changes it in place, or what it is of, is not trained so."""
    for function in (
        lambda x: x[:, :, ::2, ::2].mul_(2),
        lambda x: [y := x + 0, z := y[:, :, ::2, ::2], y.zero_(), z][-1],
    ):
        with pytest.raises(RuntimeError, match="changed in place"):
            meeting(function, drawn(1, 2, 4, 4))


def test_sums_are_not_taken_after_a_change_through_a_view() -> None:
    conv, norm, x = nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), drawn(2, 3, 6, 6)

    def changed(x: Tensor) -> Tensor:
        y = conv(x)
        y[:, :2].mul_(3)
        return norm(y)

    with torch.no_grad():
        found, _ = meeting(changed, x)
        y = conv(x)
        y[:, :2].mul_(3)
        assert torch.allclose(found, F.batch_norm(y, None, None, training=True), atol=1e-5)


def test_nothing_is_held_without_gradients() -> None:
    """What a forward pass needs no more is freed on the way; no garbage is left for the collector."""
    layers = nn.ModuleList([nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)) for _ in range(3)])
    left: list[Any] = []

    def forward(x: Tensor) -> Tensor:
        for layer in layers:
            x = F.relu(layer(x))
            left.append(weakref.ref(x))
        return x.sum()

    with torch.no_grad():
        _, door = meeting(forward, drawn(2, 3, 4, 4))
    assert all(ref() is None for ref in left)
    assert not door.links


def test_one_value_of_each_channel_is_refused_as_by_torch() -> None:
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        meeting(nn.BatchNorm1d(4), drawn(1, 4))


def test_mixed_precision_that_is_off_is_off() -> None:
    linear = nn.Linear(4, 3)

    def forward(x: Tensor) -> Tensor:
        with torch.autocast("cpu", enabled=False):
            return linear(x.float())

    door, x = Door(Precision(torch.bfloat16)), drawn(2, 4)
    with torch.autocast("cpu", torch.bfloat16), door.open(False) as mode:
        assert mode.finished(forward(x)).dtype == torch.float32
    assert door.stock == {"linear": "outside autocast"}


def test_a_shortcut_that_shrinks_is_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own batch norm comes between the block's last one and the addition, and counts its batches in place."""
    calls: list[tuple[bool, bool]] = []
    whole = stacked.batch_norm
    monkeypatch.setattr(stacked, "batch_norm", lambda *a, **k: calls.append((a[5] is not None, a[6])) or whole(*a, **k))
    model = ResNet((4, 8), (1, 1), 3, 3)
    _, door = meeting(model, drawn(2, 3, 6, 6))
    assert sorted(calls) == [(False, False)] + [(False, True)] * 3 + [(True, True)] * 2
    assert not door.stock


def test_sums_of_a_changed_output_are_not_taken() -> None:
    """What a convolution summed up of its output is not used once the output was changed in place."""
    conv, norm, x = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), drawn(2, 3, 6, 6)
    found, _ = meeting(lambda x: norm(conv(x).mul_(3).add_(1)), x)
    right = F.batch_norm(conv(x) * 3 + 1, None, None, training=True)
    assert torch.allclose(found, right, atol=1e-5)


def test_a_residual_is_handed_to_its_convolution(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gradient of a block's input is whole, in one piece; where the convolution is no ancestor, autograd adds."""
    handed: list[bool] = []
    leads = Link.leads_to
    monkeypatch.setattr(Link, "leads_to", lambda link, x: handed.append(leads(link, x)) or handed[-1])
    conv, other, norm = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)
    for block, wanted in (
        (lambda x: F.relu(norm(conv(x)) + x).square().sum(), True),
        (lambda x: F.relu(norm(other(x)) + x).square().sum() + conv(x).sum(), True),
        (lambda x: [c := conv(x), F.relu(norm(other(x.sin())) + x).square().sum() + c.square().sum()][1], False),
        (lambda x: [c := conv(x), x[:, :, ::2, ::2].square().sum() + c.square().sum()][1], None),
    ):
        handed.clear()
        x = drawn(2, 4, 5, 4).requires_grad_()
        loss, door = meeting(block, x)
        loss.backward()
        door.close()
        again = x.detach().requires_grad_()
        block(again).backward()
        assert handed == ([] if wanted is None else [wanted])
        assert torch.allclose(x.grad, again.grad, atol=1e-4)  # type: ignore[arg-type]


def test_a_gradient_that_does_not_arrive_is_noticed() -> None:
    """A convolution whose output nothing uses takes a gradient, and does not pass it on."""
    conv, x = nn.Conv2d(4, 4, 3, padding=1), drawn(2, 4, 4, 4).requires_grad_()
    loss, door = meeting(lambda x: [conv(x), x[:, :, ::2, ::2].square().sum()][1], x)
    loss.backward()
    with pytest.raises(RuntimeError, match="handed to a convolution"):
        door.close()


def test_what_has_no_kernel_is_noted() -> None:
    """A dilated convolution and a group norm take torch's own, and the width is not free any more."""
    conv, norm = nn.Conv2d(3, 4, 3, padding=2, dilation=2), nn.GroupNorm(2, 4)
    found, door = meeting(lambda x: norm(conv(x)), x := drawn(2, 3, 6, 6))
    assert torch.equal(found, norm(conv(x)))
    assert set(door.stock) == {"conv2d", "group_norm"}
    door.same = True
    assert not door.width_free


def test_double_precision_is_torchs_own() -> None:
    conv = nn.Conv2d(3, 4, 3).double()
    found, door = meeting(conv, x := drawn(2, 3, 6, 6).double())
    assert torch.equal(found, conv(x))
    assert set(door.stock) == {"conv2d"}


def small(**recipe: object) -> Problem:
    """A small network whose operations all take stacked kernels."""
    model = lambda: nn.Sequential(nn.Conv2d(1, 2, 3, padding=1, bias=False), nn.BatchNorm2d(2), nn.ReLU(), *HEAD())  # noqa: E731
    p = problem(model, epochs=1, **recipe)
    return replace(p, door=Door(Precision(getattr(torch, p.recipe.amp or "float32"), "ieee")))


HEAD = lambda: (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 3))  # noqa: E731


def test_an_evaluation_takes_stacked_kernels_alone() -> None:
    """What counts and collects the answers is none of the operations that would depend on the width."""
    p = small()
    evaluate(p, new_stack(p, [seeds(p, 1)]), 4)
    assert p.door is not None
    assert p.door.used
    assert p.door.stock == {}


@pytest.mark.slow
@pytest.mark.parametrize("amp", ["", "bfloat16", "float16"])
def test_a_stack_trains_with_them(amp: str) -> None:
    """A trial finds them sound and free of the width; then runs are the same bits alone, in a stack, in any slot."""
    p = small(amp=amp)
    assert fitting_width(p, 2) == (2, "")
    assert p.door is not None
    assert not p.door.refused
    assert p.door.width_free
    assert p.door.as_dict()["products"] == (amp or "ieee")
    two = train_stack(p, [seeds(p, 1), seeds(p, 2)])
    assert same(two[1], train_stack(p, [seeds(p, 2)])[0])
    plain = train_stack(replace(p, door=None), [seeds(p, 1), seeds(p, 2)])
    for mine, theirs in zip(two, plain, strict=True):
        assert mine.arrays["outputs"].dtype == np.float32
        bound = 0.3 if amp else 1e-4
        assert np.allclose(mine.arrays["outputs"], theirs.arrays["outputs"], atol=bound)


def test_what_they_would_train_otherwise_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a stacked kernel is wrong, the trial says so, and torch's own are taken."""
    monkeypatch.setattr(stacked, "means", lambda x: x.mean((3, 4)) * 1.1)
    p = small()
    assert fitting_width(p, 2) == (2, "")
    assert p.door is not None
    assert "loss at step" in p.door.refused or "gradient" in p.door.refused
    assert p.door.as_dict() == {}
    two = train_stack(p, [seeds(p, 1), seeds(p, 2)])
    assert same(two[0], train_stack(replace(p, door=None), [seeds(p, 1), seeds(p, 2)])[0])


@pytest.mark.parametrize("augment", [(Crop(2), Flip()), (Crop(1, fill=(0.5, -1.0, 2.0)),), (Flip(),)], ids=str)
def test_pictures_are_augmented_as_they_are_read(augment: tuple[Any, ...]) -> None:
    """The same numbers as the augmentations' own."""
    inputs, index = drawn(9, 3, 5, 6), torch.tensor([3, 0, 8, 3, 7])
    rng = np.random.default_rng(0)
    draws = [torch.from_numpy(a.draw(rng, len(index))) for a in augment]
    assert pictures.knows(inputs, augment)
    right = inputs[index]
    for a, d in zip(augment, draws, strict=True):
        right = a.apply(right, d)
    assert torch.equal(pictures.taken(inputs, index, augment, draws), right)
    assert not pictures.knows(inputs, (Flip(), Crop(1)))
