"""Measuring runs: a study's, or outputs of others. Copies of a run are one run: however often given, one training."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nondet.analysis.runs import Runs
from nondet.errors import BadInput
from nondet.kinds import CLASSIFICATION
from nondet.measures.answers import Answers
from nondet.measures.measured import Measures, measured

SHOWN = 5
"""Runs that are named."""


def measure(
    outputs: Runs | ArrayLike,
    labels: ArrayLike | None = None,
    failed: int = 0,
    examples: bool = False,
    *,
    name: str = "these",
) -> Measures:
    """Take every measure of some runs, each of which counts once, however many copies of it there are.

    Args:
        outputs: a study's runs, such as `nondet.open(folder)["all"]`; or logits `(N, n, c)` of runs, test examples and
            classes; or predicted classes `(N, n)`, integers from 0, which give accuracy, its variance and disagreement.
            Logits that are a tensor on a CUDA device are measured there.
        labels: class numbers `(n,)`, beside arrays.
        failed: how many further runs failed, beside arrays.
        examples: whether errors and intervals are to hold for other test examples too, drawn as these were.
        name: of the outputs, in messages.

    Raises:
        BadInput: the arrays are not that; fewer than two runs differ; or predicted classes alone are equal.
    """
    if isinstance(outputs, Runs):
        return _of_study(outputs, labels, examples)
    if labels is None:
        raise BadInput("labels must be given beside outputs (got none); give the class number of each test example")
    answers = _answers(outputs, labels)
    kept, copies = distinct(name, range(1, answers.runs + 1), _digests(answers), answers.classes_alone)
    if copies:
        answers = answers.only(kept)
    return measured(CLASSIFICATION.figures, answers, failed, examples, copies)


def _answers(outputs: Any, labels: ArrayLike) -> Answers:
    """Of logits on a CUDA device, answers that are measured there."""
    if getattr(outputs, "is_cuda", False) and outputs.ndim == 3:
        from nondet.measures.device import DeviceAnswers

        return DeviceAnswers(outputs, labels)
    return Answers(outputs, labels)


def _digests(answers: Answers) -> list[str]:
    """What names each run's outputs: only runs of equal marks can be equal, and are read once more."""
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
        raise BadInput("labels are those of the study for its runs (got others); leave them out")
    if examples and not runs.kind.by_example:
        raise BadInput(f"examples of a {runs.kind.what} are not drawn one by one (got examples=True); leave it out")
    if len(runs) < 2:
        raise BadInput(
            f"runs must be at least 2 to be measured ({runs.name} has {len(runs)} that are finished and did not fail); "
            "go on with the study"
        )
    return runs.measure(examples)


def distinct(
    name: str, numbers: Sequence[int], digests: Sequence[str], classes: bool
) -> tuple[list[int], dict[int, int]]:
    """The places of the first of each of equal runs; and each copy's number with that of the first.

    Raises:
        BadInput: predicted classes alone are equal, which copies are, but also runs that answer alike; or fewer than
            two runs differ.
    """
    first: dict[str, int] = {}
    for place, digest in enumerate(digests):
        first.setdefault(digest, place)
    kept = list(first.values())
    copies = {numbers[place]: numbers[first[digest]] for place, digest in enumerate(digests) if first[digest] != place}
    if copies and classes:
        raise BadInput(
            f"runs must be independent, and {_said(name, copies)} the answers of an earlier run: copies cannot be told "
            "from runs that answer alike by their classes; leave copies out, or give logits"
        )
    if copies and len(kept) < 2:
        raise BadInput(
            f"runs must be at least 2 that differ (all {len(digests)} of {name} have equal outputs, and count as one "
            "run); give runs that were trained with different seeds of a source that matters"
        )
    return kept, copies


def exact_digest(run: NDArray[Any]) -> str:
    """SHA-256 of one run's numbers as they are, but that -0 and 0 are equal."""
    plain = np.ascontiguousarray(run)
    return hashlib.sha256((plain + plain.dtype.type(0)).tobytes()).hexdigest()


def copies_words(name: str, copies: Mapping[int, int]) -> str:
    """Which runs, by number, count once with an equal one before them; empty without any."""
    if not copies:
        return ""
    once = "counts" if len(copies) == 1 else "count"
    return f"{_said(name, copies)} exactly the outputs of an earlier run, and {once} once with it."


def _said(name: str, copies: Mapping[int, int]) -> str:
    listed = named_runs([f"{number} (equal to {original})" for number, original in copies.items()])
    return f"{listed} of {name} {'has' if len(copies) == 1 else 'have'}"


def named_runs(numbers: Sequence[str]) -> str:
    """Runs by their numbers, not more than a few."""
    more = len(numbers) - SHOWN
    shown = ", ".join(numbers[:SHOWN]) + (f" and {more} other{'s' * (more > 1)}" if more > 0 else "")
    return f"{'run' if len(numbers) == 1 else 'runs'} {shown}"
