"""Test-time augmentation of few runs of a wide stack, against whole stacks: python benchmarks/tta.py [--examples 512].

It has four small CNNs from stacks of eight, as `nondet stabilize mnist --runs 4` has them, on made-up images. The plain
way to compare with is stacks of eight as in training, filled up with copies, in one thread. Both take turns, and must
give equal bits.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from nondet import Crop, Recipe, Task
from nondet.analysis.remedies.kept import Runs, sound_runs
from nondet.analysis.remedies.tta import augmented_outputs, margin, padded_batches, seen, view_sets
from nondet.io.cores import available_cores
from nondet.models import build
from nondet.runners.stack import StackRunner
from nondet.running.scheduler import make_missing
from nondet.sources import FIXED_SEED
from nondet.study.design import conditions
from nondet.study.provenance import environment_of_machine, set_up_process
from nondet.study.record import finish, open_study
from nondet.training.examples import evaluate, logits
from nondet.training.new_stack import new_stack
from nondet.training.prepare import prepare
from nondet.training.problem import Problem
from nondet.training.settings import kernels

HEADING = """
## Test-time augmentation

`python benchmarks/tta.py --runs {runs} --stack {stack} --examples {examples} --rounds {rounds}`:
the check of the stored outputs and nine crops of {examples} images of 28 x 28 pixels, for {runs} runs of `mnist-cnn`
that were trained in stacks of {stack}. In turns, the same with whole stacks in one thread; both give equal bits. The
numbers are medians of {rounds} rounds, and the ratio is the median of the rounds' ratios.

{processor} ({instructions}), {cores} cores, torch {torch}.

| runs x stack x images | whole stacks (s) | `stabilize` (s) | ratio |
|---|---:|---:|---:|"""


def trained(folder: Path, runs: int, stack: int, examples: int) -> tuple[Problem, Runs]:
    """A finished study of runs that have learnt next to nothing, which take as long to evaluate as any."""
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.standard_normal((64 + examples, 1, 28, 28), dtype=np.float32))
    labels = torch.from_numpy(rng.integers(10, size=64 + examples))
    task = Task(
        name="made-up",
        model=lambda: build("mnist-cnn", inputs=1, size=28, classes=10),
        train=(images[:64], labels[:64]),
        test=(images[64:], labels[64:]),
        recipe=Recipe(epochs=1, batch_size=64, lr=0.05),
        augment=(Crop(1),),
    )
    problem = prepare(task, task.recipe, torch.device("cpu"))
    runner = StackRunner(problem, {})
    wanted = conditions(["all"], problem.sources, runs)
    study = open_study(folder, runner, runner.environment(stack), wanted, ["nondet", "run", "made-up"])
    make_missing(study, runner)
    finish(study)
    return problem, sound_runs(study)


def whole_stacks(problem: Problem, runs: Runs) -> np.ndarray:
    """Every run's mean logits over the nine crops (N, n, c)."""
    width, edge = runs.study.width, margin(problem)
    base = new_stack(problem, [dict.fromkeys(problem.sources, FIXED_SEED)] * width)
    arrays = [runs.study.store.get(spec.key).arrays for spec in runs.specs]
    found: list[torch.Tensor] = []
    with kernels(), torch.no_grad():
        for start in range(0, len(arrays), width):
            some = arrays[start : start + width]
            filled = [*some, *[some[0]] * (width - len(some))]
            weights = {
                name: torch.stack([torch.from_numpy(run[f"weights.{name}"]) for run in filled]) for name in base.weights
            }
            stack = base.holding(weights)
            evaluate(problem, stack)
            batches: list[torch.Tensor] = []
            for x in padded_batches(problem):
                views = [logits(stack, seen(x, view, edge)).double() for view in view_sets(problem)["crop9"]]
                batches.append((sum(views[1:], views[0]) / len(views)).float())
            found.append(torch.cat(batches, dim=1)[: len(some)])
    return torch.cat(found).numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=4)
    parser.add_argument("--stack", type=int, default=8)
    parser.add_argument("--examples", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    set_up_process()
    times: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        problem, runs = trained(Path(folder) / "study", given.runs, given.stack, given.examples)
        for _ in range(given.rounds):
            begin = time.perf_counter()
            plain = whole_stacks(problem, runs)
            middle = time.perf_counter()
            found = augmented_outputs(problem, runs, view_sets(problem))["crop9"]
            times.append((middle - begin, time.perf_counter() - middle))
            assert found.tobytes() == plain.tobytes()
    before, after = (statistics.median(column) for column in zip(*times, strict=True))
    ratio = statistics.median(one / other for one, other in times)
    print(HEADING.format(**vars(given), cores=available_cores(), **environment_of_machine()))
    print(f"| {given.runs} x {given.stack} x {given.examples:,} | {before:.1f} | {after:.1f} | {ratio:.1f} |")


if __name__ == "__main__":
    main()
