"""The passes over all outputs, on the device where these are; their results for each run go through the usual code.

Each uses the formula of the numpy function that it names, with float64 sums, so both agree except in the last digits. A
part has at most TILE numbers, so memory is bounded; only ranks are kept as a whole, in 4 bytes each.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from nondet.measures.answers import Answers
from nondet.measures.arrays import LARGEST, check_finite, check_form, checked_numbers
from nondet.measures.diversity import Kind
from nondet.measures.ensemble import groups_of
from nondet.stats.values import Floats, Integers, as_array

TILE = 2**24
TINY = 1e-290  # an overlap below this has lost digits
BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


class DeviceAnswers(Answers):
    """`Answers` whose logits `(N, n, c)` are a tensor, and stay on its device."""

    def __init__(self, outputs: Tensor, labels: ArrayLike, groups: Integers | None = None) -> None:
        self.groups: Integers | None = groups
        self.logits, self.classes_alone = outputs.detach(), False
        check_form(tuple(self.logits.shape), as_array(self.logits[:0], "outputs").dtype)
        self.runs, self.examples, self.classes = self.logits.shape
        for place, run in enumerate(self.logits):
            if not bool((run.double().abs() <= LARGEST).all()):
                check_finite(self.run(place), place)
        self.labels = checked_numbers(labels, self.examples, self.classes)
        self.truth = torch.from_numpy(self.labels).to(self.logits.device)

    @cached_property
    def outputs(self) -> NDArray[Any]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """A copy of all outputs; no measure needs it."""
        return as_array(self.logits, "outputs")

    def run(self, place: int) -> NDArray[Any]:
        return as_array(self.logits[place], "outputs")

    def only(self, places: Sequence[int]) -> Answers:
        return DeviceAnswers(self.logits[list(places)], self.labels, self.groups)

    @property
    def marks(self) -> NDArray[Any]:
        """The sum of each run's bits, read as whole numbers; equal for equal runs, in whatever order it is summed."""
        plain = (run + torch.zeros((), dtype=run.dtype, device=run.device) for run in self.logits)  # -0 is 0
        return np.array([int(run.contiguous().view(BITS[run.element_size()]).sum(dtype=torch.int64)) for run in plain])

    @cached_property
    def equal(self) -> bool:
        return all(torch.equal(self.logits[0], run) for run in self.logits[1:])

    @property
    def loss_table(self) -> Floats:
        return torch.cat([_losses(z, self.truth[part])[1] for part, z in self._tiles()], dim=1).cpu().numpy()

    @cached_property
    def _read(self) -> tuple[Integers, Floats]:
        """`chosen_and_losses`."""
        chosen, losses = zip(*(_losses(z, self.truth[part]) for part, z in self._tiles()), strict=True)
        total = torch.stack([part.sum(dim=1) for part in losses]).sum(dim=0)
        return torch.cat(chosen, dim=1).cpu().numpy(), (total / self.examples).cpu().numpy()

    def _tiles(self, numbers: Tensor | None = None) -> Iterator[tuple[slice, Tensor]]:
        """`tiles`: yield some examples, and their logits `(N, t, c)`, or other numbers, in float64."""
        step = max(1, TILE // (self.runs * self.classes))
        for start in range(0, self.examples, step):
            part = slice(start, start + step)
            yield part, (self.logits if numbers is None else numbers)[:, part].double()

    def _correlations(self, kind: Kind) -> tuple[Floats, Floats]:
        """`correlations`."""
        scales = torch.stack([_scale(run) for run in self.logits])  # (N, 3)
        few = len(self.some)
        if bool(scales.isnan().any()):
            return np.full(self.runs, math.nan), np.full((few, few), math.nan)
        numbers = None
        if kind == "spearman":
            numbers = torch.stack([_ranks(run) for run in self.logits])
            values = self.examples * self.classes
            length = math.sqrt(values * (values**2 - 1) / 12)
            scales = scales.new_tensor([[0.0, length, (values - 1) / 2 / length]]).expand(self.runs, 3)
        zero, size, mean = scales.T[:, :, None]
        some = torch.from_numpy(self.some).to(self.logits.device)
        square, product = scales.new_zeros(self.runs), scales.new_zeros(few, few)
        for _, tile in self._tiles(numbers):
            z = (tile.flatten(1) - zero) / size - mean
            z = z - z[:1]
            z -= z.mean(dim=0)
            square += z.square().sum(dim=1)
            product += z[some] @ z[some].T
        by_run = 1.0 - (self.runs * square + square.sum()) / (2 * (self.runs - 1))
        own = product.diagonal()
        matrix = 1.0 - (own + own[:, None] - 2 * product) / 2
        return by_run.clamp(-1.0, 1.0).cpu().numpy(), matrix.clamp(-1.0, 1.0).cpu().numpy()

    @cached_property
    def gains(self) -> dict[str, Floats]:
        """`gains_by_run`."""
        predicted = torch.from_numpy(self.predicted).to(self.logits.device)
        accuracy, entropy = np.empty(self.runs), np.empty(self.runs)
        for group in groups_of(self.runs):
            runs = torch.from_numpy(group).to(self.logits.device)
            gains = torch.zeros(len(runs), dtype=torch.float64, device=runs.device)
            overlaps, step = torch.zeros_like(gains), max(1, TILE // (len(runs) * max(len(runs), self.classes)))
            for start in range(0, self.examples, step):
                part = slice(start, start + step)
                tile, chosen = self.logits[:, part][runs].double(), predicted[:, part][runs]
                gains += _accuracy_gains(tile, self.truth[part], chosen)
                overlaps += _log_overlaps(tile)
            pairs = (len(runs) - 1) * self.examples
            accuracy[group] = 100.0 * (gains / pairs).cpu().numpy()
            entropy[group] = np.minimum(0.0, (overlaps / pairs).cpu().numpy())
        return {"accuracy": accuracy, "cross_entropy": entropy}


def _losses(tile: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """`losses_of`: return predicted classes and cross-entropies `(N, t)`."""
    chosen = tile.argmax(dim=-1)  # the first of several
    below = tile - tile.gather(-1, chosen[..., None])
    label = below.gather(-1, truth[None, :, None].expand(len(tile), -1, 1))[..., 0]
    return chosen, below.exp().sum(dim=-1).log() - label


def _scale(run: Tensor) -> Tensor:
    row = run.double().flatten()
    shifted = row - row[0]
    size = shifted.abs().max()
    shifted = shifted / size  # NaN if all are equal
    mean = shifted.mean()
    length = (shifted - mean).square().sum().sqrt()
    return torch.stack([row[0], size * length, mean / length])


def _ranks(run: Tensor) -> Tensor:
    """`ranks`, `(n, c)`: equal values rank in the order in which they appear."""
    row = run.flatten() + torch.zeros((), dtype=run.dtype, device=run.device)  # -0 is 0
    order = row.argsort(stable=True)
    places = torch.empty(len(row), dtype=torch.int32 if len(row) < 2**31 else torch.int64, device=run.device)
    places[order] = torch.arange(len(row), dtype=places.dtype, device=run.device)
    return places.view(run.shape)


def _accuracy_gains(tile: Tensor, truth: Tensor, chosen: Tensor) -> Tensor:
    """`accuracy_gains`: a pair predicts the class of both members, or if they differ, the largest sum of logits."""
    right = chosen == truth  # (N, t)
    alone = right.sum(dim=1)
    together = torch.stack(
        [
            torch.where(own == chosen, right, (logits + tile).argmax(dim=-1) == truth).sum() - right_alone
            for logits, own, right_alone in zip(tile, chosen, alone, strict=True)
        ]
    )
    return (2 * together - (len(tile) - 2) * alone - alone.sum()) / 2


def _log_overlaps(tile: Tensor) -> Tensor:
    """`log_overlaps`, by one matrix product for each example."""
    halves = (tile - tile.amax(dim=-1, keepdim=True)) / 2
    halves -= (2 * halves).logsumexp(dim=-1, keepdim=True) / 2
    unit = halves.exp().transpose(0, 1)  # (t, N, c)
    overlaps = unit @ unit.transpose(1, 2)  # (t, N, N)
    logs = overlaps.log()
    for at in (overlaps < TINY).nonzero().split(max(1, TILE // tile.shape[-1])):
        example, one, other = at.T
        logs[example, one, other] = (halves[one, example] + halves[other, example]).logsumexp(dim=-1)
    logs.diagonal(dim1=1, dim2=2).zero_()
    return logs.sum(dim=(0, 2))
