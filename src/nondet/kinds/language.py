"""Language models: for each token of the test text, its log-probability and the most probable token in its place."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from nondet.kinds.classification import Classification
from nondet.measures import classification
from nondet.measures.answers import TextAnswers
from nondet.measures.language import sample_tokens


class Language(Classification):
    name = "language"
    what = "language model"
    example = "token"
    by_example = False
    feed = "sequence"
    answers = MappingProxyType({"logprob": 1, "prediction": 1, "sample.logits": 2})
    sampled = ("sample.logits",)
    scores = classification.TEXT_SCORES
    own_figures = classification.TEXT_FIGURES

    def read(self, arrays: Mapping[str, np.ndarray], labels: np.ndarray) -> Any:
        return token_answers(arrays, labels)


def token_answers(arrays: Mapping[str, np.ndarray], labels: np.ndarray) -> TextAnswers:
    """Return the answers of token models, whose logits are kept only for a sample of the tokens."""
    sampled = labels[sample_tokens(len(labels))]
    return TextAnswers(arrays["logprob"], arrays["prediction"], arrays["sample.logits"], sampled)


LANGUAGE = Language()
