"""The test examples of a condition that flip most: as a record, as tables, and in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from nondet.analysis.reach import outputs_digest
from nondet.analysis.runs import is_text, sound_runs
from nondet.errors import BadInput
from nondet.measures import predictions
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
from nondet.study.design import Condition
from nondet.study.record import Study

CLASSES_SHOWN = 10
VOTES_SHOWN = 6
HEAD = ("example", "label", "disagree (%)", "minority (%)", "entropy between", "within", "votes")
HEAD_CLASSES = ("class", "examples", "churn (%)", "95 % interval")


@dataclass(frozen=True)
class Example:
    """A test example and what the runs make of it.

    votes: predicted class -> runs, most runs first, then in the order of the classes. disagreement, minority: percent.
    between, within: entropy of the votes, and mean entropy of the runs' predicted distributions, in nats; within is
        None for a token whose logits were not kept.
    """

    index: int
    label: int
    votes: Mapping[int, int]
    disagreement: float
    minority: float
    between: float
    within: float | None


@dataclass(frozen=True)
class Unstable:
    """What `nondet examples` shows of a condition."""

    study: Study
    condition: str
    runs: int
    failed: int
    examples: int
    disagreement: float
    unanimous: Unanimity
    carried: Mapping[int, float | None]
    classes: tuple[ClassChurn, ...]
    top: tuple[Example, ...]

    @property
    def word(self) -> str:
        return "token" if is_text(self.study) else "example"


def chosen_condition(study: Study, name: str) -> Condition:
    """The study's condition of this name; without a name `all`, or the only one.

    Raises:
        BadInput: there is no such condition, or a name is needed.
    """
    names = [c.name for c in study.conditions]
    if not names:
        raise BadInput(
            f"{study.folder} must have a condition whose runs are shown (got none); add --vary to `nondet run`"
        )
    wanted = name or ("all" if "all" in names else names[0] if len(names) == 1 else "")
    if wanted in names:
        return study.conditions[names.index(wanted)]
    said = f"has no condition {name!r}" if name else "has several conditions, and none is called all"
    raise BadInput(f"{study.folder} {said}; choose one of {', '.join(names)}, as {study.folder}:{names[0]}")


def read_unstable(study: Study, condition: Condition, top: int) -> Unstable:
    """Read a condition's runs and take the measures of its test examples.

    Raises:
        BadInput: fewer than two runs that did not fail and differ, or `top` is below 1.
    """
    sound, failures = sound_runs(study, condition)
    if len(sound) < 2:
        raise BadInput(
            f"runs must be at least 2 to disagree (got {len(sound)} of {condition.name} that are finished and did not "
            f"fail); go on with: {study.command_line}"
        )
    if len({outputs_digest(run) for run in sound.values()}) < 2:
        raise BadInput(
            f"runs must be at least 2 that differ (all {len(sound)} of {condition.name} have equal outputs, and count "
            "as one run); choose another condition, or train one with a source that matters"
        )
    text = is_text(study)
    logits = np.stack([run.arrays["sample.logits" if text else "outputs"] for run in sound.values()])
    predicted = np.stack([run.arrays["prediction"] for run in sound.values()]) if text else predictions(logits)
    places = sample_tokens(len(study.labels)) if text else range(len(study.labels))
    by_example = disagreement_by_example(predicted)
    worst = most_unstable(by_example, top)
    within = {place: row for row, place in enumerate(np.asarray(places).tolist())}
    chosen = predicted[:, worst]
    rows = [within[index] for index in worst.tolist() if index in within]
    entropies = iter(predictive_entropy(logits[:, rows]).tolist() if rows else [])
    return Unstable(
        study=study,
        condition=condition.name,
        runs=len(sound),
        failed=len(failures),
        examples=predicted.shape[1],
        disagreement=float(by_example.mean()),
        unanimous=unanimity(predicted, study.labels),
        carried={share: _number(carried(by_example, share)) for share in (1, 10)},
        classes=churn_by_class(predicted, study.labels),
        top=tuple(
            Example(
                index=index,
                label=int(study.labels[index]),
                votes=_votes(column),
                disagreement=disagreement,
                minority=minority,
                between=between,
                within=next(entropies) if index in within else None,
            )
            for index, column, disagreement, minority, between in zip(
                worst.tolist(),
                chosen.T,
                by_example[worst].tolist(),
                minority_share(chosen).tolist(),
                vote_entropy(chosen).tolist(),
                strict=True,
            )
        ),
    )


def as_json(found: Unstable) -> dict[str, Any]:
    """The JSON of `nondet examples --json`."""
    return {
        "task": found.study.identity["name"],
        "condition": found.condition,
        "runs": found.runs,
        "failed": found.failed,
        "examples": found.examples,
        "disagreement": found.disagreement,
        "unanimous": vars(found.unanimous),
        "carried": {str(share): value for share, value in found.carried.items()},
        "classes": [
            {
                "class": c.label,
                "examples": c.examples,
                "churn": c.churn,
                "error": _number(c.error),
                "interval": _interval(c, found.runs),
            }
            for c in found.classes
        ],
        "top": [
            {
                "index": e.index,
                "label": e.label,
                "disagreement": e.disagreement,
                "minority": e.minority,
                "entropy": {"between": e.between, "within": e.within},
                "votes": [{"class": k, "runs": runs} for k, runs in e.votes.items()],
            }
            for e in found.top
        ],
        "sentence": sentence(found),
    }


def rows(found: Unstable) -> list[tuple[str, ...]]:
    """The table of the examples that flip most."""
    return [
        (
            str(e.index),
            str(e.label),
            f"{e.disagreement:.1f}",
            f"{e.minority:.1f}",
            f"{e.between:.2f}",
            "" if e.within is None else f"{e.within:.2f}",
            _votes_in_words(e.votes),
        )
        for e in found.top
    ]


def class_rows(found: Unstable) -> list[tuple[str, ...]]:
    """The table of the classes with the largest churn, or of the most frequent words of a text, largest first."""
    text = is_text(found.study)
    ordered = sorted(found.classes, key=lambda c: -(c.examples if text else c.churn))[:CLASSES_SHOWN]
    return [(str(c.label), str(c.examples), _with_error(c), _in_words(_interval(c, found.runs))) for c in ordered]


def sentence(found: Unstable) -> str:
    """What the runs agree on, and how few examples carry their disagreement."""
    u, word = found.unanimous, found.word
    text = (
        f"On {u.all:.1f} % of the {found.examples:,} test {word}s all {found.runs} runs agree (condition "
        f"{found.condition}; {u.right:.1f} % rightly, {u.wrong:.1f} % wrongly)"
    )
    first, tenth = found.carried[1], found.carried[10]
    if first is None or tenth is None:
        return f"{text}: no two runs disagree."
    return (
        f"{text}. Two runs disagree on {found.disagreement:.2f} % on average; of this, the 1 % of {word}s that flip "
        f"most in these runs carry {first:.0f} %, and the 10 % that flip most {tenth:.0f} %."
    )


def _votes(column: np.ndarray) -> dict[int, int]:
    classes, runs = np.unique(column, return_counts=True)
    order = np.argsort(-runs, kind="stable")
    return dict(zip(classes[order].tolist(), runs[order].tolist(), strict=True))


def _votes_in_words(votes: Mapping[int, int]) -> str:
    parts = [f"{k}: {runs}" for k, runs in list(votes.items())[:VOTES_SHOWN]]
    others = len(votes) - len(parts)
    return ", ".join(parts) + (f", {others} more" if others else "")


def _interval(c: ClassChurn, runs: int) -> list[float] | None:
    """The 95 % interval of a class's churn, with Student's t at N - 1.

    None where every run leaves the same churn without it, as where none flips: then nothing tells how far it reaches.
    """
    if not c.error > 0:
        return None
    reach = float(stats.t.ppf(0.975, runs - 1)) * c.error
    return [max(0.0, c.churn - reach), min(100.0, c.churn + reach)]


def _with_error(c: ClassChurn) -> str:
    return f"{c.churn:.2f}" + (f" ± {c.error:.2f}" if c.error > 0 else "")


def _in_words(interval: Sequence[float] | None) -> str:
    return f"{interval[0]:.2f} to {interval[1]:.2f}" if interval else ""


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
