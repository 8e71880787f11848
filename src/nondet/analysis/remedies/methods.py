"""The methods that a study's runs allow, each measured like the single model, with what it costs."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nondet.analysis.remedies.kept import Runs, keeps_weights, outputs
from nondet.analysis.remedies.reduction import (
    Influences,
    columns,
    influences,
    reduction,
    reduction_uncertainty,
    unbiased,
)
from nondet.analysis.remedies.tta import augmented_outputs
from nondet.analysis.remedies.views import View, view_sets
from nondet.kinds import CLASSIFICATION
from nondet.measures.answers import Answers
from nondet.measures.measured import Measures, measured
from nondet.stats.estimate import Estimate, certain, interval, number
from nondet.study.spec import WEIGHTS_LIMIT
from nondet.training.problem import Problem

SINGLE = "single model"
ACCELERATED = "accelerated ensemble"
ENSEMBLES = (2, 5)
"""Sizes of plain ensembles."""
AVERAGES = ("ema", "swa")

OnProgress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Method:
    """A method, its measures and its costs.

    training_cost: in trainings of the single model. test_cost: forward passes for each test image.
    reduction: of variability against the single model, in percent; NaN if that does not vary at all.
    unbiased: the same from SDs with ddof = 1, to which its error and interval apply. The table's SDs (ddof = 0) are
    lower the fewer answers there are.
    """

    name: str
    measures: Measures
    training_cost: int
    test_cost: int
    reduction: Estimate
    unbiased: float = math.nan

    def to_dict(self) -> dict[str, Any]:
        found = self.measures.as_condition()
        found["errors"]["reduction"] = number(self.reduction.error)
        found["intervals"]["reduction"] = interval(self.reduction)
        costs = {"training_cost": self.training_cost, "test_cost": self.test_cost}
        return {"name": self.name, **found, **costs, "reduction": number(self.reduction.value)}


@dataclass(frozen=True)
class _Answers:
    """A method's measures, and what each answer adds to them. together: how many runs make one answer."""

    name: str
    measures: Measures
    influences: Influences
    training_cost: int
    test_cost: int
    together: int = 1


def methods(
    single: Runs,
    accelerated: Runs | None,
    problem: Problem,
    on_progress: OnProgress = lambda what, done, total: None,
    workers: int | None = None,
) -> tuple[list[Method], list[str]]:
    """Return every method in the table's order, the single model first; and a sentence for each that is left out.

    problem: the task of both studies, on their device. on_progress: is called with a name, the passes done, and all
    passes. workers: threads that run the models.
    BadInput: see `kept.models`.
    """
    left_out: list[str] = []
    kept = outputs(single, ["outputs", *(f"{kind}.outputs" for kind in AVERAGES)])
    found = [_answers(SINGLE, kept["outputs"], single, 1)]
    sets = view_sets(problem)
    if not sets:
        left_out.append("TTA is left out: training uses no crop or flip that would say which copies to use.")
    found += _augmented(single, f"{SINGLE} + TTA", "TTA ", problem, sets, on_progress, left_out, workers)
    if accelerated is None:
        left_out.append(f"The {ACCELERATED} is left out: it needs training; give the task instead of the study.")
    else:
        logits = outputs(accelerated, ["outputs"])["outputs"]
        found.append(_answers(ACCELERATED, logits, accelerated, accelerated.members))
        title = f"{ACCELERATED} + TTA"
        found += _augmented(accelerated, title, f"{title} ", problem, sets, on_progress, left_out, workers)
    found += _averages(single, kept, left_out) + _ensembles(single, kept["outputs"], left_out)
    return [_compared(found[0], answers) for answers in found], left_out


def _compared(baseline: _Answers, answers: _Answers) -> Method:
    """Compare a method with the single model, whose runs vary together with answers from the same runs or seeds."""
    costs = answers.training_cost, answers.test_cost
    if answers.name == SINGLE:
        return Method(SINGLE, answers.measures, *costs, certain(0.0))
    units = _groups(len(baseline.influences.units), answers.together) if answers.together > 1 else None
    runs = replace(baseline.influences, units=units) if units else baseline.influences
    both = baseline.measures, answers.measures
    before, after = (unbiased(columns(m), m.runs - m.failed) for m in both)
    unbiased_one = reduction_uncertainty(before, after, runs, answers.influences)
    as_in_table = replace(unbiased_one, value=reduction(*map(columns, both)))
    return Method(answers.name, answers.measures, *costs, as_in_table, unbiased_one.value)


