"""What a task costs on one core: python benchmarks/cost.py [--data ROOT] prints docs/benchmarks.md's table of tasks.

For each task, in a process of its own: epochs of the engine beside a bare loop of the same stacked steps (forward,
backward, optimizer) on one mini-batch made beforehand, in turns; medians of seven. Peak memory is the process's.
ROOT holds the official folders (`mnist`, `cifar-10-batches-bin`, `text` with train, valid and test). For the other
tasks it makes random files of the official form in a temporary folder: what an epoch costs does not depend on them.
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
from pathlib import Path
from typing import Any

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

`python benchmarks/cost.py --data ROOT`: epochs of the engine on one core, beside a bare loop of the same stacked
forward, backward and optimizer steps on mini-batches made beforehand, in turns; medians of seven. Small numbers of
examples, at the task's own batch size: multiply. Peak memory is the whole process's.

{processor} ({instructions}), torch {torch}, numpy {numpy}, one thread.
"""


def generate(task: str, folder: Path) -> None:
    """Random files of a task's official form."""
    import numpy as np

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
    """One task's figures, in this process."""
    import torch

    from nondet.environment import set_up_process
    from nondet.request import Request
    from nondet.sources import FIXED_SEED, stream
    from nondet.training import classify, text
    from nondet.training.dropout import draw_uniforms
    from nondet.training.settings import kernels
    from nondet.training.train import feed, start

    set_up_process()
    task, width, n, fields = TASKS[name]
    fields = dict(fields)
    model = "mnist-dense" if name.endswith("dense") else None
    if task != "digits":
        fields |= {"train_examples": str(n), "test_examples": "256"}
    folder = None if task == "digits" else str(data / "text" if task == "text" and data else data)
    problem = Request(task, fields, "cpu", folder, model).prepare()
    runs = [dict.fromkeys(problem.sources, FIXED_SEED)] * width
    engine: list[float] = []
    bare: list[float] = []
    with kernels():
        stack = start(problem, runs)

        def steps() -> None:
            """The bare loop: as many stacked steps as an epoch has, on mini-batches made before."""
            for args in made:
                if problem.recipe.bptt:
                    text.train_window(stack, *args)
                else:
                    classify.train_step(stack, *args)

        made: list[Any] = []
        masks = [stream("dropout", FIXED_SEED, 0) for _ in runs]
        import numpy as np

        if problem.recipe.bptt:
            batch = problem.recipe.batch_size
            x, y = (text.columns(part, batch) for part in problem.train)
            places = np.broadcast_to(np.arange(batch), (width, batch))
            for part in text.windows(x.shape[1], problem.recipe.bptt):
                size = len(range(*part.indices(x.shape[1])))
                uniforms = draw_uniforms(masks, problem.dropout[size], places, problem.device)
                made.append(
                    (x[:, part].expand(width, -1, -1).clone(), y[:, part].expand(width, -1, -1).clone(), None, uniforms)
                )
        else:
            plans = [classify.epoch_plan(problem, run, 0) for run in runs]
            examples = np.stack([plan.examples for plan in plans])
            draws = [np.stack(d) for d in zip(*(plan.draws for plan in plans), strict=True)]
            for inputs, labels in classify.mini_batches(problem, examples, draws):
                places = np.broadcast_to(np.arange(labels.shape[1]), labels.shape)
                uniforms = draw_uniforms(masks, problem.dropout[labels.shape[1]], places, problem.device)
                made.append((inputs, labels, uniforms))
        for round_ in range(ROUNDS + 1):
            for times, work in ((engine, lambda: feed(problem).train_epoch(problem, stack, runs)), (bare, steps)):
                stack.epoch = 0
                stack.skeleton.train()
                begin = time.perf_counter()
                work()
                if round_:
                    times.append(time.perf_counter() - begin)
    seconds = statistics.median(engine) / width
    return {
        "name": name,
        "stack": width,
        "examples": n,
        "seconds": seconds,
        "full": len(problem.train[1]),
        "ratio": statistics.median(e / b for e, b in zip(engine, bare, strict=True)),
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "torch": torch.__version__,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measure(given.one, given.data)))
        return
    from nondet.environment import environment_of_machine

    print(HEADING.format(**environment_of_machine()))
    print("| task, network | stack | examples (tokens) | s a model-epoch | engine / bare loop | peak memory (GB) |")
    print("|---|---:|---:|---:|---:|---:|")
    for name in TASKS:
        made = TASKS[name][0] in GENERATED
        if name != "digits" and given.data is None and not made:
            continue
        with tempfile.TemporaryDirectory() as folder:
            if made:
                generate(TASKS[name][0], Path(folder))
            data = folder if made else given.data
            words = [sys.executable, __file__, "--one", name, *(["--data", str(data)] if data else [])]
            done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"| {name} | | | not measured: {done.stderr.strip().splitlines()[-1]} | | |")
            continue
        r = json.loads(done.stdout.splitlines()[-1])
        print(
            f"| {name} | {r['stack']} | {r['full']:,} | {r['seconds']:.2f} | {r['ratio']:.2f} | {r['memory']:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
