"""On a CUDA device: the control is zero with deterministic kernels, and `kernels` is a source. Run with -m gpu."""

from __future__ import annotations

import json
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from problems import problem, seeds
from test_stack import same
from torch import Tensor, nn

from nondet import Recipe, Task
from nondet.runners.base import Places, TooWide
from nondet.runners.stack import StackRunner
from nondet.training.device import Epochs
from nondet.training.graphs import no_waiting
from nondet.training.kernels import door
from nondet.training.kernels.geometry import forward
from nondet.training.new_stack import new_stack
from nondet.training.prepare import prepare
from nondet.training.problem import Problem
from nondet.training.settings import kernels
from nondet.training.snapshots import load_snapshot, same_bits, save_snapshot
from nondet.training.stack import Stack
from nondet.training.train import start, train_stack
from nondet.training.trial import fitting_width
from nondet.training.width import fastest

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]
CUDA = torch.device("cuda")


@pytest.mark.parametrize("model", ["dropout", "resnet"])
@pytest.mark.parametrize("tf32", [False, True])
def test_the_control_is_zero(model: str, tf32: bool) -> None:
    """Equal seeds give equal bits, in other slots and beside other runs, with TF32 as without it."""
    p = replace(problem(model, CUDA), tf32=tf32)
    one = train_stack(p, [seeds(p, n, "init", "shuffle") for n in (1, 2, 3)])
    other = train_stack(p, [seeds(p, n, "init", "shuffle") for n in (9, 1, 2)])
    assert same(one[0], other[1])
    assert same(one[1], other[2])


def test_kernels_are_a_source() -> None:
    """A CUDA task has the source `kernels`, whose runs train as the others do."""
    p = problem("resnet", CUDA)
    assert "kernels" in p.sources
    runs = train_stack(p, [seeds(p, n, "kernels") for n in (2, 3)])
    assert all(run.failed is None for run in runs)


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_short_types_train(precision: str) -> None:
    """Both short types train, with a control of zero."""
    p = problem("resnet", CUDA, precision=precision)
    one, other = (train_stack(p, [seeds(p, 1), seeds(p, n)]) for n in (2, 3))
    assert same(one[0], other[0])


@pytest.mark.parametrize("precision", ["float32", "float16", "bfloat16"])
def test_a_bit_at_the_onset_is_the_next_float(tmp_path: Path, precision: str) -> None:
    """A trunk on the device is forked, and one weight of it moves to the next float of its type."""
    p = problem("resnet", CUDA, precision=precision)
    trunk = tmp_path / "trunk"
    train_stack(p, [seeds(p, 1)] * 2, trunks={1: trunk})
    same_run, changed = train_stack(p, [seeds(p, n, "bit") for n in (1, 2)], fork=trunk)
    bit = changed.facts["bit"]
    assert abs(int(bit["before"], 16) - int(bit["after"], 16)) == 1
    assert not same_run.facts


OPTIMIZERS: dict[str, dict[str, object]] = {
    "momentum": {"options": {"momentum": 0.9, "weight_decay": 5e-4}, "warmup": 1.0, "bias_lr": 2.0},
    "nesterov": {"options": {"momentum": 0.9, "nesterov": True}, "ema": 0.9},
    "Adam": {"optimizer": "Adam", "lr": 0.01},
    "AdamW": {"optimizer": "AdamW", "lr": 0.01, "options": {"amsgrad": True}},
    "bfloat16": {"precision": "bfloat16", "options": {"momentum": 0.9}},
    "float64": {"precision": "float64", "options": {"momentum": 0.9}},
}


def long(model: object, **recipe: object) -> Problem:
    """A problem with enough steps for a graph."""
    return problem(model, CUDA, **({"epochs": 12} | recipe))


def trained(p: Problem, epochs: int, recording: bool) -> tuple[Stack, Epochs, list[str]]:
    """A stack of three different runs, and what was said while it trained."""
    said: list[str] = []
    runs = [seeds(p, number) for number in (1, 2, 3)]
    with kernels():
        stack = start(p, runs)
        steps = Epochs(p, stack, runs, say=said.append)
        steps.tried = steps.tried or not recording
        for _ in range(epochs):
            steps.train()
    return stack, steps, said


def assert_same_state(one: Stack, other: Stack) -> None:
    a, b = one.state, other.state
    assert json.dumps(a["groups"]) == json.dumps(b["groups"])  # a snapshot has lists where an optimizer has tuples
    for name in ("weights", "averages", "curves"):
        for k in a[name]:
            assert same_bits(a[name][k], b[name][k]), f"{name} {k}"
    for i, remembered in a["optimizer"].items():
        assert all(same_bits(t, b["optimizer"][i][k]) for k, t in remembered.items() if isinstance(t, Tensor))


@pytest.mark.parametrize("model", ["mlp", "dropout", "resnet", "attention"])
def test_a_graph_trains_as_its_steps(model: str) -> None:
    """Bit for bit, over two epochs whose last mini-batch is smaller; recording leaves no trace."""
    p = long(model, options={"momentum": 0.9}, warmup=1.0)
    one, steps, said = trained(p, 3, recording=True)
    assert not said
    assert len(steps.graphs) == 2
    other, plain, _ = trained(p, 3, recording=False)
    assert not plain.graphs
    assert_same_state(one, other)


