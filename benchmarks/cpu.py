"""What makes a stack faster on a CPU: python benchmarks/cpu.py [--data ROOT] prints tables for docs/benchmarks.md.

Everything runs on one thread. Each operation is timed as a stack of 20 of digits runs would run it, in ways that give
the same numbers. Epochs are those of a plain loop over models, and of the stack with one more of its means each time.
ROOT contains the official folders of MNIST and CIFAR-10.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from bench_training import plain_loop
from torch import Tensor
from torch.func import vmap

from nondet.runners.stack import StackRunner
from nondet.running.request import Request
from nondet.study.provenance import environment_of_machine
from nondet.training import examples, settings
from nondet.training.new_stack import new_stack
from nondet.training.recorded import recorder
from nondet.training.settings import kernels

BATCH, RUNS, ROUNDS = 32, 20, 7
FEW = 4  # epochs of the plain loop that are timed together, with making its model
TASKS = {"digits": (20, {}), "mnist": (4, {"train_examples": "512"}), "cifar10": (4, {"train_examples": "256"})}
HEADING = """
## What makes a stack faster on a CPU

`python benchmarks/cpu.py --data ROOT`: operations of a stack of {runs} of the digits network at batch size {batch}, on
one thread, in milliseconds of processor time for all runs (medians of 15 calls).

{processor} ({instructions}), torch {torch}.
"""
WAYS = ("plain loop", "torch's kernels", "memory kept", "channels last", "recorded steps")
EPOCHS = """
Whole epochs, in processor time: how many times as fast as a plain loop over models (medians of {rounds} epochs), with
one more of the stack's means in each column. Each number is from a process of its own.

| task | plain loop (ms) | torch's kernels | + memory kept | + channels last | + recorded steps |
|---|---:|---:|---:|---:|---:|"""
CONVOLUTIONS = ((8, 8, 8, 1), (8, 16, 8, 2), (16, 16, 4, 1))  # inputs, outputs, pixels, stride
HEAD = "| {} | forward | gradients | both |\n|---|---:|---:|---:|"


def milliseconds(call: Callable[[], Any]) -> float:
    for _ in range(3):
        call()
    times: list[float] = []
    for _ in range(15):
        begin = time.process_time()
        call()
        times.append(time.process_time() - begin)
    return 1e3 * median(times)


def row(name: str, forward: Callable[[], Any], back: Callable[[], Any]) -> str:
    one, two = milliseconds(forward), milliseconds(back)
    return f"| {name} | {one:.1f} | {two:.1f} | {one + two:.1f} |"


def convolution(runs: int, inputs: int, outputs: int, pixels: int, stride: int) -> list[str]:
    """Time one grouped convolution, channels last, one run after another, and a product with a copied matrix."""
    x = torch.randn(BATCH, runs * inputs, pixels, pixels)
    w = torch.randn(runs * outputs, inputs, 3, 3)
    g = torch.randn_like(F.conv2d(x, w, None, stride, 1, 1, runs))

    def forward(x: Tensor, w: Tensor, groups: int) -> Tensor:
        return F.conv2d(x, w, None, stride, 1, 1, groups)

    def back(g: Tensor, x: Tensor, w: Tensor, groups: int) -> Any:
        steps = [stride, stride], [1, 1], [1, 1], False, [0, 0]
        return torch.ops.aten.convolution_backward(g, x, w, None, *steps, groups, [True, True, False])

    def last(t: Tensor) -> Tensor:
        return t.contiguous(memory_format=torch.channels_last)

    name = f"{inputs} to {outputs} channels, {pixels} x {pixels}, stride {stride}: "
    lines = [row(f"{name}one grouped convolution", lambda: forward(x, w, runs), lambda: back(g, x, w, runs))]
    a, b, c = last(x), last(w), last(g)
    lines.append(
        row(f"{name}the same, channels last (in use)", lambda: forward(a, b, runs), lambda: back(c, a, b, runs))
    )
    each = [
        (g[:, i * outputs : (i + 1) * outputs].contiguous(), x[:, i * inputs : (i + 1) * inputs].contiguous(), v)
        for i, v in enumerate(w.split(outputs))
    ]
    lines.append(
        row(
            f"{name}run after run",
            lambda: [forward(x, w, 1) for _, x, w in each],
            lambda: [back(g, x, w, 1) for g, x, w in each],
        )
    )
    places = g.shape[2] * g.shape[3]
    columns = F.unfold(x, 3, padding=1, stride=stride).view(BATCH, runs, -1, places).permute(1, 2, 0, 3)
    flat, dy = columns.reshape(runs, inputs * 9, -1), torch.randn(runs, outputs, BATCH * places)
    matrix = w.view(runs, outputs, -1)

    def product() -> Tensor:
        unfolded = F.unfold(x, 3, padding=1, stride=stride).view(BATCH, runs, -1, places)
        return matrix @ unfolded.permute(1, 2, 0, 3).reshape(runs, inputs * 9, -1)

    def product_back() -> Any:
        dx = (matrix.mT @ dy).view(runs, inputs * 9, BATCH, places).permute(2, 0, 1, 3).reshape(BATCH, -1, places)
        return dy @ flat.mT, F.fold(dx, (pixels, pixels), 3, padding=1, stride=stride)

    return [*lines, row(f"{name}a product with a copied matrix", product, product_back)]


class Fused(torch.autograd.Function):
    """torch's batch norm of all runs with its scale and shift, followed by an in-place ReLU."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        y, mean, rstd = torch.native_batch_norm(x, w, b, None, None, True, 0.1, 1e-5)
        ctx.save_for_backward(x, w, mean, rstd, y.relu_())
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        x, w, mean, rstd, y = ctx.saved_tensors
        g = torch.ops.aten.threshold_backward(gradients[0], y, 0)
        return torch.ops.aten.native_batch_norm_backward(g, x, w, None, None, mean, rstd, True, 1e-5, [True] * 3)


