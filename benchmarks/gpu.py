"""Training on a CUDA device: what a stack costs there, and the protocol's main experiment.

    python benchmarks/gpu.py [--results FILE] [--only ROW ...]
        The bars: milliseconds per model-step of stacks, of eager training one model at a time, and of the fastest way
        to train one model in PyTorch (channels last, compiled, as a CUDA graph). Everything is compiled first, in
        parallel. Rows that are in the file of results are not measured again.
    python benchmarks/gpu.py --profile ROW ...
        Where the time of a stack's step goes, by kernel ("resnet14 stack of 26 TF32").
    python benchmarks/gpu.py --minutes 8 --data DIR [--study DIR] [--epochs 100] [--runs N] [--set FIELD=VALUE ...]
        ResNet-14 on CIFAR-10 with the conditions shuffle, bit and all but the kernels, and the control, as
        `nondet run cifar10` trains it. Without --runs, as many runs as fit into the minutes. It continues where it was
        stopped; copy the study's folder to any machine with nondet, and `nondet show` prints its table.

It imports only torch, triton, numpy, safetensors and Pillow, and needs no installation (PYTHONPATH=src).
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

import torch
import torch.nn.functional as F
from torch import nn

from nondet.models.resnet import ResNet
from nondet.tasks import load_task
from nondet.tasks.augment import Crop, Flip
from nondet.tasks.pictures import RECIPES
from nondet.tasks.task import Task
from nondet.training.device import Epochs
from nondet.training.kernels import door
from nondet.training.new_stack import new_stack
from nondet.training.prepare import prepare
from nondet.training.problem import Problem
from nondet.training.settings import kernels

DEVICE = torch.device("cuda")
PRECISIONS = {"fp32": {}, "TF32": {"tf32": True}, "bf16": {"amp": "bfloat16"}}
"""Full precision by three TF32 products, TF32, and mixed precision in bfloat16."""
STEPS = 500 * -(-50_000 // 512)
"""The steps of the protocol's 500 epochs."""


def resnet14() -> nn.Module:
    return ResNet((16, 32, 64), (2, 2, 2), 3, 10)


def mlp() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 10))


@cache
def base(name: str) -> Problem:
    """A task with random inputs of the right shapes (digits has its own), on the device."""
    generator = torch.Generator().manual_seed(0)
    drawn = lambda n, *shape: (  # noqa: E731
        torch.randn(n, *shape, generator=generator),
        torch.randint(10, (n,), generator=generator),
    )
    if name == "digits":
        task = load_task("digits")
    elif name == "mlp":
        sets = {"train": drawn(12_800, 1, 28, 28), "test": drawn(128, 1, 28, 28)}
        task = Task(name="mlp", model=mlp, recipe=replace(RECIPES["cifar10"], batch_size=128, lr=0.1, epochs=5), **sets)
    else:
        sets = {"train": drawn(10_240, 3, 32, 32), "test": drawn(512, 3, 32, 32)}
        task = Task(name="resnet14", model=resnet14, recipe=RECIPES["cifar10"], augment=(Crop(4), Flip()), **sets)
    return prepare(task, task.recipe, DEVICE)


def stack_of(name: str, precision: str, stacked: bool = True) -> Problem:
    """The task in one of PRECISIONS, with stacked kernels or with the libraries' own."""
    given = PRECISIONS[precision]
    problem, tf32 = base(name), bool(given.get("tf32"))
    recipe = replace(problem.recipe, amp=str(given.get("amp", "")))
    return replace(problem, recipe=recipe, tf32=tf32, door=door(DEVICE, recipe, tf32) if stacked else None)


def stack_row(name: str, width: int, precision: str, stacked: bool, seconds: float = 1.0) -> dict[str, Any]:
    """A stack's whole steps: data, augmentation, forward and backward pass, optimizer."""
    problem = stack_of(name, precision, stacked)
    said: list[str] = []
    seeds = [dict.fromkeys(problem.sources, number + 1) for number in range(width)]
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    with kernels(True, problem.tf32):
        stack = new_stack(problem, seeds)
        a_step = Epochs(problem, stack, seeds, say=said.append).seconds_a_step(seconds)
    peak = (torch.cuda.max_memory_allocated() - before) / 2**30
    found = {"ms": 1e3 * a_step / width, "GiB a model": peak / width, "said": said}
    if problem.door is not None:
        found["stock"] = problem.door.stock
    return found