@pytest.mark.parametrize("recipe", OPTIMIZERS)
def test_optimizers_in_a_graph(recipe: str) -> None:
    p = long("dropout", **OPTIMIZERS[recipe])
    one, steps, said = trained(p, 3, recording=True)
    assert not said
    assert steps.graphs
    assert_same_state(one, trained(p, 3, recording=False)[0])


@pytest.mark.parametrize("optimizer", ["RMSprop", "NAdam", "Adamax", "Adadelta", "Adagrad", "ASGD", "RAdam", "Rprop"])
def test_other_optimizers_train(optimizer: str) -> None:
    """As a graph or step by step, whichever the class allows."""
    p = long("mlp", optimizer=optimizer, lr=0.01)
    assert_same_state(trained(p, 2, recording=True)[0], trained(p, 2, recording=False)[0])


def test_a_stack_of_one_is_recorded() -> None:
    p = long("resnet")
    alone = [seeds(p, 1)]
    with kernels():
        stacks = [new_stack(p, alone) for _ in range(2)]
        one, other = (Epochs(p, stack, alone) for stack in stacks)
        other.tried = True
        for steps in (one, other):
            steps.train()
            steps.train()
    assert one.graphs
    assert_same_state(*stacks)


def test_an_epochs_steps_never_wait_for_the_device() -> None:
    """With graphs as well as without, dropout and augmentations included."""
    p = long("dropout", options={"momentum": 0.9}, ema=0.9)
    _, steps, _ = trained(p, 1, recording=True)
    with kernels():
        steps._begin([[0.1, 0.1]] * steps.steps)
        torch.cuda.synchronize()
        with no_waiting():
            steps.step(0)
            for number in range(1, steps.steps):
                steps.graphs[steps._size(number)].replay()
    assert steps.counter.item() == steps.steps


class Waiting(nn.Module):
    """Looks at a value on the host in its forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.line(x.flatten(1)) * float(self.line.weight.detach().abs().sum() > 0)


def test_a_model_that_waits_trains_step_by_step() -> None:
    """It is said why, and CUDA is as usable afterwards as before; the next stack is recorded."""
    p = long(Waiting)
    said: list[str] = []
    alone = [seeds(p, 1)]
    with kernels():
        steps = Epochs(p, new_stack(p, alone), alone, say=said.append)
        steps.train()
        steps.train()
    assert not steps.graphs
    assert len(said) == 1
    assert "one by one" in said[0]
    assert trained(long("mlp"), 2, recording=True)[1].graphs


def test_a_recording_that_fails_leaves_cuda_usable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that waits only while it is recorded: what was begun is undone."""
    p, plain = long("mlp"), Epochs.step

    def step(self: Epochs, number: int) -> None:
        plain(self, number)
        if torch.cuda.is_current_stream_capturing():
            self.total.cpu()

    with monkeypatch.context() as patch:
        patch.setattr(Epochs, "step", step)
        one, steps, said = trained(p, 2, recording=True)
    assert not steps.graphs
    assert len(said) == 1
    assert_same_state(one, trained(p, 2, recording=False)[0])
    assert trained(p, 2, recording=True)[1].graphs


@pytest.mark.parametrize("recipe", ["momentum", "Adam"])
@pytest.mark.parametrize("graph", [False, True])
def test_a_snapshot_goes_on_with_and_without_a_graph(tmp_path: Path, recipe: str, graph: bool) -> None:
    """From the third epoch on as if nothing had happened, whichever way each half is trained."""
    p = long("dropout", **OPTIMIZERS[recipe])
    whole, _, _ = trained(p, 4, recording=True)
    half, _, _ = trained(p, 2, recording=not graph)
    save_snapshot(tmp_path / "snapshot", half.state)
    state = load_snapshot(tmp_path / "snapshot")
    assert state is not None
    runs = [seeds(p, number) for number in (1, 2, 3)]
    with kernels():
        stack = start(p, runs)
        stack.restore(state)
        steps = Epochs(p, stack, runs)
        steps.tried = not graph
        steps.train()
        steps.train()
    assert bool(steps.graphs) == graph
    assert_same_state(whole, stack)


def test_a_wide_stack_of_digits_is_recorded() -> None:
    """400 small networks in one graph."""
    rng = np.random.default_rng(0)
    inputs, labels = torch.from_numpy(rng.standard_normal((96, 64), dtype=np.float32)), torch.arange(96) % 10
    net = lambda: nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))  # noqa: E731
    recipe = Recipe(epochs=12, batch_size=32, lr=0.1, options={"momentum": 0.9})
    task = Task(model=net, train=(inputs, labels), test=(inputs, labels), recipe=recipe)
    p = prepare(task, recipe, CUDA)
    outcomes = train_stack(p, [seeds(p, number) for number in range(1, 401)])
    assert len(outcomes) == 400
    assert all(outcome.failed is None for outcome in outcomes)


