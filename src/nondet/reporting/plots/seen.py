"""What the figures of a study need of each run: read once, and kept without the run's large arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nondet.analysis.results import Results
from nondet.analysis.runs import is_text
from nondet.measures.language import perplexity
from nondet.stats.values import Floats
from nondet.study.record import Study
from nondet.study.store import Stored


@dataclass(frozen=True)
class Seen:
    """A run that did not fail.

    performance: test accuracy in percent, or a language model's perplexity.
    predicted: its answers on the test set, (n,).
    loss, accuracy: of each epoch on the training set, (epochs,), in nats and percent.
    """

    performance: float
    predicted: NDArray[np.int32]
    loss: Floats
    accuracy: Floats


Runs = Mapping[str, Seen]
"""The finished runs of a study that did not fail, by key."""


def look_at(study: Study) -> Runs:
    """Every such run of the conditions; they are read one at a time, so that memory holds one run's arrays."""
    present = study.store.keys()
    read = ((key, study.store.get(key)) for key in study.specs() if key in present)
    return {key: _seen(study, run) for key, run in read if run.record["failed"] is None}


def keys_by_design(results: Results, runs: Runs) -> dict[str, list[str]]:
    """The keys of these runs, in order, by condition that is not dead; a crossed design stands last, as `crossed`."""
    study = results.study
    designs = {c.condition.name: c.condition for c in results.conditions if not c.dead}
    designs |= {"crossed": study.crossed} if study.crossed else {}
    return {
        name: [spec.key for spec in design.specs(study.identity, study.sources) if spec.key in runs]
        for name, design in designs.items()
    }


def by_design(results: Results, runs: Runs) -> dict[str, list[Seen]]:
    """These runs, in order, by condition that is not dead or design."""
    return {name: [runs[key] for key in keys] for name, keys in keys_by_design(results, runs).items()}


def _seen(study: Study, run: Stored) -> Seen:
    arrays = run.arrays
    if is_text(study):
        performance = float(perplexity(-arrays["logprob"].mean(dtype=np.float64)))
        predicted = arrays["prediction"]
    else:
        predicted = arrays["outputs"].argmax(axis=-1)
        performance = 100.0 * float((predicted == study.labels).mean())
    return Seen(
        performance=performance,
        predicted=predicted.astype(np.int32),
        loss=arrays["curves.loss"].astype(np.float64),
        accuracy=arrays["curves.accuracy"].astype(np.float64),
    )
