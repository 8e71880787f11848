"""What a task costs: python benchmarks/cost.py [--data ROOT] prints docs/benchmarks.md's table of tasks.

Each task has as many processes as there are cores, as in a study. Each process times epochs of the engine and, in
turns, a bare loop of the same stacked steps (forward, backward, optimizer) on prepared mini-batches. ROOT contains the
official folders (`mnist`, `cifar-10-batches-bin`, `text` with train, valid and test). For the other tasks, random files
in the official format are made in a temporary folder: the cost of an epoch does not depend on the content.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nondet.io.cores import available_cores

if TYPE_CHECKING:
    from nondet.training.problem import Problem

TASKS: dict[str, tuple[str, int, int, dict[str, str]]] = {
    # name in the table: task, stack, training examples in an epoch, recipe fields
    "digits": ("digits", 20, 896, {}),
    "mnist, mnist-cnn": ("mnist", 4, 512, {}),
    "mnist, mnist-dense": ("mnist", 8, 2048, {}),
    "fashion-mnist, mnist-cnn": ("fashion-mnist", 4, 512, {}),
    "cifar10, resnet14": ("cifar10", 4, 256, {"batch_size": "128"}),
    "cifar100, resnet34": ("cifar100", 2, 32, {"batch_size": "32"}),
    "text, qrnn": ("text", 2, 10_000, {}),
    "ptb, qrnn": ("ptb", 2, 10_000, {}),
    "imagenet, imagenet-resnet18": ("imagenet", 2, 16, {"batch_size": "16"}),
}
GENERATED = ("fashion-mnist", "cifar100", "ptb", "imagenet")
ROUNDS = 7
HEADING = """
## What a task costs

`python benchmarks/cost.py --data ROOT`: epochs of the engine on all {cores} cores, with one process, one thread and one
stack on each, as in a study. The same processes also run, in turns, a bare loop of the same stacked forward, backward
and optimizer steps on prepared mini-batches. The numbers are medians of {rounds} epochs of each process. Seconds per
model-epoch are those of a stack divided by its runs and the number of cores. They are for few examples at the batch
size given; multiply them for more. Peak memory is that of all processes together.

{processor} ({instructions}), {cores} cores, torch {torch}, numpy {numpy}.
"""


def generate(task: str, folder: Path) -> None:
    """Write random files in a task's official format."""
    rng = np.random.Generator(np.random.Philox(0))
    if task == "fashion-mnist":
        for part, n in (("train", 60_000), ("t10k", 10_000)):
            head = b"".join(number.to_bytes(4, "big") for number in (2051, n, 28, 28))
            (folder / f"{part}-images-idx3-ubyte").write_bytes(head + rng.bytes(n * 28 * 28))
            labels = rng.integers(10, size=n, dtype=np.uint8).tobytes()
            (folder / f"{part}-labels-idx1-ubyte").write_bytes(head[:2] + b"\x08\x01" + head[4:8] + labels)
    elif task == "cifar100":
        for part, n in (("train", 50_000), ("test", 10_000)):
            records = rng.integers(256, size=(n, 2 + 3072), dtype=np.uint8)
            records[:, :2] = np.stack([np.arange(n) % 20, np.arange(n) % 100], axis=1)
            (folder / f"{part}.bin").write_bytes(records.tobytes())
    elif task == "ptb":
        for part, n in (("train", 20_000), ("valid", 1_000), ("test", 1_000)):
            words = [f"w{number}" for number in np.resize(rng.permutation(9_998), n)]
            (folder / f"ptb.{part}.txt").write_text(" ".join(words) + "\n")
    else:
        from PIL import Image

        for part, n in (("train", 32), ("val", 256)):
            for number in range(n):
                place = folder / part / f"n{number % 4}"
                place.mkdir(parents=True, exist_ok=True)
                pixels = rng.integers(256, size=(12, 16, 3), dtype=np.uint8)
                Image.fromarray(pixels).resize((500, 375)).save(place / f"{number}.JPEG")


