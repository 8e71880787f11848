"""What observing a training costs: the time of a step on each rung of `nondet diverge`, against an unobserved step.

`python benchmarks/diverge.py [--tries N] [--pairs N] [--steps N] [--cpu]` prints a table for docs/benchmarks.md. A
ResNet-20 trains on batches of 128 images of 32 x 32 with two threads (one with --cpu). The first two steps of each
process warm up.

The first two rungs cost less than two processes differ by, so they are measured in one process: its steps are observed
and not, in turn, and each observed step is divided by the mean of the unobserved ones before and after it. On the first
rung all recording happens outside the forward pass, the backward pass and the update; only the time outside those three
is compared, so the noise of the training is not in it. Operations are recorded in a process of their own, in turn with
a plain one; its median step is divided by the plain one's.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import torch
from scipy.stats import binom

import nondet as nd
from nondet.runners.traced import How, Traced

SCRIPT = """
import contextlib, sys, time, torch
from torch import nn
from torch.nn import functional as F
torch.manual_seed(0)


class Block(nn.Module):
    def __init__(self, a, b, stride):
        super().__init__()
        self.one, self.two = nn.Conv2d(a, b, 3, stride, 1, bias=False), nn.Conv2d(b, b, 3, 1, 1, bias=False)
        self.first, self.second = nn.BatchNorm2d(b), nn.BatchNorm2d(b)
        self.past = nn.Conv2d(a, b, 1, stride, bias=False) if a != b else nn.Identity()

    def forward(self, x):
        y = self.second(self.two(F.relu(self.first(self.one(x)))))
        return F.relu(y + self.past(x))


blocks = [Block(a, b, s) for w, a, s0 in ((16, 16, 1), (32, 16, 2), (64, 32, 2)) for a, b, s in
          ((a, w, s0), (w, w, 1), (w, w, 1))]
model = nn.Sequential(nn.Conv2d(3, 16, 3, 1, 1), nn.ReLU(), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                      nn.Linear(64, 10))
optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
x, y = torch.randn(128, 3, 32, 32), torch.randint(0, 10, (128,))
clock = time.process_time if sys.argv[2] == "cpu" else time.perf_counter
inside = 0.0
unseen = contextlib.nullcontext


def timed(function):
    def call(*args, **words):
        global inside
        begin = clock()
        found = function(*args, **words)
        inside += clock() - begin
        return found

    return call


if sys.argv[3] == "pairs":
    from nondet.script.trace.training import unseen
    model.forward = timed(model.forward)
    torch.autograd._engine_run_backward = timed(torch.autograd._engine_run_backward)
    update = sys.modules["torch.optim.sgd"]
    update.sgd = timed(update.sgd)
for number in range(int(sys.argv[1])):
    with unseen() if number % 2 == 0 else contextlib.nullcontext():
        inside, begin = 0.0, clock()
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        taken = clock() - begin
    print("step", taken, taken - inside)
"""
PAIRED = {"steps": "losses, batches and weights", "modules": "each module"}
WARM = 2


def steps(log: str) -> list[tuple[float, float]]:
    """Of each step after the first ones: its length and the part outside the training's own work, in milliseconds."""
    return [(1e3 * float(a), 1e3 * float(b)) for a, b in re.findall(r"^step (\S+) (\S+)", log, re.M)][WARM:]


def paired(rung: str, times: list[tuple[float, float]]) -> list[float]:
    """What each observed step (the odd ones) takes over the mean of its two unobserved neighbours, plus 1."""
    part = 1 if rung == "steps" else 0
    threes = zip(times[::2], times[1::2], times[2::2], strict=False)
    return [1 + (2 * b[part] - a[part] - c[part]) / (a[0] + c[0]) for a, b, c in threes]


def interval(values: list[float]) -> tuple[float, float]:
    """A 95 % interval of a median, from the order of the values (binomial, so of any distribution)."""
    low = int(binom.ppf(0.025, len(values), 0.5))
    ranked = sorted(values)
    return ranked[max(low - 1, 0)], ranked[min(len(values) - low, len(values) - 1)]


def row(name: str, ms: list[float], ratios: list[float]) -> str:
    low, high = interval(ratios)
    return f"| {name} | {median(ms):.0f} | {median(ratios):.4f} ({low:.4f} to {high:.4f}) | {len(ratios)} |"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tries", type=int, default=5, help="processes of each kind")
    parser.add_argument("--pairs", type=int, default=30, help="observed steps of a process of the first two rungs")
    parser.add_argument("--steps", type=int, default=10, help="steps of a process whose operations are recorded")
    parser.add_argument("--cpu", action="store_true", help="processor time on one thread, where others use the cores")
    asked = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = threads = "1" if asked.cpu else "2"
    clock = "cpu" if asked.cpu else "wall"
    plain: list[float] = []
    found: dict[str, list[float]] = {name: [] for name in PAIRED}
    ratios: dict[str, list[float]] = {name: [] for name in PAIRED}
    operations: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        Path("train.py").write_text(SCRIPT)

        def words(count: int, kind: str) -> list[str]:
            return [sys.executable, "train.py", str(WARM + count), clock, kind]

        def observed(rung: str, count: int, kind: str) -> list[tuple[float, float]]:
            traced = Traced(nd.Script(words(count, kind)))
            trace = traced.run(How(rung, window=(0, WARM + count)))
            assert not trace.failure, trace.failure
            log = (trace.folder / "log.txt").read_text()
            traced.close()
            return steps(log)

        for _ in range(asked.tries):
            log = subprocess.run(words(asked.steps, "plain"), capture_output=True, text=True, check=True).stdout
            plain.append(median(whole for whole, _ in steps(log)))
            operations.append(median(whole for whole, _ in observed("operations", asked.steps, "plain")))
            for rung in PAIRED:
                times = observed(rung, 2 * asked.pairs + 1, "pairs")
                found[rung] += [whole for whole, _ in times[1::2]]
                ratios[rung] += paired(rung, times)
    print(f"{platform.machine()}, {'processor' if asked.cpu else 'wall'} time on {threads} threads, ", end="")
    print(f"torch {torch.__version__}; {asked.tries} processes of each kind\n")
    print("| what is recorded | ms a step | against none (95 % interval of the median) | n |\n|---|---|---|---|")
    print(f"| nothing | {median(plain):.0f} | 1 | {len(plain)} |")
    for rung, what in PAIRED.items():
        print(row(what, found[rung], ratios[rung]))
    print(row("each operation", operations, [a / b for a, b in zip(operations, plain, strict=True)]))


if __name__ == "__main__":
    main()
