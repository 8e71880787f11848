"""Runs known by numbers, such as the accuracy that a script prints: either alone, or together with outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import Any

import numpy as np

from nondet.kinds.base import Kind
from nondet.measures.figure import Score, score
from nondet.stats.values import Floats

ARRAY = "scores"
"""The array of a run's scores `(k,)`, in the order of their names."""

LESS = ("loss", "error", "err", "mse", "rmse", "mae", "nll", "perplexity", "ppl", "wer", "cer", "time", "fid")
"""Words in a score's name that mean that less is better."""


class ScoreAnswers:
    """The scores `(N, k)` of N runs."""

    classes_alone = False
    sampled_pairs = None
    examples = 0

    def __init__(self, scores: np.ndarray) -> None:
        self.scores = np.asarray(scores, dtype=np.float64)
        self.runs = len(self.scores)

    @property
    def equal(self) -> bool:
        return bool((self.scores == self.scores[0]).all())


class _Alone(Kind):
    """The kind of runs that leave nothing but scores."""

    name = "scores"
    what = "training"
    example = "score"
    answers = MappingProxyType({})

    def read(self, arrays: Mapping[str, np.ndarray], labels: np.ndarray) -> ScoreAnswers:
        return ScoreAnswers(arrays[ARRAY])


class Scores(Kind):
    """A kind whose runs leave named scores: either alone, or together with the answers of another kind.

    beside: that other kind, whose measures come first. A score whose name it already uses is called recorded_NAME.
    """

    by_run = (ARRAY,)

    def __init__(self, names: Sequence[str], beside: Kind | None = None) -> None:
        self.names, self.beside = tuple(names), beside
        of = self._of = beside or _Alone()
        there = {score.name for score in of.scores}
        own = tuple(_score(f"recorded_{n}" if n in there else n, place) for place, n in enumerate(names))
        self.name, self.what, self.example = of.name, of.what, of.example
        self.by_example, self.curve, self.sampled = of.by_example, of.curve, of.sampled
        self.answers: Mapping[str, int] = MappingProxyType({**of.answers, ARRAY: 1})
        self.scores = (*of.scores, *own)
        self.own_figures = (*of.own_figures, *(figure for score in own for figure in score.figures()))

    def read(self, arrays: Mapping[str, np.ndarray], labels: np.ndarray) -> Any:
        answers = self._of.read(arrays, labels)
        answers.scores = np.asarray(arrays[ARRAY], dtype=np.float64)
        return answers


def _score(name: str, place: int) -> Score:
    def by_run(answers: Any) -> Floats:
        return answers.scores[:, place]

    less = any(part in LESS for part in name.lower().replace("-", "_").replace("/", "_").split("_"))
    plot = f"{name.replace('/', '-').replace('.', '-')}-sd"
    return score(name.replace(".", "_"), name, by_run, better=-1 if less else 1, decimals=4, plot=plot)


with_scores = cache(Scores)
"""The kind whose runs leave these scores, alone or together with the answers of another kind; the same each time."""