def profile_row(row: str, steps: int = 5) -> str:
    """Print the microseconds per model-step of every kernel of a stack, and how often it ran, the longest first."""
    name, _, rest = row.partition(" stack of ")
    width, precision = int(rest.split()[0]), rest.split()[1]
    problem = stack_of(name, precision)
    seeds = [dict.fromkeys(problem.sources, number + 1) for number in range(width)]
    with kernels(True, problem.tf32):
        epochs = Epochs(problem, new_stack(problem, seeds), seeds)
        epochs.seconds_a_step(0.1)
        (graph,) = epochs.graphs.values()
        epochs.counter.zero_()
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as seen:
            for _ in range(steps):
                graph.replay()
            torch.cuda.synchronize()
    found: dict[str, list[float]] = {}
    for event in seen.events() or []:
        found.setdefault(event.name, []).append(event.device_time)
    lines = [f"{row}: microseconds a model-step, launches a step, kernel"]
    for name, times in sorted(found.items(), key=lambda item: -sum(item[1])):
        if len(lines) < 40:
            lines.append(f"{sum(times) / steps / width:9.2f} {len(times) / steps:6.1f}  {name[:100]}")
    total = sum(map(sum, found.values())) / steps / width
    return "\n".join([*lines, f"{total:9.2f} in all"])


