"""Classifiers: logits of each test example, one for each class."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from nondet.errors import BadInput
from nondet.kinds.base import Kind, unfit
from nondet.measures import classification
from nondet.measures.answers import Answers

if TYPE_CHECKING:
    from torch import Tensor


IGNORED = -100
"""The label of an example, pixel or token that is left out of the training and the measures, as in torch."""


def numbered(name: str, labels: Tensor) -> Tensor:
    """Return class numbers as int64; BadInput for a negative number other than IGNORED, or if all are IGNORED."""
    import torch

    labels = labels.to(torch.int64)
    wrong = labels[(labels < 0) & (labels != IGNORED)]
    if len(wrong):
        raise BadInput(
            f"{name} labels must be at least 0 (got {int(wrong.min())}); number the classes from 0, and mark "
            f"what to leave out with {IGNORED}, or set ignore={int(wrong.min())}"
        )
    if labels.numel() and bool((labels == IGNORED).all()):
        raise BadInput(f"{name} labels must contain a class (got only {IGNORED}, which is ignored); give the classes")
    return labels


def shares(name: str, labels: Tensor) -> Tensor:
    """Return shares of the classes `(n, c)`, such as one-hot labels; BadInput unless each row sums to 1."""
    if bool((labels < 0).any()) or not bool(((labels.double().sum(1) - 1).abs() < 1e-3).all()):
        raise BadInput(
            f"{name} labels of shape (n, classes) must be shares that sum to 1 (got other numbers); give class "
            "numbers, or use kind='multilabel' or kind='regression'"
        )
    return labels


class Classification(Kind):
    name = "classification"
    what = "classifier"
    scores = classification.SCORES
    own_figures = classification.FIGURES
    by_example = True
    curve = "accuracy"
    losses = ("cross_entropy",)

    def read(self, arrays: Mapping[str, np.ndarray], labels: np.ndarray) -> Answers:
        return Answers(arrays["outputs"], labels)

    def check_labels(self, name: str, labels: Tensor) -> Tensor:
        if labels.is_floating_point() and labels.dim() == 2 and self.curve:
            return shares(name, labels)
        if labels.dim() != 1 or labels.is_floating_point() or labels.is_complex():
            raise BadInput(
                f"{name} labels must be whole class numbers of shape (n,) "
                f"(got {labels.dtype} of shape {tuple(labels.shape)}); convert class numbers with .flatten().long(), "
                "or for other labels set the kind, such as kind='regression', 'multilabel' or 'segmentation'"
            )
        return numbered(name, labels)

    def check_outputs(self, outputs: object, examples: int, labels: Mapping[str, Tensor]) -> Tensor:
        from torch import Tensor

        if not isinstance(outputs, Tensor) or outputs.dim() != 2 or len(outputs) != examples or outputs.shape[1] < 2:
            otherwise = "give the task loss=lambda model, batch: (loss, outputs)"
            raise unfit(outputs, examples, "logits of shape (batch, classes), at least 2 classes", otherwise)
        classes = outputs.shape[1]
        for name, given in labels.items():
            if given.is_floating_point():
                if given.shape[1] != classes:
                    raise BadInput(
                        f"{name} labels must have a share for each of the model's {classes} classes "
                        f"(got {given.shape[1]}); "
                        "give the model one output for each class"
                    )
            elif int(given.max()) >= classes:
                raise BadInput(
                    f"{name} labels must be smaller than the model's {classes} outputs (got {int(given.max())}); "
                    "give the model one output for each class, or set ignore=NUMBER if that label marks no class"
                )
        return outputs

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        import torch.nn.functional as F

        if labels.is_floating_point():
            labels = labels.to(outputs.dtype)
        return F.cross_entropy(outputs, labels)  # leaves out what is IGNORED

    def right(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return (outputs.argmax(1) == (labels.argmax(1) if labels.is_floating_point() else labels)).sum()

    def left(self, outputs: Tensor, labels: Tensor, place: tuple[int, int]) -> dict[str, Tensor]:
        if labels.is_floating_point() or not bool((labels < 0).any()):
            return {"outputs": outputs}
        return {"outputs": outputs[:, labels >= 0]}

    def known(self, labels: Tensor) -> Tensor:
        return labels.argmax(1) if labels.is_floating_point() else labels[labels >= 0]


class Predictions(Classification):
    """Classifiers known only by the classes that they predict."""

    name = "predictions"
    answers = MappingProxyType({"outputs": 1})


CLASSIFICATION = Classification()
PREDICTIONS = Predictions()
