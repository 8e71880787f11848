"""Measures of arrays as they are: `nondet.measure` would take copies of a run for one."""

from __future__ import annotations

from numpy.typing import ArrayLike

from nondet.kinds import CLASSIFICATION, LANGUAGE
from nondet.measures.answers import Answers, TextAnswers
from nondet.measures.measured import Measures, measured


def measure(outputs: ArrayLike, labels: ArrayLike, failed: int = 0, examples: bool = False) -> Measures:
    return measured(CLASSIFICATION.figures, Answers(outputs, labels), failed, examples)


def measure_language(
    logprob: ArrayLike, prediction: ArrayLike, sample_logits: ArrayLike, sample_labels: ArrayLike, failed: int = 0
) -> Measures:
    return measured(LANGUAGE.figures, TextAnswers(logprob, prediction, sample_logits, sample_labels), failed)


NAMES = tuple(figure.name for figure in CLASSIFICATION.figures)
LANGUAGE_NAMES = tuple(figure.name for figure in LANGUAGE.figures)
LOGITS_NEEDED = tuple(figure.name for figure in CLASSIFICATION.figures if figure.logits)