@pytest.fixture
def little_memory() -> Generator[None]:
    """2 GiB of the device, for the time of a test."""
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(2 * 2**30 / torch.cuda.get_device_properties(CUDA).total_memory)
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)
    torch.cuda.empty_cache()


@pytest.mark.usefixtures("little_memory")
def test_a_stack_that_does_not_fit_is_halved() -> None:
    """Before training and in the middle of it; the narrower stack then trains in the memory that it left."""
    said: list[str] = []
    large = lambda: nn.Sequential(nn.Flatten(), nn.Linear(12, 500_000), nn.ReLU(), nn.Linear(500_000, 3))  # noqa: E731
    p = problem(large, CUDA, epochs=1, batch_size=32)
    p = replace(p, door=SimpleNamespace(width_free=True, refused="only says so"))  # type: ignore[arg-type]
    runner = StackRunner(p, {}, said.append)
    with pytest.raises(TooWide):
        runner.produce([seeds(p, number) for number in range(1, 33)], Places(), lambda epoch: None)
    assert said == ["A stack of 32 does not fit into the memory of cuda; 16 train together."]
    width, _ = runner.width(32)
    assert 1 <= width < 32
    assert all(o.failed is None for o in runner.produce([seeds(p, 1)] * width, Places(), lambda epoch: None))


def test_widths_are_measured_on_the_device() -> None:
    """Each as it will train, as a graph where that can be."""
    chosen, sentence = fastest(long("dropout"), 2, 8, seconds=0.05)
    assert chosen in (2, 4, 8)
    assert sentence.startswith(f"A stack of {chosen}: ")


PRODUCTS = [("", False), ("", True), ("bfloat16", False), ("float16", False)]


@pytest.mark.parametrize(("amp", "tf32"), PRODUCTS)
def test_bits_are_free_of_the_width(amp: str, tf32: bool) -> None:
    """A run of a stack of stacked kernels is the same at widths 1, 2, 7 and 26, in any slot; all settings differ."""
    p = problem("resnet", CUDA, amp=amp, options={"momentum": 0.9})
    p = replace(p, tf32=tf32, door=door(CUDA, p.recipe, tf32))
    assert fitting_width(p, 3) == (3, "")
    assert p.door is not None
    assert p.door.width_free, p.door
    assert p.door.as_dict()["products"] == (amp or ("tf32" if tf32 else "tf32x3"))
    runs = [seeds(p, number) for number in range(1, 27)]
    wide = train_stack(p, runs)
    for chosen in ([4], [9, 4], [1, 2, 3, 25, 4, 5, 6], list(range(25, -1, -1))):
        narrow = train_stack(p, [runs[number] for number in chosen])
        assert all(same(outcome, wide[number]) for outcome, number in zip(narrow, chosen, strict=True)), chosen


def test_full_precision_is_as_exact_as_the_librarys() -> None:
    """Output and both gradients, over the shapes of the protocol's network, against double precision."""
    functions = pytest.importorskip("nondet.training.kernels.functions")
    tiles = pytest.importorskip("nondet.training.kernels.tiles")
    errors: dict[str, list[list[float]]] = {"stacked": [], "library": []}
    rng = torch.Generator(CUDA).manual_seed(0)
    drawn = lambda *shape: torch.randn(*shape, device=CUDA, generator=rng)  # noqa: E731
    with kernels():
        for channels, outputs, size, stride in ((3, 16, 32, 1), (16, 16, 32, 1), (16, 32, 32, 2), (64, 64, 8, 1)):
            x, w = drawn(2, 128, channels, size, size), drawn(2, outputs, channels, 3, 3)
            dy = drawn(2, 128, outputs, size // stride, size // stride)
            across = tiles.across_for(outputs, torch.float32, "tf32x3")
            geometry = forward((size, size), channels, outputs, (3, 3), stride, (1, 1), 1, across)
            ways = {
                "exact": lambda a, b, s=stride: plain(a, b, s),
                "library": lambda a, b, s=stride: plain(a, b, s),
                "stacked": lambda a, b, g=geometry: functions.conv2d(
                    a, b, None, g, functions.Precision(), True, functions.Link()
                )[0],
            }
            found: dict[str, list[torch.Tensor]] = {}
            for way, convolve in ways.items():
                given = [t.double() if way == "exact" else t.clone() for t in (x, w)]
                leaves = [t.requires_grad_() for t in given]
                y = convolve(*leaves)
                y.backward(dy.to(y.dtype))
                found[way] = [y.detach(), *(t.grad for t in leaves if t.grad is not None)]
            for way, so_far in errors.items():
                pairs = zip(found[way], found["exact"], strict=True)
                so_far.append([float((a.double() - b).norm() / b.norm()) for a, b in pairs])
    largest = {way: np.max(values, axis=0) for way, values in errors.items()}
    assert (largest["stacked"] <= largest["library"]).all(), largest


def plain(x: torch.Tensor, w: torch.Tensor, stride: int) -> torch.Tensor:
    return torch.stack([F.conv2d(a, b, stride=stride, padding=1) for a, b in zip(x, w, strict=True)])