def median_ms(step: Callable[[], Any], count: int = 20) -> float:
    """The median milliseconds of a call, by the device's clock."""
    for _ in range(3):
        step()
    times: list[float] = []
    for _ in range(count):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        step()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end))
    return sorted(times)[count // 2]


def one_model(name: str) -> tuple[nn.Module, torch.Tensor, torch.Tensor, torch.optim.Optimizer]:
    problem = base(name)
    model = problem.task.model().to(DEVICE).train()
    batch = problem.recipe.batch_size
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    return model, problem.train[0][:batch].clone(), problem.train[1][:batch].clone(), optimizer  # type: ignore[index]


def eager_row(name: str) -> dict[str, Any]:
    """One model, as most people train it with deterministic kernels, on a prepared mini-batch."""
    with kernels(True, False):
        model, x, y, optimizer = one_model(name)

        def step() -> None:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()

        return {"ms": median_ms(step)}


def fastest_row(precision: str, wait: Callable[[], Any] = lambda: None) -> dict[str, Any]:
    """One model, channels last, compiled by torch, with CUDA graphs for both passes and a fused optimizer."""
    given = PRECISIONS[precision]
    torch.set_float32_matmul_precision("high" if given.get("tf32") else "highest")
    torch.backends.cudnn.conv.fp32_precision = "tf32" if given.get("tf32") else "ieee"  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = True
    model, x, y, _ = one_model("resnet14")
    model, x = model.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4, fused=True)
    amp = bool(given.get("amp"))

    @torch.compile(mode="reduce-overhead")
    def loss_of(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cuda", torch.bfloat16, enabled=amp):
            return F.cross_entropy(model(x).float(), y)

    def step() -> None:
        optimizer.zero_grad()
        loss_of(x, y).backward()
        optimizer.step()

    for _ in range(3):
        step()
    wait()
    return {"ms": median_ms(step)}


ROWS: dict[str, Callable[[], dict[str, Any]]] = {
    "resnet14 eager": lambda: eager_row("resnet14"),
    **{f"resnet14 stack of 26 {p}": (lambda p=p: stack_row("resnet14", 26, p, True)) for p in PRECISIONS},
    **{f"resnet14 stack of 3 {p}": (lambda p=p: stack_row("resnet14", 3, p, True)) for p in PRECISIONS},
    **{f"resnet14 fastest {p}": (lambda p=p: fastest_row(p)) for p in PRECISIONS},
    "digits eager": lambda: eager_row("digits"),
    "digits stack of 400 fp32": lambda: stack_row("digits", 400, "fp32", True),
    "mlp eager": lambda: eager_row("mlp"),
    "mlp stack of 400 fp32": lambda: stack_row("mlp", 400, "fp32", True),
}


def ceilings() -> dict[str, float]:
    """The peak of this chip: GB/s of a large copy, counting reads and writes, and TFLOP/s of large products."""
    a, b = torch.empty(2, 2**30, dtype=torch.uint8, device=DEVICE)
    found = {"GB/s": 2 * 2**30 / median_ms(lambda: a.copy_(b)) / 1e6}
    for name, dtype, precision in (("fp32", torch.float32, "ieee"), ("TF32", torch.float32, "tf32")):
        x = torch.randn(8192, 8192, device=DEVICE, dtype=dtype)
        torch.backends.cuda.matmul.fp32_precision = precision  # type: ignore[attr-defined]
        found[f"{name} TFLOP/s"] = 2 * 8192**3 / median_ms(lambda: x @ x, 3) / 1e9  # noqa: B023
    x = torch.randn(8192, 8192, device=DEVICE, dtype=torch.bfloat16)
    return found | {"bf16 TFLOP/s": 2 * 8192**3 / median_ms(lambda: x @ x, 5) / 1e9}


def work(batch: int = 512) -> tuple[float, float]:
    """The operations of a ResNet-14's step, and the fewest numbers that its layers must read and write.

    For a convolution these are its input and output in each of three products. For a batch norm they are the passes
    over its input: one to normalise (read and write), two for the gradient (read twice, read once more, write), and
    those of an addition.
    """
    operations, numbers = 0.0, 0.0
    model = resnet14()

    def convolution(module: Any, given: Any, output: torch.Tensor) -> None:
        nonlocal operations, numbers
        times = 2 if module.in_channels == 3 else 3
        per_output = module.in_channels * module.kernel_size[0] * module.kernel_size[1]
        operations += times * 2 * batch * output[0].numel() * per_output
        numbers += times * batch * (given[0][0].numel() + output[0].numel())

    def norm(module: Any, given: Any, output: torch.Tensor) -> None:
        nonlocal numbers
        numbers += batch * output[0].numel() * 7

    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(convolution)
        elif isinstance(module, nn.BatchNorm2d):
            module.register_forward_hook(norm)
    model(torch.zeros(2, 3, 32, 32))
    return operations, numbers


def warm(row: str) -> str:
    """Compile what a row needs in a separate process; Triton and Inductor cache it on disk."""
    torch.set_num_threads(2)
    try:
        name, _, rest = row.partition(" stack of ")
        if rest:
            stack_row(name, 3, rest.split()[1], True, seconds=0.0)
        elif "fastest" in row:
            fastest_row(row.split()[2])
    except Exception as error:
        return f"{row}: {type(error).__name__}: {error}"
    return ""


def bars(results: Path, only: list[str]) -> None:
    """Measure the missing rows, and print the table."""
    found: dict[str, Any] = json.loads(results.read_text()) if results.exists() else {}
    chosen = [row for row in ROWS if not only or any(text in row for text in only)]
    lacking = [row for row in chosen if row not in found]
    begin = time.monotonic()
    with multiprocessing.get_context("spawn").Pool(min(len(lacking), 8) or 1) as pool:
        for problem in filter(None, pool.map(warm, [r for r in lacking if "eager" not in r], chunksize=1)):
            print(problem, flush=True)
    print(f"compiled in {time.monotonic() - begin:.0f} s", flush=True)
    if "ceilings" not in found:
        found["ceilings"] = ceilings() | {
            "gpu": torch.cuda.get_device_name(),
            "versions": f"Python {platform.python_version()}, torch {torch.__version__}, CUDA {torch.version.cuda}",
        }
    for row in lacking:
        try:
            found[row] = ROWS[row]()
        except Exception as error:
            print(f"{row}: {type(error).__name__}: {error}", flush=True)
            continue
        results.write_text(json.dumps(found, indent=1))
        print(f"[{time.monotonic() - begin:.0f} s] {row}: {found[row]}", flush=True)
    print(table(found), flush=True)


def table(found: dict[str, Any]) -> str:
    """The rows as Markdown, with the ratios of one run and the shares of the chip's peak."""
    peak = found["ceilings"]
    operations, numbers = work()
    lines = [
        f"{peak['gpu']}, {peak['versions']}; copies at {peak['GB/s']:.0f} GB/s; products at "
        + ", ".join(f"{peak[f'{p} TFLOP/s']:.0f} TFLOP/s in {p}" for p in PRECISIONS),
        "",
        "| row | ms a model-step | times faster than eager | than the fastest | s for 500 epochs | GiB a model "
        "| share of FLOP/s | of bytes/s |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row, values in found.items():
        if row == "ceilings":
            continue
        name, precision = row.split()[0], row.split()[-1]
        eager, fastest = (
            found.get(f"{name} eager", {}).get("ms"),
            found.get(f"{name} fastest {precision}", {}).get("ms"),
        )
        cells = [f"{values['ms']:.4f}", f"{eager / values['ms']:.1f}" if eager else ""]
        cells.append(f"{fastest / values['ms']:.2f}" if fastest and "stack" in row else "")
        stack = name == "resnet14" and "stack" in row
        cells.append(f"{values['ms'] * STEPS / 1e3:.0f}" if name == "resnet14" else "")
        cells.append(f"{values['GiB a model']:.2f}" if "GiB a model" in values else "")
        size = 2 if precision == "bf16" else 4
        times = 3 if precision == "fp32" else 1
        unit = peak["TF32 TFLOP/s" if precision == "fp32" else f"{precision} TFLOP/s"] if stack else 1
        cells.append(f"{times * operations / values['ms'] / 1e9 / unit:.0%}" if stack else "")
        cells.append(f"{size * numbers / values['ms'] / 1e6 / peak['GB/s']:.0%}" if stack else "")
        lines.append(f"| {row} | {' | '.join(cells)} |")
    return "\n".join(lines)


def train(given: argparse.Namespace) -> None:
    """Run as much of the main experiment as fits into the minutes."""
    from nondet.analysis.results import read_results
    from nondet.running.request import Request
    from nondet.running.scheduler import Watcher, make_missing
    from nondet.study import record as studies
    from nondet.study.design import conditions
    from nondet.study.provenance import set_up_process

    begin = time.monotonic()
    set_up_process()
    fields = {"epochs": str(given.epochs)} | dict(pair.split("=", 1) for pair in given.set)
    request = Request("cifar10", fields, "cuda", given.data, tf32=given.tf32)

    def say(sentence: str) -> None:
        print(f"{time.monotonic() - begin:.0f} s: {sentence}", flush=True)

    runner = request.runner(say=say)
    say("the data are there and the model is tried")
    runs, width = given.runs, given.stack
    if not runs:
        problem = runner.problem
        seeds = [dict.fromkeys(problem.sources, number + 1) for number in range(width)]
        with kernels(True, problem.tf32):
            a_step = Epochs(problem, new_stack(problem, seeds), seeds).seconds_a_step(1.0)
        a_run = a_step / width * given.epochs * -(-len(problem.train[1]) // problem.recipe.batch_size)
        left = 60 * given.minutes - (time.monotonic() - begin) - given.reserve
        say(f"{1e3 * a_step / width:.3f} ms a model-step, {a_run:.1f} s a run")
        runs = max(2, (int(left / a_run) + 1) // 3)  # 3 conditions share a run, and the control has one more
        width = min(width, -(-(3 * runs - 1) // 2))  # in another stack
        say(f"{runs} runs of each condition, {width} together")
    torch.cuda.empty_cache()
    width, why = runner.width(width)
    say(why or f"{width} runs train together")
    vary = ["shuffle", "bit", "init+shuffle+augment+order"]
    wanted = conditions(vary, runner.sources, runs)
    command = ["nondet", "run", "cifar10", f"--runs={runs}", *(f"--vary={v}" for v in vary)]
    command += [f"--stack={width}", *request.words()]
    study = studies.open_study(given.study, runner, runner.environment(width), wanted, command, request.as_dict())
    make_missing(study, runner, Watcher(lambda epochs: say(f"{epochs} run-epochs of this stack")))
    studies.finish(study)
    print(json.dumps(read_results(studies.load(given.study)).to_dict(), indent=2, allow_nan=False))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path("gpu-results.json"))
    parser.add_argument("--only", nargs="*", default=[], metavar="ROW")
    parser.add_argument("--profile", nargs="+", default=[], metavar="ROW")
    parser.add_argument("--minutes", type=float, default=0.0)
    parser.add_argument("--reserve", type=float, default=20.0, help="seconds of the minutes for trials and writing")
    parser.add_argument("--data")
    parser.add_argument("--study", type=Path, default=Path("studies/cifar10-gpu"))
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--runs", type=int, default=0)
    parser.add_argument("--stack", type=int, default=26)
    parser.add_argument("--tf32", action="store_true")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE")
    given = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("benchmarks/gpu.py needs a CUDA device, and none is here; run it on a machine that has one")
    for row in given.profile:
        print(profile_row(row), flush=True)
    if given.profile:
        return
    if given.minutes:
        if given.data is None:
            parser.error("--minutes trains on CIFAR-10; give its folder with --data")
        train(given)
    else:
        bars(given.results, given.only)


if __name__ == "__main__":
    main()
