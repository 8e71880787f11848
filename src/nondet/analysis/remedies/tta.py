"""Test-time augmentation: the mean of a model's logits over copies of each test image."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from nondet.analysis.remedies.kept import Models, Runs, models
from nondet.analysis.remedies.views import View, margin, padded_batches, seen
from nondet.training.examples import TEST_BATCH
from nondet.training.problem import Problem
from nondet.training.settings import kernels
from nondet.training.threads import Threads


def augmented_outputs(
    problem: Problem,
    runs: Runs,
    sets: Mapping[str, Sequence[View]],
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    workers: int | None = None,
) -> dict[str, np.ndarray]:
    """Return each run's mean logits over each set of views and its members: name -> (N, n, c), like stored `outputs`.

    Sets share views, so all are computed together, one batch and one view at a time. All results stay in memory,
    4 N n c bytes for each set. on_progress: is called with the number of a stack's forward passes done, and of all.
    workers: threads that work at the same time; on a CPU, one for each core if left out.
    BadInput: see `models`.
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
        for asked, threads in models(problem, runs, workers):
            for name, logits in _augmented(problem, asked, threads, sets, on_pass).items():
                found[name].append(logits)
    return {name: torch.cat(parts).numpy()[: len(runs.specs)] for name, parts in found.items()}


def _augmented(
    problem: Problem, asked: Models, threads: Threads, sets: Mapping[str, Sequence[View]], on_pass: Callable[[], None]
) -> dict[str, Tensor]:
    """Return name -> (R, n, c), on the CPU; summed in float64, so that the order of the views leaves no trace.

    The answers to the unchanged image are known already: it is one of the views, to the last bit.
    """
    users = {view: [name for name in sets if view in sets[name]] for views in sets.values() for view in views}
    edge, dtype = margin(problem), torch.float64 if problem.recipe.precision == "float64" else torch.float32
    unchanged, members = View(edge, edge), len(asked.shares)
    parts: dict[str, list[Tensor]] = {name: [] for name in sets}
    for start, padded in zip(range(0, len(problem.test[1]), TEST_BATCH), padded_batches(problem), strict=True):
        rest = [view for view in users if view != unchanged]
        answers = threads.answers(
            [(share, partial(seen, padded, view, edge)) for view in rest for member in asked.shares for share in member]
        )
        sums: dict[str, Tensor] = {}
        for view, names in users.items():
            for member in range(members):
                if view == unchanged:
                    logits = asked.plain[member][:, start : start + TEST_BATCH].to(problem.device, torch.float64)
                else:
                    logits = torch.cat([next(answers) for _ in asked.shares[member]]).double()
                for name in names:
                    sums[name] = sums[name] + logits if name in sums else logits
                on_pass()
        for name, total in sums.items():
            parts[name].append((total / (len(sets[name]) * members)).to("cpu", dtype))
    return {name: torch.cat(p, dim=1) for name, p in parts.items()}
