"""Test-time augmentation (TTA): which copies of the test images there are, and a model's mean logits over them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from nondet.analysis.remedies.kept import Models, Runs, models
from nondet.tasks.augment import Crop, Flip, padded_images
from nondet.training.examples import TEST_BATCH, placed
from nondet.training.problem import Problem
from nondet.training.settings import kernels
from nondet.training.threads import Threads

PROTOCOL_PADDING = 4
"""CIFAR's padding, from which the protocol takes both 25 crops (every second offset) and 81 (every offset)."""


@dataclass(frozen=True)
class View:
    """One copy of an image: its offset in the padded image, in pixels from the upper left; flipped or not."""

    row: int
    column: int
    flipped: bool = False


def view_sets(problem: Problem) -> dict[str, tuple[View, ...]]:
    """Return the task's kinds of TTA by name, each with its views, including the unchanged image; empty if it has none.

    Images are flipped if training flips them. They are cropped at every offset, padded like training's `Crop`: `crop9`
    for a padding of 1, `crop25` and `crop81` for 4. One-channel images without a `Crop` get crop9. Streamed images get
    the nine crops (corners, edges, middle) of their resized square.
    """
    inputs, middle = problem.test[0], margin(problem)
    if len(inputs.shape) != 4:
        return {}
    every = range(2 * middle + 1)
    grids = [every[::2], every] if middle == PROTOCOL_PADDING else [every]
    if middle and not isinstance(inputs, Tensor):
        grids = [every[::middle]]
    sets = {
        f"crop{len(offsets) ** 2}": tuple(View(row, column) for row in offsets for column in offsets)
        for offsets in grids
        if middle
    }
    if not isinstance(inputs, Tensor) or any(isinstance(a, Flip) for a in problem.task.augment):
        plain = {"flip": (View(middle, middle),), **{f"flip+{name}": views for name, views in sets.items()}}
        flipped = {name: (*views, *(replace(v, flipped=True) for v in views)) for name, views in plain.items()}
        sets = {"flip": flipped["flip"]} | sets | flipped
    return sets


def margin(problem: Problem) -> int:
    """Return the pixels added on each side of a test image by padding; the unchanged image starts there."""
    inputs = problem.test[0]
    if not isinstance(inputs, Tensor):
        spare = inputs.resize - inputs.size
        return 0 if spare % 4 else spare // 2  # otherwise rounding moves the central crop
    crop = _crop(problem)
    return crop.padding if crop else 0


def _crop(problem: Problem) -> Crop | None:
    """Return training's crop; for one-channel images without one, pad by a pixel of the test images' darkest value."""
    for augmentation in problem.task.augment:
        if isinstance(augmentation, Crop):
            return augmentation
    inputs = problem.test[0]
    if isinstance(inputs, Tensor) and inputs.dim() == 4 and inputs.shape[1] == 1:
        return Crop(1, (float(inputs.min()),))
    return None


def padded_batches(problem: Problem) -> Iterator[Tensor]:
    """Yield the test images with their margin, in the batches of evaluation: (m, C, H + 2p, W + 2p), on the device."""
    inputs, crop = problem.test[0], _crop(problem)
    wide = None if isinstance(inputs, Tensor) else replace(inputs, size=inputs.size + 2 * margin(problem))
    for start in range(0, len(inputs), TEST_BATCH):
        stop = min(start + TEST_BATCH, len(inputs))
        if wide is not None:
            yield placed(problem, wide.batch(np.arange(start, stop), None))
        elif isinstance(inputs, Tensor):
            batch = inputs[start:stop]
            yield padded_images(batch, crop.padding, crop.fill) if crop else batch


def seen(padded: Tensor, view: View, margin: int) -> Tensor:
    """Return one view of padded images, as a copy: (m, C, H, W)."""
    height, width = padded.shape[2] - 2 * margin, padded.shape[3] - 2 * margin
    cut = padded[:, :, view.row : view.row + height, view.column : view.column + width]
    return (cut.flip(-1) if view.flipped else cut).clone(memory_format=torch.contiguous_format)


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