def norm(runs: int, channels: int, pixels: int) -> list[str]:
    """Time batch norm under vmap, where scale and shift are separate passes; with them inside; and in other layouts."""
    x = torch.randn(BATCH, runs * channels, pixels, pixels, requires_grad=True)
    w, b = torch.ones(runs, channels, requires_grad=True), torch.zeros(runs, channels, requires_grad=True)

    def one(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        return F.relu(F.batch_norm(x, None, None, w, b, True))

    def stacked() -> Tensor:
        return vmap(one, in_dims=(1, 0, 0), out_dims=1)(x.view(BATCH, runs, channels, pixels, pixels), w, b)

    def inside(x: Tensor) -> Tensor:
        return Fused.apply(x, w.view(-1), b.view(-1))  # type: ignore[no-any-return]

    def gradients(y: Tensor) -> Callable[[], Any]:
        g = torch.randn_like(y)
        return lambda: torch.autograd.grad(y, (x, w, b), g, retain_graph=True, allow_unused=True)

    name = f"{channels} channels, {pixels} x {pixels}: "
    lines = [row(f"{name}torch's own under vmap", stacked, gradients(stacked()))]
    lines.append(row(f"{name}scale, shift and ReLU inside", lambda: inside(x), gradients(inside(x))))
    last = x.contiguous(memory_format=torch.channels_last)
    lines.append(row(f"{name}the same, channels last (in use)", lambda: inside(last), gradients(inside(last))))
    wide = torch.randn(BATCH, runs * channels, 2 * pixels, 2 * pixels)[:, :, ::2, ::2].requires_grad_()
    y = inside(wide)
    back = torch.randn_like(y)
    lines.append(
        row(
            f"{name}the same, of every second pixel",
            lambda: inside(wide),
            lambda: torch.autograd.grad(y, wide, back, retain_graph=True),
        )
    )
    return lines


def epochs(name: str, data: str | None) -> str:
    """How many times as fast as a plain loop the stack trains, with each of its means added to those before."""
    words = [sys.executable, __file__, *(["--data", data] if data and name != "digits" else [])]
    plain, *stacked = (
        float(subprocess.run([*words, "--time", name, way], check=True, capture_output=True, text=True).stdout)
        for way in WAYS
    )
    return f"| {name}, {TASKS[name][0]} runs | {plain:.0f} | {' | '.join(f'{plain / ms:.2f}' for ms in stacked)} |"


def time_of(name: str, way: str, data: str | None) -> float:
    """The milliseconds of a run's epoch, trained in one of the WAYS: the median of some epochs."""
    width, fields = TASKS[name]
    if WAYS.index(way) < WAYS.index("memory kept"):
        settings.memory_kept = nullcontext
    runner = Request(name, fields | {"test_examples": "64", "epochs": "1000"}, "cpu", data).runner(say=lambda _: None)
    assert isinstance(runner, StackRunner)
    runner.width(width)
    problem = runner.problem
    if WAYS.index(way) < WAYS.index("channels last"):
        problem = replace(problem, door=None)
    times: list[float] = []
    with kernels() if way != "plain loop" else nullcontext():
        seeds = [dict.fromkeys(problem.sources, n + 1) for n in range(width)]
        stack, few = new_stack(problem, seeds), replace(problem, recipe=problem.recipe.set({"epochs": str(FEW)}))
        stack.recorder = recorder(problem, width) if way == "recorded steps" else None
        for _ in range(ROUNDS + 2):
            begin = time.process_time()
            if way == "plain loop":
                plain_loop(few, 1)
            else:
                examples.train_epoch(problem, stack, seeds)
            times.append(time.process_time() - begin)
    return 1e3 * median(times[2:]) / (FEW if way == "plain loop" else width)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data")
    parser.add_argument("--time", nargs=2, metavar=("TASK", "WAY"), help="only print the milliseconds of this")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.time:
        task, way = given.time
        print(time_of(task, way, given.data))
        return
    print(HEADING.format(runs=RUNS, batch=BATCH, **environment_of_machine()))
    print(HEAD.format("convolution 3 x 3"))
    for shape in CONVOLUTIONS:
        print(*convolution(RUNS, *shape), sep="\n")
    print()
    print(HEAD.format("batch norm and ReLU"))
    for channels, pixels in ((8, 8), (16, 4)):
        print(*norm(RUNS, channels, pixels), sep="\n")
    print(EPOCHS.format(rounds=ROUNDS))
    for name in TASKS:
        if name == "digits" or given.data:
            print(epochs(name, given.data), flush=True)


if __name__ == "__main__":
    main()
