"""Which test examples of a condition flip, and how few of them cause most of its disagreement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from nondet.analysis.runs import Runs
from nondet.errors import BadInput
from nondet.kinds import Kind
from nondet.measures.examples import (
    ClassChurn,
    Unanimity,
    carried,
    churn_by_class,
    disagreement_by_example,
    minority_share,
    most_unstable,
    predictive_entropy,
    unanimity,
    vote_entropy,
)
from nondet.measures.language import sample_tokens
from nondet.records import Record, finding, picked
from nondet.stats.estimate import number
from nondet.stats.intervals import student

SHARES = (1, 10)
"""Percentages of the examples whose part in all disagreement is reported."""


@dataclass(frozen=True)
class Example:
    """A test example and the runs' answers to it.

    votes: predicted class -> runs, most runs first, then in the order of the classes. disagreement, minority: percent.
    between, within: entropy of the votes, and mean entropy of the runs' predicted distributions, in nats; within is
        None for a token whose logits were not kept, and if only predicted classes are known.
    """

    index: int
    label: int
    votes: Mapping[int, int]
    disagreement: float
    minority: float
    between: float
    within: float | None


@dataclass(frozen=True, repr=False)
class Unstable(Record):
    """What `nondet examples` shows.

    disagreement: of two runs, in percent. carried: the share of all disagreement, in percent, that is due to the most
    unstable 1 and 10 % of the examples. classes: churn of each true class. top: the most unstable examples.
    sentence: what the report says about it.
    """

    task: str
    kind: Kind
    condition: str
    runs: int
    failed: int
    examples: int
    disagreement: float
    unanimous: Unanimity
    carried: Mapping[int, float | None]
    classes: tuple[ClassChurn, ...]
    top: tuple[Example, ...]
    sentence: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The JSON of `nondet examples --json`."""
        return {
            **picked(self, "task condition runs failed examples disagreement"),
            "unanimous": vars(self.unanimous),
            "carried": {str(share): value for share, value in self.carried.items()},
            "classes": [
                {
                    "class": c.label,
                    "examples": c.examples,
                    "churn": c.churn,
                    "error": number(c.error),
                    "interval": self.interval(c),
                }
                for c in self.classes
            ],
            "top": [
                {
                    **picked(e, "index label disagreement minority"),
                    "entropy": {"between": e.between, "within": e.within},
                    "votes": [{"class": k, "runs": runs} for k, runs in e.votes.items()],
                }
                for e in self.top
            ],
            "sentence": self.sentence,
            **finding(self),
        }

    def tidy(self) -> dict[str, list[Any]]:
        """A row for each of the most unstable examples."""
        names = ("index", "label", "disagreement", "minority", "between", "within")
        return {name: [getattr(e, name) for e in self.top] for name in names}

    def interval(self, c: ClassChurn) -> list[float] | None:
        """Return the 95 % interval of a class's churn, with Student's t at N - 1.

        None if the churn stays the same whichever run is left out, as when none flips: its error is then unknown.
        """
        if not c.error > 0:
            return None
        reach = student(self.runs - 1) * c.error
        return [max(0.0, c.churn - reach), min(100.0, c.churn + reach)]


def unstable(runs: Runs, task: str, top: int = 20) -> Unstable:
    """Find the test examples on which some runs disagree most. task: its name. top: how many examples."""
    name = getattr(runs.condition, "name", runs.name)
    if len(runs) < 2:
        raise BadInput(
            f"runs must be at least 2 to disagree (got {len(runs)} of {name} that are finished and did not fail); "
            "go on with the study"
        )
    if runs.made and len({made.digest for made in runs.made}) < 2:
        raise BadInput(
            f"runs must be at least 2 that differ (all {len(runs)} of {name} have equal outputs, and count as one "
            "run); choose another condition, or train one with a source that matters"
        )
    if not hasattr(runs.answers, "predicted"):
        raise BadInput(
            f"examples that flip need predicted classes (got runs of a {runs.kind.what}); give logits, predicted "
            "classes, or a study that has them"
        )
    predicted, labels = runs.answers.predicted, runs.labels
    sampled = runs.kind.sampled
    logits = runs.arrays[sampled[0]] if sampled else runs.outputs
    places = sample_tokens(len(labels)) if sampled else np.arange(len(labels))
    by_example = disagreement_by_example(predicted)
    worst = most_unstable(by_example, top)
    alone = bool(runs.answers.classes_alone)  # then there is no distribution to take the entropy of
    row_of = {} if alone else {place: row for row, place in enumerate(places.tolist())}
    known = [row_of[index] for index in worst.tolist() if index in row_of]
    entropies = iter(predictive_entropy(logits[:, known]).tolist() if known else [])
    within = [next(entropies) if index in row_of else None for index in worst.tolist()]
    chosen = predicted[:, worst]
    measured = by_example[worst], minority_share(chosen), vote_entropy(chosen)
    rows = zip(worst.tolist(), chosen.T, *(each.tolist() for each in measured), within, strict=True)
    return Unstable(
        task=task,
        kind=runs.kind,
        condition=name,
        runs=len(runs),
        failed=len(runs.failed),
        examples=predicted.shape[1],
        disagreement=float(by_example.mean()),
        unanimous=unanimity(predicted, labels),
        carried={share: number(carried(by_example, share)) for share in SHARES},
        classes=churn_by_class(predicted, labels),
        top=tuple(
            Example(index, int(labels[index]), _votes(column), apart, minority, between, inner)
            for index, column, apart, minority, between, inner in rows
        ),
    )


def _votes(column: np.ndarray) -> dict[int, int]:
    classes, runs = np.unique(column, return_counts=True)
    order = np.argsort(-runs, kind="stable")
    return dict(zip(classes[order].tolist(), runs[order].tolist(), strict=True))
