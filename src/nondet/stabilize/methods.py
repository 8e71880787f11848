"""The methods that a study's runs allow, each measured as the single model is, with what it costs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from nondet.measures import Measures, measure
from nondet.run import WEIGHTS_LIMIT
from nondet.stabilize.kept import Runs, keeps_weights, outputs
from nondet.stabilize.reduction import columns, reduction
from nondet.stabilize.tta import augmented_outputs
from nondet.stabilize.views import View, view_sets
from nondet.training.problem import Problem

SINGLE = "single model"
ACCELERATED = "accelerated ensemble"
ENSEMBLES = (2, 5)
"""Sizes of plain ensembles."""
AVERAGES = ("ema", "swa")

OnProgress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Method:
    """training_cost: in trainings of the single model. test_cost: forward passes for each test image.
    reduction: of variability against the single model, in percent (NaN if that does not vary at all).
    """

    name: str
    measures: Measures
    training_cost: int
    test_cost: int
    reduction: float

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            **self.measures.as_dict(),
            "training_cost": self.training_cost,
            "test_cost": self.test_cost,
            "reduction": None if math.isnan(self.reduction) else self.reduction,
        }


def methods(
    single: Runs,
    accelerated: Runs | None,
    problem: Problem,
    on_progress: OnProgress = lambda what, done, total: None,
) -> tuple[list[Method], list[str]]:
    """Every method in the table's order, the single model first; and a sentence for each that is left out.

    problem: the task of both studies, on their device. on_progress gets a name, how many passes are done, and of how
    many.
    BadInput: see `kept.stacks`.
    """
    left_out: list[str] = []
    found: list[tuple[str, Measures, int, int]] = []
    kept = outputs(single, ["outputs", *(f"{kind}.outputs" for kind in AVERAGES)])
    found.append((SINGLE, _measured(kept["outputs"], single), 1, 1))
    sets = view_sets(problem)
    if not sets:
        left_out.append("TTA is left out: no crop or flip of training tells which copies fit.")
    found += _augmented(single, f"{SINGLE} + TTA", "TTA ", problem, sets, on_progress, left_out)
    if accelerated is None:
        left_out.append(f"The {ACCELERATED} is left out: it needs training; give the task in place of the study.")
    else:
        measured = _measured(outputs(accelerated, ["outputs"])["outputs"], accelerated)
        found.append((ACCELERATED, measured, 1, accelerated.members))
        title = f"{ACCELERATED} + TTA"
        found += _augmented(accelerated, title, f"{title} ", problem, sets, on_progress, left_out)
    found += _averages(single, kept, left_out) + _ensembles(single, kept["outputs"], left_out)
    baseline = columns(found[0][1])
    return [
        Method(name, measures, training, test, reduction(baseline, columns(measures)) if name != SINGLE else 0.0)
        for name, measures, training, test in found
    ], left_out


def _augmented(
    runs: Runs,
    title: str,
    prefix: str,
    problem: Problem,
    sets: Mapping[str, tuple[View, ...]],
    on_progress: OnProgress,
    left_out: list[str],
) -> list[tuple[str, Measures, int, int]]:
    if not sets:
        return []
    if not keeps_weights(runs):
        left_out.append(
            f"{title} is left out: weights of {WEIGHTS_LIMIT // 2**20} MiB a run or more are not kept by a study."
        )
        return []
    logits = augmented_outputs(problem, runs, sets, lambda done, total: on_progress(title, done, total))
    return [
        (prefix + name, _measured(logits[name], runs), 1, len(views) * runs.members) for name, views in sets.items()
    ]


def _averages(
    single: Runs, kept: Mapping[str, np.ndarray], left_out: list[str]
) -> list[tuple[str, Measures, int, int]]:
    missing = [kind for kind in AVERAGES if f"{kind}.outputs" not in kept]
    for kind in missing:
        left_out.append(f"{kind.upper()} is left out: the study was trained without it (--set {kind}=...).")
    return [
        (kind.upper(), _measured(kept[f"{kind}.outputs"], single), 1, 1) for kind in AVERAGES if kind not in missing
    ]


def _ensembles(single: Runs, logits: np.ndarray, left_out: list[str]) -> list[tuple[str, Measures, int, int]]:
    found: list[tuple[str, Measures, int, int]] = []
    for size in ENSEMBLES:
        if len(logits) < 2 * size:
            left_out.append(
                f"The ensemble of {size} is left out: two of them need {2 * size} runs, and there are {len(logits)}."
            )
        else:
            found.append((f"ensemble of {size}", measure(grouped(logits, size), single.study.labels), size, size))
    return found


def grouped(logits: np.ndarray, size: int) -> np.ndarray:
    """Mean logits of disjoint groups of `size` successive runs (N, n, c): (N // size, n, c); the rest is left out."""
    groups = len(logits) // size
    mean = np.empty((groups, *logits.shape[1:]), dtype=logits.dtype)
    for group in range(groups):
        mean[group] = logits[group * size : (group + 1) * size].mean(axis=0, dtype=np.float64)
    return mean


def _measured(logits: np.ndarray, runs: Runs) -> Measures:
    return measure(logits, runs.study.labels, runs.failed)
