"""What looking into a training costs: the length of a step under each rung of `nondet diverge`, and without it.

`python benchmarks/diverge.py [--tries N] [--steps N] [--cpu]` prints a table for docs/benchmarks.md. A ResNet-20
trains on batches of 128 pictures of 32 x 32 with two threads (one with --cpu). Processes of each kind are started by
turns, and the first two steps of each warm up. The ratio is the median over the turns of a kind's median step against
the plain one's of its turn.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

import nondet as nd
from nondet.runners.traced import How, Traced

SCRIPT = """
import sys, time, torch
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
for _ in range(int(sys.argv[1])):
    begin = clock()
    optimizer.zero_grad()
    F.cross_entropy(model(x), y).backward()
    optimizer.step()
    print("step", clock() - begin)
"""
RUNGS = {"steps": "losses, batches and weights", "modules": "each module", "operations": "each operation"}
WARM = 2


def step(log: str) -> float:
    """The median length of a step, in milliseconds."""
    return 1e3 * statistics.median([float(one) for one in re.findall(r"^step (\S+)", log, re.M)][WARM:])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tries", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--cpu", action="store_true", help="processor time on one thread, where others use the cores")
    asked = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = threads = "1" if asked.cpu else "2"
    found: dict[str, list[float]] = {name: [] for name in ("plain", *RUNGS)}
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        Path("train.py").write_text(SCRIPT)
        words = [sys.executable, "train.py", str(WARM + asked.steps), "cpu" if asked.cpu else "wall"]
        traced = Traced(nd.Script(words))
        for _ in range(asked.tries):
            found["plain"].append(step(subprocess.run(words, capture_output=True, text=True, check=True).stdout))
            for rung in RUNGS:
                trace = traced.run(How(rung, window=(0, WARM + asked.steps)))
                assert not trace.failure, trace.failure
                found[rung].append(step((trace.folder / "log.txt").read_text()))
        traced.close()
    clock = "processor time" if asked.cpu else "wall time"
    print(f"{platform.machine()}, {clock} on {threads} threads, torch {torch.__version__}; ", end="")
    print(f"{asked.tries} turns of {asked.steps} steps\n")
    print("| what is written down | ms a step | against none |\n|---|---|---|")
    print(f"| nothing | {statistics.median(found['plain']):.0f} | 1 |")
    for rung, what in RUNGS.items():
        ratios = [a / b for a, b in zip(found[rung], found["plain"], strict=True)]
        spread = f"{min(ratios):.3f} to {max(ratios):.3f}"
        print(f"| {what} | {statistics.median(found[rung]):.0f} | {statistics.median(ratios):.3f} ({spread}) |")


if __name__ == "__main__":
    main()
