"""The measures of several labels for each example, each of which holds or not.

Shapes: logits (N, n, k) = (runs, examples, labels); truth (n, k) of 1 (it holds), 0 (it does not) and -100 (unknown).
A label is predicted if its logit is above 0.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nondet.measures.answers import Pairs
from nondet.measures.classification import ACCURACY, CORRELATIONS, CROSS_ENTROPY, DISAGREEMENT
from nondet.measures.figure import PERCENT, score
from nondet.measures.real_valued import checked_predictions_of
from nondet.stats.values import Floats, Integers


def average_precision(logits: Floats, truth: NDArray[Any]) -> float:
    """The average precision of one label, in percent: `sum_i (R_i - R_{i-1}) P_i` over falling thresholds.

    P_i and R_i are precision and recall of the examples whose logit is at least the i-th largest; equal logits are one
    threshold. NaN if the label holds for no example. (`average_precision_score` of scikit-learn; Manning, Raghavan
    & Schütze, Introduction to Information Retrieval, 2008, section 8.4.)

    Args:
        logits: `(n,)`. truth: `(n,)` of 0 and 1.
    """
    positives = int(truth.sum())
    if not positives:
        return math.nan
    order = np.argsort(-logits, kind="stable")
    hits, ordered = np.cumsum(truth[order]), logits[order]
    last = np.append(ordered[1:] != ordered[:-1], True)  # the last of equal logits
    precision, recall = hits[last] / (np.flatnonzero(last) + 1), hits[last] / positives
    return 100.0 * float(np.sum(np.diff(recall, prepend=0.0) * precision))


class SeveralAnswers(Pairs):
    """The answers of N runs. outputs: logits `(N, n, k)`. labels: `(n, k)`."""

    def __init__(self, outputs: ArrayLike, labels: ArrayLike) -> None:
        self.outputs: Floats = checked_predictions_of(outputs)
        self.runs, self.examples = self.outputs.shape[:2]
        self.labels: NDArray[np.int64] = np.asarray(labels).reshape(self.examples, -1).astype(np.int64)

    @cached_property
    def known(self) -> NDArray[np.bool_]:
        return self.labels >= 0

    @cached_property
    def decided(self) -> Integers:
        """1 if a run predicts a label, else 0: `(N, m)`, for the m known labels of all examples."""
        return (self.outputs[:, self.known] > 0).astype(np.int64)

    @cached_property
    def accuracy(self) -> Floats:
        return 100.0 * (self.decided == self.labels[self.known]).mean(axis=1)

    @cached_property
    def mean_average_precision(self) -> Floats:
        """Each run's mean average precision over labels that hold for any example, `(N,)`, in percent (macro mAP)."""
        found = np.full((self.runs, self.labels.shape[1]), math.nan)
        for label, known in enumerate(self.known.T):
            for run, values in enumerate(self.outputs):
                found[run, label] = average_precision(values[known, label], self.labels[known, label])
        holds = ~np.isnan(found[0])
        return found[:, holds].mean(axis=1) if holds.any() else np.full(self.runs, math.nan)

    @cached_property
    def losses(self) -> Floats:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The cross-entropy of each run, `(N,)`, in nats: the mean of `log(1 + exp(z)) - y z`."""
        logits = self.outputs[:, self.known]
        return (np.logaddexp(0.0, logits) - self.labels[self.known] * logits).mean(axis=1)


MAP = score(
    "map",
    "mean average precision",
    lambda answers: answers.mean_average_precision,
    "mAP",
    title="mAP (%)",
    sd_title="mAP SD (%)",
    **PERCENT,
)
LABEL_ACCURACY = replace(ACCURACY, table=None)
BINARY_CROSS_ENTROPY = replace(CROSS_ENTROPY, logits=False, table=None)
SCORES = (MAP, LABEL_ACCURACY, BINARY_CROSS_ENTROPY)
FIGURES = (
    *MAP.figures(),
    *LABEL_ACCURACY.figures(),
    *BINARY_CROSS_ENTROPY.figures(),
    DISAGREEMENT,
    *CORRELATIONS,
)
