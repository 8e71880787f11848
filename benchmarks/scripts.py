"""What sorting a script's random numbers costs: one epoch of a loader, with nondet and without.

`python benchmarks/scripts.py [--tries N]` prints a table for docs/benchmarks.md: the median seconds of N tries each,
which take turns. One training has examples that cost next to nothing (the worst case), one has images, and one draws
numbers one by one outside all sources.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from nondet.runners.process import environment_of

SCRIPT = """
import sys, time, torch
from torch import nn
from torch.utils.data import DataLoader, Dataset
torch.manual_seed(0)
size, examples = int(sys.argv[1]), int(sys.argv[2])
pictures = torch.randn(256, 3, size, size)


class Pictures(Dataset):
    def __len__(self):
        return examples

    def __getitem__(self, i):
        x = torch.nn.functional.pad(pictures[i % 256], (4, 4, 4, 4))
        top, left = torch.randint(0, 8, (2,)).tolist()
        return x[:, top:top + size, left:left + size], i % 10


model = nn.Sequential(nn.Conv2d(3, 16, 3, stride=2), nn.ReLU(), nn.Dropout(0.1), nn.AdaptiveAvgPool2d(1),
                      nn.Flatten(), nn.Linear(16, 10))
optimizer = torch.optim.SGD(model.parameters(), 0.1)
begin = time.perf_counter()
for x, y in DataLoader(Pictures(), 64, shuffle=True):
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(x), y).backward()
    optimizer.step()
print("seconds", time.perf_counter() - begin)
"""
DRAWS = """
import random, sys, time
import numpy as np, torch
count, draw = int(sys.argv[2]), {0: random.random, 1: np.random.rand, 2: lambda: torch.rand(())}[int(sys.argv[1])]
begin = time.perf_counter()
for _ in range(count):
    draw()
print("seconds", time.perf_counter() - begin)
"""
CASES = {
    "examples of 8 by 8 pixels": (SCRIPT, 8, 8192),
    "examples of 64 by 64 pixels": (SCRIPT, 64, 4096),
    "numbers of Python's in the loop": (DRAWS, 0, 1_000_000),
    "numbers of numpy's in the loop": (DRAWS, 1, 1_000_000),
    "numbers of torch's in the loop": (DRAWS, 2, 100_000),
}


def seconds(script: Path, case: tuple[int, int], sorted_by_source: bool) -> float:
    place = script.parent
    environment = environment_of({}, place) if sorted_by_source else {**os.environ, "OMP_NUM_THREADS": "1"}
    words = [sys.executable, str(script), *map(str, case)]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    return float(re.findall(r"seconds ([\d.]+)", done.stdout)[0])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tries", type=int, default=5)
    tries = parser.parse_args().tries
    print("\n## Scripts as they are\n")
    print("| what is timed | alone (s) | sorted by source (s) | ratio |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        script, kept = Path(folder) / "train.py", Path(folder) / ".nondet"
        kept.mkdir()
        (kept / "order.json").write_text(json.dumps({"seeds": {}, "folder": str(kept)}))
        for name, (text, *case) in CASES.items():
            script.write_text(text)
            both = [[seconds(script, (case[0], case[1]), with_it) for with_it in (False, True)] for _ in range(tries)]
            alone, sorted_ = (statistics.median(column) for column in zip(*both, strict=True))
            print(f"| {case[1]:,} {name} | {alone:.2f} | {sorted_:.2f} | {sorted_ / alone:.2f} |")
    print(
        f"\n`python benchmarks/scripts.py --tries {tries}`: medians of {tries}, in turns, {platform.machine()}, Python "
        f"{platform.python_version()}, torch {torch.__version__}, one thread."
    )


if __name__ == "__main__":
    main()
