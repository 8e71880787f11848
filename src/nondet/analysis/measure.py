"""Measure runs of a study, or outputs from elsewhere. Copies of a run count as one run, however often they occur."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nondet.analysis.groups import groups_words, numbered_groups
from nondet.analysis.runs import Runs
from nondet.errors import BadInput
from nondet.kinds import CLASSIFICATION
from nondet.measures.answers import Answers
from nondet.measures.copies import features, near_copies
from nondet.measures.measured import Measures, measured

SHOWN = 5
"""How many runs are named."""


def measure(
    outputs: Runs | ArrayLike,
    labels: ArrayLike | None = None,
    failed: int = 0,
    examples: bool = False,
    *,
    groups: str | Path | ArrayLike | None = None,
    name: str = "these",
) -> Measures:
    """Take every measure of a study's runs, or of outputs with their labels; see `nondet.measure`."""
    if isinstance(outputs, Runs):
        if groups is not None:
            raise BadInput(f"<<groups>> is for outputs of others (got runs of {outputs.name}); leave it out")
        return _of_study(outputs, labels, examples)
    if labels is None:
        raise BadInput("labels must be given with outputs (got none); give the class number of each test example")
    answers = _answers(outputs, labels)
    if groups is not None:
        answers.groups = numbered_groups(groups, answers.examples)
    logits = getattr(answers, "logits", None)  # if they are on a device
    points = features(answers.outputs if logits is None else logits)
    kept, copies, near = distinct(name, range(1, answers.runs + 1), _digests(answers), points, answers.classes_alone)
    if copies or near:
        answers = answers.only(kept)
    found = measured(CLASSIFICATION.figures, answers, failed, examples or groups is not None, copies)
    notes = found.notes if answers.groups is None else (*found.notes, groups_words(answers.groups))
    return replace(found, near=near, notes=notes)


def _answers(outputs: Any, labels: ArrayLike) -> Answers:
    """Return the answers; logits on a CUDA device are measured there."""
    if getattr(outputs, "is_cuda", False) and outputs.ndim == 3:
        from nondet.measures.device import DeviceAnswers

        return DeviceAnswers(outputs, labels)
    return Answers(outputs, labels)


def _digests(answers: Answers) -> list[str]:
    """Return a text that identifies each run's outputs; only runs with equal marks can be equal, and are read again."""
    if answers.classes_alone:
        return [exact_digest(run) for run in answers.outputs]
    values, times = np.unique(answers.marks, return_counts=True)
    several = set(values[times > 1])
    return [
        exact_digest(answers.run(place)) if mark in several else repr(mark)
        for place, mark in enumerate(answers.marks.tolist())
    ]


def _of_study(runs: Runs, labels: ArrayLike | None, examples: bool) -> Measures:
    if labels is not None:
        raise BadInput("runs of a study have the labels of their study (got others); leave them out")
    if examples and not runs.kind.by_example:
        raise BadInput(f"examples of a {runs.kind.what} are not drawn one by one (got examples=True); leave it out")
    if len(runs) < 2:
        raise BadInput(
            f"runs must be at least 2 to be measured ({runs.name} has {len(runs)} that are finished and did not fail); "
            "go on with the study"
        )
    return runs.measure(examples)


def distinct(
    name: str, numbers: Sequence[int], digests: Sequence[str], points: NDArray[Any] | None, classes: bool
) -> tuple[list[int], dict[int, int], dict[int, int]]:
    """Return the places of runs that are no copies; and the number of each copy, and near-copy, with the first one's.

    Logits that are equal to the last bit are copies. If only predicted classes are known, equal ones are copies if the
    other runs differ so much that two trainings would not be equal by chance.

    Args:
        points: of each run, as `features` returns them; without them, near-copies are not looked for.
        classes: whether only predicted classes are known.

    Raises:
        BadInput: fewer than two runs differ.
    """
    first: dict[str, int] = {}
    for place, digest in enumerate(digests):
        first.setdefault(digest, place)
    equal = {place: first[digest] for place, digest in enumerate(digests) if first[digest] != place}
    if len(first) == 1:
        raise BadInput(all_one(name, len(digests)))
    if points is None:
        found = equal
    elif classes:
        found = near_copies(points)
    else:
        places = list(first.values())
        found = equal | {places[i]: places[j] for i, j in near_copies(points[places]).items()}
    kept = [place for place in range(len(digests)) if place not in found]
    if len(kept) < 2:
        raise BadInput(all_one(name, len(digests), "nearly "))
    named = {numbers[place]: numbers[earlier] for place, earlier in found.items()}
    exact = {numbers[place] for place, earlier in found.items() if digests[place] == digests[earlier]}
    copies = {number: of for number, of in named.items() if number in exact}
    return kept, copies, {number: of for number, of in named.items() if number not in exact}


def all_one(name: str, runs: int, nearly: str = "") -> str:
    """Say why runs that are all equal are refused."""
    return (
        f"runs must be at least 2 that differ (all {runs} of {name} have {nearly}equal outputs, and count as one run); "
        "give runs that were trained with different seeds of a source that matters"
    )


def exact_digest(run: NDArray[Any]) -> str:
    """Return the SHA-256 of one run's numbers as they are, except that -0 equals 0."""
    plain = np.ascontiguousarray(run)
    return hashlib.sha256((plain + plain.dtype.type(0)).tobytes()).hexdigest()


def copies_words(name: str, copies: Mapping[int, int], near: Mapping[int, int]) -> list[str]:
    """Say which runs, by number, count once with an earlier one, and why; empty if there is none."""
    found: list[str] = []
    for runs, what, why in (
        (copies, "exactly the outputs", ""),
        (near, "nearly the outputs", ", far nearer than other runs are to each other"),
    ):
        if runs:
            listed = named_runs(
                [f"{number} (like {of})" if why else f"{number} (equal to {of})" for number, of in runs.items()]
            )
            has, once = ("has", "counts") if len(runs) == 1 else ("have", "count")
            found.append(f"{listed} of {name} {has} {what} of an earlier run{why}, and {once} once with it.")
    return found


def named_runs(numbers: Sequence[str]) -> str:
    """Name runs by their numbers, at most a few of them."""
    more = len(numbers) - SHOWN
    shown = ", ".join(numbers[:SHOWN]) + (f" and {more} other{'s' * (more > 1)}" if more > 0 else "")
    return f"{'run' if len(numbers) == 1 else 'runs'} {shown}"
