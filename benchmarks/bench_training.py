"""A stack against a plain PyTorch loop, and the store against training. Run: make bench"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import pytest
import torch
import torch.nn.functional as F
from pytest_benchmark.fixture import BenchmarkFixture

from nondet.study.spec import Outcome
from nondet.study.store import Store
from nondet.tasks import load_task
from nondet.training.examples import epoch_plan, train_epoch
from nondet.training.new_stack import new_stack
from nondet.training.prepare import prepare
from nondet.training.problem import Problem, build_model, choose_device
from nondet.training.recipes import lr_factor
from nondet.training.recorded import recorder
from nondet.training.settings import kernels
from nondet.training.train import train_stack

EPOCHS = 24


@pytest.fixture(scope="module")
def digits() -> Problem:
    task = load_task("digits")
    return prepare(task, task.recipe.set({"epochs": str(EPOCHS)}), choose_device("cpu"))


def _seeds(problem: Problem, number: int) -> dict[str, int]:
    return dict.fromkeys(problem.sources, number)


def plain_loop(problem: Problem, number: int) -> None:
    """One run of the task as most people would write it: one model, torch's optimizer, batches indexed and cropped."""
    run = _seeds(problem, number)
    model = build_model(problem.task, problem.recipe, number).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=problem.recipe.lr, **problem.recipe.options)
    inputs, labels = problem.train
    batch = problem.recipe.batch_size
    for epoch in range(problem.recipe.epochs):
        plan = epoch_plan(problem, run, epoch)
        examples, draws = torch.from_numpy(plan.examples), [torch.from_numpy(d) for d in plan.draws]
        starts = range(0, len(inputs), batch)
        for step, start in enumerate(starts):
            index = examples[start : start + batch]
            x = inputs[index]
            for augmentation, drawn in zip(problem.task.augment, draws, strict=True):
                x = augmentation.apply(x, drawn[index])
            optimizer.param_groups[0]["lr"] = problem.recipe.lr * lr_factor(problem.recipe, epoch + step / len(starts))
            loss = F.cross_entropy(model(x), labels[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


def test_stack_against_plain_loop(benchmark: BenchmarkFixture, digits: Problem) -> None:
    """Seconds per run-epoch: a stack on one thread; the plain loop, one run at a time, on one thread and on all cores.

    The stack has the recorded steps of the one before, as any but the first of a process.
    A study trains a stack on each core, so its seconds per run-epoch are the stack's divided by the number of cores.
    """
    width, cores = digits.task.stack, len(os.sched_getaffinity(0))
    runs = [_seeds(digits, number) for number in range(1, width + 1)]
    threads = torch.get_num_threads()
    seconds: dict[str, list[float]] = {"stack, 1 thread": [], "plain, 1 thread": [], f"plain, {cores} threads": []}

    def stack() -> None:
        torch.set_num_threads(1)
        with kernels():
            stacked = new_stack(digits, runs)
            stacked.recorder = recorder(digits, width)
            for _ in range(EPOCHS):
                train_epoch(digits, stacked, runs)

    def timed(name: str, runs: int, number_of_threads: int) -> None:
        torch.set_num_threads(number_of_threads)
        begin = time.perf_counter()
        for number in range(1, runs + 1):
            plain_loop(digits, number)
        seconds[name].append((time.perf_counter() - begin) / runs / EPOCHS)

    def setup() -> None:  # the plain loops are timed just before each round of the stack
        timed("plain, 1 thread", 3, 1)
        timed(f"plain, {cores} threads", 3, cores)

    try:
        benchmark.pedantic(stack, setup=setup, rounds=7, warmup_rounds=1)
    finally:
        torch.set_num_threads(threads)
    stats = benchmark.stats.stats  # type: ignore[union-attr]
    seconds["stack, 1 thread"] = [t / width / EPOCHS for t in stats.data]
    medians = {name: median(values) for name, values in seconds.items()}
    benchmark.extra_info.update({f"ms a run-epoch: {name}": round(1e3 * m, 1) for name, m in medians.items()})
    fastest = min(m for name, m in medians.items() if name.startswith("plain"))
    benchmark.extra_info["plain / stack, both on one core"] = round(
        medians["plain, 1 thread"] / medians["stack, 1 thread"], 2
    )
    benchmark.extra_info[f"fastest plain / {cores} stacks on {cores} cores"] = round(
        cores * fastest / medians["stack, 1 thread"], 2
    )


def test_study_against_plain_loop(benchmark: BenchmarkFixture, digits: Problem, tmp_path: Path) -> None:
    """The whole command, including start and store, on all cores, against as many plain runs, one at a time."""
    runs, epochs = 41, 12
    task = load_task("digits")
    problem = prepare(task, task.recipe.set({"epochs": str(epochs)}), choose_device("cpu"))
    command = [sys.executable, "-m", "nondet", "run", "digits", f"--runs={runs - 3}", "--vary=all"]

    def study() -> None:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        subprocess.run([*command, f"--set=epochs={epochs}", f"--study={folder}"], check=True, capture_output=True)

    begin = time.perf_counter()
    for number in range(1, 5):
        plain_loop(problem, number)
    plain = (time.perf_counter() - begin) / 4
    benchmark.pedantic(study, rounds=2)
    folder = next(iter(tmp_path.iterdir()))
    trained = len(list((folder / "runs").glob("*.json")))
    each = benchmark.stats.stats.median / trained  # type: ignore[union-attr]
    benchmark.extra_info.update(
        {
            "runs trained": trained,
            "epochs": epochs,
            "s a run, study": round(each, 3),
            "s a run, plain loop": round(plain, 3),
            "plain / study": round(plain / each, 2),
        }
    )


def test_store(benchmark: BenchmarkFixture, digits: Problem, tmp_path: Path) -> None:
    """Writing and hashing a stack's outcomes, and its share of the time that the stack takes to train."""
    outcomes: list[Outcome] = train_stack(digits, [_seeds(digits, n) for n in range(1, digits.task.stack + 1)])
    begin = time.perf_counter()
    train_stack(digits, [_seeds(digits, n) for n in range(1, digits.task.stack + 1)])
    full = (time.perf_counter() - begin) / EPOCHS * load_task("digits").recipe.epochs
    count = 0

    def write() -> None:
        nonlocal count
        count += 1
        store = Store(tmp_path / str(count))
        for number, outcome in enumerate(outcomes):
            store.put(f"{number:064x}", outcome.arrays, {"run": {}, "failed": None, "facts": {}})

    benchmark.pedantic(write, rounds=10, warmup_rounds=1)
    share = benchmark.stats.stats.median / full  # type: ignore[union-attr]
    benchmark.extra_info["share of the stack's training time"] = f"{share:.2%}"
    benchmark.extra_info["bytes of arrays a run"] = sum(a.nbytes for a in outcomes[0].arrays.values())
