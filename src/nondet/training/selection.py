"""Choose the epoch whose weights a run ends with, by its loss on a validation set, and stop it early.

Each run uses only its own loss. The `selection` source sets its validation examples: with the fixed seed, each of them
once; with any other seed, a bootstrap sample of them. So the source shows how much the result depends on which examples
happened to choose the checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nondet.sources import FIXED_SEED, stream
from nondet.training import batches as inputs_of
from nondet.training.examples import TEST_BATCH, placed
from nondet.training.problem import Problem
from nondet.training.stack import Seeds, Stack


def begin(problem: Problem, stack: Stack) -> None:
    """Start with nothing chosen and no run stopped."""
    if problem.val is None:
        return
    start = {"best": torch.inf, "waited": 0.0, "epoch": 0.0, "stopped": 0.0}
    stack.averages |= {f"val.{name}": torch.full((stack.width,), x, dtype=torch.float64) for name, x in start.items()}
    stack.averages |= {f"chosen.{name}": w.detach().clone() for name, w in stack.weights.items()}


@torch.no_grad()
def after_epoch(problem: Problem, stack: Stack, seeds: Sequence[Seeds]) -> None:
    """Check the validation loss of every run that has not stopped, and keep the weights that it would end with."""
    if problem.val is None:
        return
    found, recipe, held = losses(problem, stack, seeds), problem.recipe, stack.averages
    best, waited, epoch, stopped = (held[f"val.{name}"].cpu() for name in ("best", "waited", "epoch", "stopped"))
    going = stopped == 0
    better = going & (found < best)
    best = torch.where(better, found, best)
    waited = torch.where(better, 0, waited + going)
    ends = going & (waited >= recipe.patience) if recipe.patience else torch.zeros_like(going)
    taken = better if recipe.select == "best" else going
    stack.curves["val_loss"][:, stack.epoch - 1] = torch.where(going, found, torch.nan)
    for curve in stack.curves.values():
        curve[~going, stack.epoch - 1] = torch.nan
    for name, w in stack.weights.items():
        kept = held[f"chosen.{name}"]
        kept[taken.to(kept.device)] = w[taken.to(w.device)].detach()
    epoch = torch.where(taken, float(stack.epoch), epoch)
    stopped = torch.where(ends, float(stack.epoch), stopped)
    held |= {"val.best": best, "val.waited": waited, "val.epoch": epoch, "val.stopped": stopped}


def all_stopped(stack: Stack) -> bool:
    """Whether every run has stopped or failed."""
    over = stack.failed > 0
    if "val.stopped" in stack.averages:
        over = over | (stack.averages["val.stopped"].cpu() > 0)
    return bool(over.all())


def finished(problem: Problem, stack: Stack) -> Stack:
    """Return the stack with the weights that its runs end with, and add each run's chosen epoch to its facts."""
    if problem.val is None:
        return stack
    for run, epoch in enumerate(stack.averages["val.epoch"].tolist()):
        stack.facts[run] |= {"selected": int(epoch)}
    return stack.holding({name: stack.averages[f"chosen.{name}"].clone() for name in stack.weights})


def losses(problem: Problem, stack: Stack, seeds: Sequence[Seeds]) -> Tensor:
    """Return every run's mean loss on its validation examples, (R,), on the CPU."""
    inputs: Any
    inputs, labels = problem.val if problem.val is not None else problem.test
    n, objective = len(labels), problem.objective
    drawn = np.stack([_examples(run.get("selection", FIXED_SEED), n) for run in seeds])  # (R, n)

    def forward(call: Any, x: Any, y: Tensor) -> Tensor:
        return objective(call, x, y)[0]

    stack.skeleton.eval()
    total = torch.zeros(stack.width, dtype=torch.float64)
    for start in range(0, n, TEST_BATCH):
        part = drawn[:, start : start + TEST_BATCH]
        x = placed(problem, inputs_of.some(inputs, part.reshape(-1)))
        x = inputs_of.each(lambda t, part=part: t.unflatten(0, part.shape), x)
        loss = stack.map(forward, x, labels[torch.from_numpy(part)], numbers=stack.answer_numbers)
        total += loss.double().cpu() * (part.shape[1] / n)
    return total


def _examples(seed: int, n: int) -> np.ndarray:
    return np.arange(n) if seed == FIXED_SEED else stream("selection", seed).integers(n, size=n)
