"""Test-time augmentation of whole stacks: the mean of a model's logits over copies of each test image."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from nondet.analysis.remedies.kept import Runs, stacks
from nondet.analysis.remedies.views import View, margin, padded_batches, seen
from nondet.training.examples import TEST_BATCH, answers
from nondet.training.problem import Problem
from nondet.training.settings import kernels
from nondet.training.stack import Stack


def augmented_outputs(
    problem: Problem,
    runs: Runs,
    sets: Mapping[str, Sequence[View]],
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, np.ndarray]:
    """Every run's mean logits over each set of views, and over its members: name -> (N, n, c), as `outputs` are stored.

    Sets share their views, so all are found in one go, a batch and a view at a time; every result is held, though:
    4 N n c bytes for each set. on_progress gets how many forward passes of a stack are done, and how many there are.
    BadInput: see `stacks`.
    """
    views = {view for views in sets.values() for view in views}
    batches = -(-len(problem.test[1]) // TEST_BATCH)
    total = -(-len(runs.specs) // runs.study.width) * batches * len(views) * runs.members
    done = 0
    found: dict[str, list[Tensor]] = {name: [] for name in sets}

    def on_pass() -> None:
        nonlocal done
        done += 1
        on_progress(done, total)

    with kernels(True, problem.tf32), torch.no_grad():
        for count, members in stacks(problem, runs):
            for name, logits in _of_stack(problem, members, sets, on_pass).items():
                found[name].append(logits[:count])
    return {name: torch.cat(parts).numpy() for name, parts in found.items()}


def _of_stack(
    problem: Problem, members: Sequence[Stack], sets: Mapping[str, Sequence[View]], on_pass: Callable[[], None]
) -> dict[str, Tensor]:
    """name -> (R, n, c), on the CPU; summed in float64, so that the order of the views leaves no trace."""
    users = {view: [name for name in sets if view in sets[name]] for views in sets.values() for view in views}
    edge, dtype = margin(problem), torch.float64 if problem.recipe.precision == "float64" else torch.float32
    parts: dict[str, list[Tensor]] = {name: [] for name in sets}
    for padded in padded_batches(problem):
        sums: dict[str, Tensor] = {}
        for view, names in users.items():
            for member in members:
                logits = answers(member, seen(padded, view, edge)).double()
                for name in names:
                    sums[name] = sums[name] + logits if name in sums else logits
                on_pass()
        for name, total in sums.items():
            parts[name].append((total / (len(sets[name]) * len(members))).to("cpu", dtype))
    return {name: torch.cat(p, dim=1) for name, p in parts.items()}
