"""The effects of a study's sources, read from its runs: for each metric one number per run of each condition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nondet.analysis.reach import outputs_digest
from nondet.analysis.runs import is_text, read_run, sound_runs
from nondet.measures import (
    accuracy,
    correlation_by_run,
    cross_entropy,
    disagreement_by_run,
    ensemble_accuracy_delta_by_run,
    ensemble_cross_entropy_delta_by_run,
    predictions,
)
from nondet.measures.language import perplexity, sample_tokens, token_cross_entropy
from nondet.stats.equivalence import MIN_RUNS, Metric
from nondet.stats.values import LARGEST_VALUE, Floats
from nondet.study.design import Condition
from nondet.study.record import Study
from nondet.study.store import Stored

SPREADS = ("accuracy.sd", "perplexity.sd", "cross_entropy.sd")


@dataclass(frozen=True)
class Effects:
    """The effects of the conditions that start to vary at the same epoch.

    runs: how many runs of each condition are compared. metrics: each of the conditions for which it is a number.
    """

    onset: int
    runs: Mapping[str, int]
    metrics: tuple[Metric, ...]


def read_effects(study: Study) -> tuple[list[Effects], dict[str, str]]:
    """The effects by onset, in the order of the study; and the conditions that were left out, with the reason.

    A run counts in one condition only: the reference run, which all share, in none, and any other that several share
    in the first of them. A condition whose runs all equal the reference run has no effect to compare.
    """
    reference = next(iter(study.specs().values()), None)
    seen = {reference.key} if reference else set[str]()
    present = study.store.keys()
    digest = outputs_digest(read_run(study, reference)) if reference and reference.key in present else b""
    by_onset: dict[int, dict[str, dict[str, Floats]]] = {}
    left_out: dict[str, str] = {}
    for condition in study.conditions:
        runs = _own_runs(study, condition, seen)
        if len(runs) < MIN_RUNS:
            left_out[condition.name] = (
                f"{len(runs)} sound runs of its own besides the reference run, and it takes {MIN_RUNS}"
            )
        elif all(outputs_digest(run) == digest for run in runs):
            left_out[condition.name] = "all its runs equal the reference run to the last bit, which is no effect"
        else:
            by_onset.setdefault(condition.onset, {})[condition.name] = _by_run(study, runs)
    for onset, named in list(by_onset.items()):
        if len(named) == 1:
            del by_onset[onset]
            left_out[next(iter(named))] = f"no other condition that varies from epoch {onset} on has enough runs"
    return [_effects(onset, named) for onset, named in by_onset.items()], left_out


def _own_runs(study: Study, condition: Condition, seen: set[str]) -> list[Stored]:
    """The condition's sound runs but for those in `seen`, to which they are added."""
    sound, _ = sound_runs(study, condition)
    keys = [spec.key for spec in condition.specs(study.identity, study.sources)]
    own = {keys[number - 1]: run for number, run in sound.items() if keys[number - 1] not in seen}
    seen.update(own)
    return list(own.values())


def _by_run(study: Study, runs: Sequence[Stored]) -> dict[str, Floats]:
    """Each metric's numbers `(N,)`, larger where the effect is larger."""

    def stacked(name: str) -> np.ndarray:
        return np.stack([run.arrays[name] for run in runs])  # (N, ...)

    if is_text(study):
        losses = token_cross_entropy(stacked("logprob"))
        logits, labels = stacked("sample.logits"), study.labels[sample_tokens(len(study.labels))]
        first = {"perplexity.sd": perplexity(losses), "cross_entropy.sd": losses}
        chosen, gains = stacked("prediction"), dict[str, Floats]()
    else:
        logits, labels = stacked("outputs"), study.labels
        first = {"accuracy.sd": accuracy(logits, labels), "cross_entropy.sd": cross_entropy(logits, labels)}
        chosen = predictions(logits)
        gains = {"ensemble_delta.accuracy": ensemble_accuracy_delta_by_run(logits, labels)}
    return {
        **first,
        "disagreement": disagreement_by_run(chosen),
        "correlation.pearson": 1.0 - correlation_by_run(logits),
        **gains,
        "ensemble_delta.cross_entropy": -ensemble_cross_entropy_delta_by_run(logits, labels),
    }


def _effects(onset: int, named: Mapping[str, Mapping[str, Floats]]) -> Effects:
    names = list(next(iter(named.values())))
    metrics = [
        Metric(
            name,
            name in SPREADS,
            {condition: rows[name] for condition, rows in named.items() if (np.abs(rows[name]) <= LARGEST_VALUE).all()},
        )
        for name in names
    ]
    runs = {condition: len(rows[names[0]]) for condition, rows in named.items()}
    return Effects(onset, runs, tuple(m for m in metrics if len(m.by_run) > 1))
