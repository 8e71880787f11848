"""Measures of arrays as they are: `nondet.measure` would take copies of a run for one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from nondet.kinds import CLASSIFICATION, LANGUAGE
from nondet.measures.answers import Answers, TextAnswers
from nondet.measures.arrays import checked
from nondet.measures.diversity import correlation_by_run, disagreement_of
from nondet.measures.ensemble import gains_by_run
from nondet.measures.measured import Measures, measured


def measure(outputs: ArrayLike, labels: ArrayLike, failed: int = 0, examples: bool = False) -> Measures:
    return measured(CLASSIFICATION.figures, Answers(outputs, labels), failed, examples)


def measure_language(
    logprob: ArrayLike, prediction: ArrayLike, sample_logits: ArrayLike, sample_labels: ArrayLike, failed: int = 0
) -> Measures:
    return measured(LANGUAGE.figures, TextAnswers(logprob, prediction, sample_logits, sample_labels), failed)


def accuracy(outputs: ArrayLike, labels: ArrayLike) -> Any:
    return Answers(outputs, labels).accuracy


def cross_entropy(outputs: ArrayLike, labels: ArrayLike) -> Any:
    return Answers(outputs, labels).losses


def predictions(outputs: ArrayLike) -> Any:
    return Answers(outputs, np.zeros(np.shape(outputs)[1], dtype=np.int64)).predicted


def disagreement(outputs: ArrayLike) -> float:
    return disagreement_of(predictions(outputs))


def pearson(outputs: ArrayLike) -> float:
    return float(correlation_by_run(outputs, "pearson").mean())


def spearman(outputs: ArrayLike) -> float:
    return float(correlation_by_run(outputs, "spearman").mean())


def accuracy_gains(outputs: ArrayLike, labels: ArrayLike) -> Any:
    return gains_by_run(*checked(outputs, labels), names=("accuracy",))["accuracy"]


def cross_entropy_gains(outputs: ArrayLike, labels: ArrayLike) -> Any:
    return gains_by_run(*checked(outputs, labels), names=("cross_entropy",))["cross_entropy"]


def accuracy_gain(outputs: ArrayLike, labels: ArrayLike) -> float:
    rows = accuracy_gains(outputs, labels)
    return math.fsum(rows) / len(rows)


def cross_entropy_gain(outputs: ArrayLike, labels: ArrayLike) -> float:
    rows = cross_entropy_gains(outputs, labels)
    return math.fsum(rows) / len(rows)


NAMES = tuple(figure.name for figure in CLASSIFICATION.figures)
LANGUAGE_NAMES = tuple(figure.name for figure in LANGUAGE.figures)
LOGITS_NEEDED = tuple(figure.name for figure in CLASSIFICATION.figures if figure.logits)