def measure(name: str, data: Path | None) -> dict[str, Any]:
    """Measure one task in this process: the seconds of each epoch of the engine, and of each bare loop."""
    from nondet.running.request import Request
    from nondet.sources import FIXED_SEED
    from nondet.study.provenance import set_up_process
    from nondet.training import examples as classify
    from nondet.training import sequences as text
    from nondet.training.recorded import recorder
    from nondet.training.settings import kernels
    from nondet.training.train import feed, start

    set_up_process()
    task, width, n, fields = TASKS[name]
    model = "mnist-dense" if name.endswith("dense") else None
    if task != "digits":
        fields = fields | {"train_examples": str(n), "test_examples": "256"}
    folder = None if task == "digits" else str(data / "text" if task == "text" and data else data)
    problem = Request(task, fields, "cpu", folder, model).prepare()
    runs = [dict.fromkeys(problem.sources, FIXED_SEED)] * width
    step = text.train_window if problem.recipe.bptt else partial(classify.train_step, problem.objective)
    engine: list[float] = []
    bare: list[float] = []
    with kernels():
        stack = start(problem, runs)
        stack.recorder = recorder(problem, width)
        made = text_batches(problem, width) if problem.recipe.bptt else class_batches(problem, runs)
        for round_ in range(ROUNDS + 1):
            for times, work in (
                (engine, lambda: feed(problem).train_epoch(problem, stack, runs)),
                (bare, lambda: [step(stack, *args) for args in made]),
            ):
                stack.epoch = 0
                stack.skeleton.train()
                begin = time.perf_counter()
                work()
                if round_:  # the first is a warm-up
                    times.append(time.perf_counter() - begin)
    return {
        "stack": width,
        "batch": problem.recipe.batch_size,
        "examples": len(problem.train[1]),
        "engine": engine,
        "bare": bare,
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 2**10 / 1e9,
    }


def class_batches(problem: Problem, runs: list[dict[str, int]]) -> list[Any]:
    """An epoch's mini-batches of a classifier, as arguments of `classify.train_step`."""
    from nondet.training import examples as classify

    plans = [classify.epoch_plan(problem, run, 0) for run in runs]
    examples = np.stack([plan.examples for plan in plans])
    draws = [np.stack(d) for d in zip(*(plan.draws for plan in plans), strict=True)]
    return [
        (inputs, labels, uniforms(problem, labels.shape[1], *labels.shape))
        for inputs, labels in classify.mini_batches(problem, examples, draws)
    ]


def text_batches(problem: Problem, width: int) -> list[Any]:
    """An epoch's windows of a language model, as arguments of `text.train_window`; each from the zero state."""
    from nondet.training import sequences as text

    batch = problem.recipe.batch_size
    inputs, labels = (text.columns(tokens, batch) for tokens in text.texts(problem.train))
    made: list[Any] = []
    for part in text.windows(inputs.shape[1], problem.recipe.bptt):
        x, y = (columns[:, part].expand(width, -1, -1).clone() for columns in (inputs, labels))
        made.append((x, y, None, uniforms(problem, x.shape[2], width, batch)))
    return made


def uniforms(problem: Problem, size: int, width: int, count: int) -> Any:
    """Dropout's numbers for mini-batches of this size, by run and place in the batch."""
    from nondet.sources import FIXED_SEED, stream
    from nondet.training.dropout import draw_uniforms

    masks = [stream("dropout", FIXED_SEED, 0) for _ in range(width)]
    places = np.broadcast_to(np.arange(count), (width, count))
    return draw_uniforms(masks, problem.dropout[size], places, problem.device)


def measure_on_all_cores(words: list[str]) -> list[dict[str, Any]]:
    """Measure with as many processes as there are cores, all at the same time; RuntimeError if one fails."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(words, **pipes) for _ in range(available_cores())]
    said = [process.communicate() for process in processes]
    for process, (_, err) in zip(processes, said, strict=True):
        if process.returncode:
            raise RuntimeError(err.strip().splitlines()[-1])
    return [json.loads(out.splitlines()[-1]) for out, _ in said]


def row(name: str, found: list[dict[str, Any]]) -> str:
    """One task's row of the table."""
    first = found[0]
    pairs = [pair for one in found for pair in zip(one["engine"], one["bare"], strict=True)]
    seconds = statistics.median(engine for engine, _ in pairs) / (first["stack"] * len(found))
    ratio = statistics.median(engine / bare for engine, bare in pairs)
    memory = sum(one["memory"] for one in found)
    return (
        f"| {name} | {first['stack']} | {first['batch']} | {first['examples']:,} | {seconds:.3f} | {ratio:.2f} "
        f"| {memory:.1f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measure(given.one, given.data)))
        return
    from nondet.study.provenance import environment_of_machine

    print(HEADING.format(**environment_of_machine(), cores=available_cores(), rounds=ROUNDS))
    head = ("task, network", "stack", "batch", "examples (tokens)", "s a model-epoch", "engine / bare loop")
    print(f"| {' | '.join(head)} | peak memory (GB) |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for name in TASKS:
        made = TASKS[name][0] in GENERATED
        if name != "digits" and given.data is None and not made:
            continue
        with tempfile.TemporaryDirectory() as folder:
            if made:
                generate(TASKS[name][0], Path(folder))
            data = folder if made else given.data
            words = [sys.executable, __file__, "--one", name, *(["--data", str(data)] if data else [])]
            try:
                print(row(name, measure_on_all_cores(words)), flush=True)
            except RuntimeError as error:
                print(f"| {name} | | | | not measured: {error} | | |", flush=True)


if __name__ == "__main__":
    main()
