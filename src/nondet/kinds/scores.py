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


class Scores(Kind):
    """A kind whose runs leave named scores: either alone, or together with the answers of another kind.

    beside: that other kind, whose measures come first. A score whose name it already uses is called recorded_NAME.
    """

    def __init__(self, names: Sequence[str], beside: Kind | None = None) -> None:
        self.names, self.beside = tuple(names), beside
        there = {score.name for score in beside.scores} if beside else set[str]()
        own = tuple(_score(f"recorded_{n}" if n in there else n, place) for place, n in enumerate(names))
        if beside is None:
            self.name, self.what, self.example = "scores", "training", "score"
            self.answers: Mapping[str, int] = MappingProxyType({ARRAY: 1})
            self.scores, self.own_figures = own, tuple(figure for score in own for figure in score.figures())
        else:
            self.name, self.what, self.example = beside.name, beside.what, beside.example
            self.answers = MappingProxyType({**beside.answers, ARRAY: 1})
            self.by_example, self.curve = beside.by_example, beside.curve
            self.scores = (*beside.scores, *own)
            self.own_figures = (*beside.own_figures, *(figure for score in own for figure in score.figures()))
        self.sampled, self.by_run = beside.sampled if beside else (), (ARRAY,)

    def read(self, arrays: Mapping[str, np.ndarray], labels: np.ndarray) -> Any:
        if self.beside is None:
            return ScoreAnswers(arrays[ARRAY])
        answers = self.beside.read(arrays, labels)
        answers.scores = np.asarray(arrays[ARRAY], dtype=np.float64)
        return answers


def _score(name: str, place: int) -> Score:
    def by_run(answers: Any) -> Floats:
        return answers.scores[:, place]

    less = any(part in LESS for part in name.lower().replace("-", "_").replace("/", "_").split("_"))
    plot = f"{name.replace('/', '-').replace('.', '-')}-sd"
    return score(name.replace(".", "_"), name, by_run, better=-1 if less else 1, decimals=4, plot=plot)


@cache
def with_scores(names: tuple[str, ...], beside: Kind | None = None) -> Kind:
    """Return the kind whose runs leave these scores, alone or together with the answers of another kind."""
    return Scores(names, beside)
