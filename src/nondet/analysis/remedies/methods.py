"""The methods that a study's runs allow, each measured like the single model, with what it costs."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from nondet.analysis.remedies.kept import Runs, keeps_weights, outputs
from nondet.analysis.remedies.reduction import (
    Influences,
    columns,
    influences,
    reduction,
    reduction_uncertainty,
)
from nondet.analysis.remedies.tta import augmented_outputs, view_sets
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


@dataclass(frozen=True, eq=False)
class _Answers:
    """A method's answers `(N, n, c)`, each of one run, or of so many `together`: the costs of one in trainings too."""

    name: str
    logits: np.ndarray
    runs: Runs
    test_cost: int = 1
    together: int = 1

    @property
    def measures(self) -> Measures:
        failed = self.runs.failed if self.together == 1 else 0
        return measured(CLASSIFICATION.figures, Answers(self.logits, self.runs.study.labels), failed)

    @property
    def influences(self) -> Influences:
        """What each answer adds; equal seeds make runs vary together across studies too."""
        seeds = [tuple(sorted(spec.seeds.items())) for spec in self.runs.specs]
        units = seeds if self.together == 1 else range(len(self.logits))
        return influences(self.logits, self.runs.study.labels, units)


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
    sets = view_sets(problem)
    if not sets:
        left_out.append("TTA is left out: training uses no crop or flip that would say which copies to use.")

    def augmented(runs: Runs, title: str, prefix: str) -> Iterator[_Answers]:
        if sets and not keeps_weights(runs):
            left_out.append(
                f"{title} is left out: a study does not keep weights of {WEIGHTS_LIMIT // 2**20} MiB or more per run."
            )
        elif sets:
            found = augmented_outputs(problem, runs, sets, partial(on_progress, title), workers)
            for name, views in sets.items():
                yield _Answers(prefix + name, found[name], runs, len(views) * runs.members)

    def others() -> Iterator[_Answers]:
        yield from augmented(single, f"{SINGLE} + TTA", "TTA ")
        if accelerated is None:
            left_out.append(f"The {ACCELERATED} is left out: it needs training; give the task instead of the study.")
        else:
            yield _Answers(ACCELERATED, outputs(accelerated, ["outputs"])["outputs"], accelerated, accelerated.members)
            yield from augmented(accelerated, f"{ACCELERATED} + TTA", f"{ACCELERATED} + TTA ")
        for kind in AVERAGES:
            if f"{kind}.outputs" in kept:
                yield _Answers(kind.upper(), kept[f"{kind}.outputs"], single)
            else:
                said = f"{kind.upper()} is left out: the study was trained without it (the recipe's field {kind})."
                left_out.append(said)
        for size in ENSEMBLES:
            if (runs := len(kept["outputs"])) < 2 * size:
                left_out.append(
                    f"The ensemble of {size} is left out: two of them need {2 * size} runs, but there are {runs}."
                )
            else:
                yield _Answers(f"ensemble of {size}", grouped(kept["outputs"], size), single, size, size)

    baseline = _Answers(SINGLE, kept["outputs"], single)
    measures, moved = baseline.measures, baseline.influences
    found = [_compared(measures, moved, answers) for answers in others()]
    return [Method(SINGLE, measures, 1, 1, certain(0.0)), *found], left_out


def _compared(single: Measures, of_single: Influences, answers: _Answers) -> Method:
    """Compare a method with the single model, whose runs vary together with answers from the same runs or seeds."""
    size, both = answers.together, (single, answers.measures)
    runs = replace(of_single, units=_groups(len(of_single.units), size)) if size > 1 else of_single
    before, after = (columns(m, unbiased=True) for m in both)
    unbiased = reduction_uncertainty(before, after, runs, answers.influences)
    as_in_table = replace(unbiased, value=reduction(*map(columns, both)))
    return Method(answers.name, both[1], size, answers.test_cost, as_in_table, unbiased.value)


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


def grouped(logits: np.ndarray, size: int) -> np.ndarray:
    """Average the logits (N, n, c) of disjoint groups of `size` successive runs: (N // size, n, c); drop the rest."""
    groups = len(logits) // size
    mean = np.empty((groups, *logits.shape[1:]), dtype=logits.dtype)
    for group in range(groups):
        mean[group] = logits[group * size : (group + 1) * size].mean(axis=0, dtype=np.float64)
    return mean