def biased(methods: Sequence[Method]) -> list[str]:
    """Say which methods have fewer answers than the single model, and so a reduction that is too large."""
    single = methods[0].measures.sound
    fewer = [m for m in methods[1:] if m.measures.sound < single and not math.isnan(m.unbiased)]
    if not fewer:
        return []
    listed = ", ".join(f"{m.name} {m.unbiased:.1f} % instead of {m.reduction.value:.1f} %" for m in fewer)
    return [
        "A method with fewer answers than the single model gets a reduction a little too large, since SDs in the table "
        f"(ddof = 0) are lower with fewer answers. With ddof = 1, as in the intervals: {listed}."
    ]


def _groups(runs: int, size: int) -> tuple[Hashable, ...]:
    """Return the group of each run when successive runs form groups; leftover runs are on their own."""
    grouped = runs - runs % size
    return tuple(run // size if run < grouped else f"run {run}" for run in range(runs))


def _augmented(
    runs: Runs,
    title: str,
    prefix: str,
    problem: Problem,
    sets: Mapping[str, tuple[View, ...]],
    on_progress: OnProgress,
    left_out: list[str],
    workers: int | None,
) -> list[_Answers]:
    if not sets:
        return []
    if not keeps_weights(runs):
        left_out.append(
            f"{title} is left out: a study does not keep weights of {WEIGHTS_LIMIT // 2**20} MiB or more per run."
        )
        return []
    logits = augmented_outputs(problem, runs, sets, lambda done, total: on_progress(title, done, total), workers)
    return [_answers(prefix + name, logits[name], runs, len(views) * runs.members) for name, views in sets.items()]


def _averages(single: Runs, kept: Mapping[str, np.ndarray], left_out: list[str]) -> list[_Answers]:
    missing = [kind for kind in AVERAGES if f"{kind}.outputs" not in kept]
    for kind in missing:
        left_out.append(f"{kind.upper()} is left out: the study was trained without it (the recipe's field {kind}).")
    return [_answers(kind.upper(), kept[f"{kind}.outputs"], single, 1) for kind in AVERAGES if kind not in missing]


def _ensembles(single: Runs, logits: np.ndarray, left_out: list[str]) -> list[_Answers]:
    labels = single.study.labels
    found: list[_Answers] = []
    for size in ENSEMBLES:
        if len(logits) < 2 * size:
            left_out.append(
                f"The ensemble of {size} is left out: two of them need {2 * size} runs, but there are {len(logits)}."
            )
        else:
            means = grouped(logits, size)
            moved = influences(means, labels, range(len(means)))
            found.append(_Answers(f"ensemble of {size}", _measured(means, labels), moved, size, size, size))
    return found


def grouped(logits: np.ndarray, size: int) -> np.ndarray:
    """Average the logits (N, n, c) of disjoint groups of `size` successive runs: (N // size, n, c); drop the rest."""
    groups = len(logits) // size
    mean = np.empty((groups, *logits.shape[1:]), dtype=logits.dtype)
    for group in range(groups):
        mean[group] = logits[group * size : (group + 1) * size].mean(axis=0, dtype=np.float64)
    return mean


def _answers(name: str, logits: np.ndarray, runs: Runs, test_cost: int) -> _Answers:
    """Take one answer per run, for the cost of one training; equal seeds make runs vary together across studies too."""
    seeds = [tuple(sorted(spec.seeds.items())) for spec in runs.specs]
    measures = _measured(logits, runs.study.labels, runs.failed)
    return _Answers(name, measures, influences(logits, runs.study.labels, seeds), 1, test_cost)


def _measured(logits: np.ndarray, labels: np.ndarray, failed: int = 0) -> Measures:
    return measured(CLASSIFICATION.figures, Answers(logits, labels), failed)
