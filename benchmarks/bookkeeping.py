"""What a study costs besides its training: python benchmarks/bookkeeping.py 100 1000 10000.

The studies have two conditions of made-up runs that are not trained (outputs of 900 examples and 10 classes, in stacks
of 8), so only planning, writing and reading are left: seconds, the store's fsyncs, and how each grows with the number
of runs. Then come 1,000 runs of a two-layer network that trains for about 0.1 s a run, with the share of the command's
time that is not training. Everything happens in separate processes, in a temporary folder.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import nondet as nd
from nondet.study.provenance import environment_of_machine

EXAMPLES, CLASSES, STACK = 900, 10, 8
HEADING = """
## The cost of bookkeeping

`python benchmarks/bookkeeping.py {runs} --epochs {epochs}`: studies of made-up runs that are not trained, each with the
outputs of {examples} examples and {classes} classes, in two conditions and stacks of {stack}. Seconds are those of the
whole command, including the import of libraries. `show` reads every run: "blobs read" counts each time that one is
opened to be checked.

{processor} ({instructions}), {cores} cores, torch {torch}, numpy {numpy}.

| runs | made (s) | ms a run | fsyncs a run | the command again (s) | `show` (s) | its peak (GB) | blobs read a run |
|---:|---:|---:|---:|---:|---:|---:|---:|"""

CHILD = """
import json, os, pathlib, re, sys
sys.path.insert(0, sys.argv[2])
import bookkeeping
syncs, blobs, fsync = [], [], os.fsync
os.fsync = lambda handle: (syncs.append(0), fsync(handle))

def opened(event, args):
    if event == "open" and str(args[0]).endswith(".safetensors"):
        blobs.append(args[0])

sys.addaudithook(opened)
found = getattr(bookkeeping, sys.argv[1])(*sys.argv[3:])
peak = re.search(r"VmHWM:\\s+(\\d+) kB", pathlib.Path("/proc/self/status").read_text())[1]
print(json.dumps({"found": found, "fsyncs": len(syncs), "opened": len(blobs), "peak": int(peak) * 2**10 / 1e9}))
"""


class MadeUp(nd.Runner):
    """Runs whose outputs are drawn from their seeds."""

    name, sources = "made-up", ("init", "shuffle")
    labels = np.random.Generator(np.random.Philox(0)).integers(CLASSES, size=EXAMPLES)

    def width(self, asked: int | None) -> tuple[int, str]:
        return asked or STACK, ""

    def produce(self, seeds: Sequence[Mapping[str, int]], places: Any, on_epoch: Any) -> list[nd.Outcome]:
        made: list[nd.Outcome] = []
        for run in seeds:
            rng = np.random.Generator(np.random.Philox(key=sum(run[name] << 32 * i for i, name in enumerate(run))))
            outputs = rng.standard_normal((EXAMPLES, CLASSES), np.float32)
            outputs[np.arange(EXAMPLES), self.labels] += 2
            made.append(nd.Outcome({"outputs": outputs}))
        return made


def make(folder: str, runs: str) -> int:
    """Make a study of so many runs, half in each condition; return how many there are, including the control's."""
    nd.run(MadeUp(), runs=int(runs) // 2, vary=["init", "shuffle"], folder=folder, executor="local")
    return len(list((Path(folder) / "runs").glob("*.json")))


def show(folder: str) -> int:
    """Do what `nondet show` does."""
    return len(repr(nd.show(folder)))


def train(folder: str, runs: str, epochs: str) -> dict[str, float]:
    """Train a two-layer network on made-up examples in this process; return the seconds and the number of runs."""
    import torch
    from torch import nn

    from nondet.runners.stack import StackRunner

    draws = torch.Generator().manual_seed(0)
    inputs = torch.randn(640, 64, generator=draws)
    labels = (inputs @ torch.randn(64, CLASSES, generator=draws)).argmax(1)

    def network() -> nn.Module:
        return nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, CLASSES))

    task = nd.Task(
        name="two-layers",
        model=network,
        train=(inputs[:512], labels[:512]),
        test=(inputs[512:], labels[512:]),
        recipe=nd.Recipe(epochs=int(epochs), batch_size=16, lr=0.05),
        stack=STACK,
    )
    seconds, produce = [0.0], StackRunner.produce

    def timed(self: StackRunner, *args: Any) -> list[nd.Outcome]:
        begin = time.perf_counter()
        try:
            return produce(self, *args)
        finally:
            seconds[0] += time.perf_counter() - begin

    StackRunner.produce = timed
    nd.run(task, runs=int(runs), vary="all", folder=folder, executor="local", stack=STACK, device="cpu")
    return {"training": seconds[0]}


def start() -> None:
    """Do what any training with torch starts with: import it, its optimizers and its deterministic algorithms."""
    import torch

    torch.use_deterministic_algorithms(True)
    torch.optim.SGD([torch.zeros(1)], lr=0.1)


def measured(what: str, *args: object) -> dict[str, Any]:
    """Run one of these functions in a separate process; return its seconds, fsyncs, blobs opened and peak memory."""
    begin = time.perf_counter()
    words = [sys.executable, "-c", CHILD, what, str(Path(__file__).parent), *map(str, args)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return {"seconds": time.perf_counter() - begin, **json.loads(done.stdout.splitlines()[-1])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=int, nargs="+")
    parser.add_argument("--trained", type=int, default=1000, help="runs of the two-layer network")
    parser.add_argument("--epochs", type=int, default=10, help="of each of them")
    given = parser.parse_args()
    from nondet.io.cores import available_cores

    machine = environment_of_machine()
    numbers = {
        "epochs": given.epochs,
        "examples": EXAMPLES,
        "classes": CLASSES,
        "stack": STACK,
        "cores": available_cores(),
    }
    print(HEADING.format(runs=" ".join(map(str, given.runs)), **numbers, **machine), flush=True)
    for runs in given.runs:
        with tempfile.TemporaryDirectory() as folder:
            first, again = (measured("make", folder, runs) for _ in range(2))
            shown = measured("show", folder)
        made = first["found"]
        cells = [f"{made:,}", f"{first['seconds']:.1f}", f"{1000 * first['seconds'] / made:.1f}"]
        cells += [f"{first['fsyncs'] / made:.2f}", f"{again['seconds']:.1f}", f"{shown['seconds']:.1f}"]
        cells += [f"{shown['peak']:.2f}", f"{shown['opened'] / made:.2f}"]
        print(f"| {' | '.join(cells)} |", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        whole = measured("train", folder, given.trained, given.epochs)
    spent, training, begin = whole["seconds"], whole["found"]["training"], measured("start")["seconds"]
    rest, share = spent - training - begin, 100 / spent
    size = f"{given.trained:,} runs of a two-layer network (64, 128, 10), {given.epochs} epochs, stacks of {STACK}, one"
    print(f"\n{size}\nprocess: {spent:.1f} s, of which {training:.1f} s are training ", end="")
    print(f"({training / given.trained:.3f} s a run). Starting Python\nand torch takes {begin:.1f} s ", end="")
    print(f"({share * begin:.1f} %), and everything else {rest:.1f} s ({share * rest:.1f} %).")


if __name__ == "__main__":
    main()
