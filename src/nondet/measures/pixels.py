"""The measures of segmentation: a class for each pixel.

Shapes: predictions (N, P) = (runs, pixels of the test set whose class is known). A run keeps each pixel's prediction
and the log-probability of its class, and all logits at a sample of pixels, as a language model does for tokens.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nondet.measures.answers import TextAnswers
from nondet.measures.classification import (
    ACCURACY,
    CORRELATIONS,
    DISAGREEMENT,
    ENSEMBLE_CROSS_ENTROPY,
    TOKEN_CROSS_ENTROPY,
)
from nondet.measures.figure import PERCENT, score
from nondet.stats.values import Floats


def mean_iou(predicted: NDArray[Any], labels: NDArray[Any], classes: int) -> Floats:
    """Each run's mean intersection over union, `(N,)`, in percent: the mean over classes of TP / (TP + FP + FN).

    Pixels are counted over the whole test set. A class that is in neither the labels nor the run's predictions is left
    out of the mean (Everingham et al., International Journal of Computer Vision 111, 2015, section 3.3).

    Args:
        predicted: `(N, P)`. labels: `(P,)`. classes: their number.
    """
    found = np.empty(len(predicted))
    truth = np.bincount(labels, minlength=classes)
    for run, row in enumerate(predicted):
        both = np.bincount(labels[row == labels], minlength=classes)
        union = truth + np.bincount(row, minlength=classes) - both
        found[run] = 100.0 * float((both[union > 0] / union[union > 0]).mean())
    return found


class PixelAnswers(TextAnswers):
    """The answers of N runs, as in `TextAnswers`; and `truth`, the classes of all pixels `(P,)`."""

    def __init__(
        self, logprob: ArrayLike, prediction: ArrayLike, sample_logits: ArrayLike, sample_labels: ArrayLike, truth: Any
    ) -> None:
        super().__init__(logprob, prediction, sample_logits, sample_labels)
        self.truth: NDArray[np.int64] = np.asarray(truth, dtype=np.int64)

    @cached_property
    def accuracy(self) -> Floats:
        return 100.0 * (self.predicted == self.truth).mean(axis=1)

    @cached_property
    def mean_iou(self) -> Floats:
        return mean_iou(self.predicted, self.truth, self.outputs.shape[2])


MEAN_IOU = score(
    "miou",
    "mean IoU",
    lambda answers: answers.mean_iou,
    "mIoU",
    title="mIoU (%)",
    sd_title="mIoU SD (%)",
    **PERCENT,
)
PIXEL_ACCURACY = replace(ACCURACY, table=None)
SCORES = (MEAN_IOU, PIXEL_ACCURACY, TOKEN_CROSS_ENTROPY)
FIGURES = (
    *MEAN_IOU.figures(),
    *PIXEL_ACCURACY.figures(),
    *TOKEN_CROSS_ENTROPY.figures(),
    DISAGREEMENT,
    *CORRELATIONS,
    ENSEMBLE_CROSS_ENTROPY,
)
