"""Classifiers with two classes and one logit, and with several labels and one logit each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from nondet.errors import BadInput
from nondet.kinds.base import Kind, unfit
from nondet.kinds.classification import IGNORED, Classification
from nondet.measures import several
from nondet.measures.several import SeveralAnswers

if TYPE_CHECKING:
    from torch import Tensor


def held(name: str, labels: Tensor) -> Tensor:
    """Return yes-or-no labels as int64; BadInput unless each is 0, 1 or ignored."""
    import torch

    values = labels.double().unique()
    wrong = values[(values != 0) & (values != 1) & (values != IGNORED)]
    if len(wrong):
        raise BadInput(
            f"{name} labels must be 0 or 1, or {IGNORED} where they are not known (got {float(wrong[0]):g}); for "
            "other numbers use kind='regression', or give the model one output for each class"
        )
    if not bool((values != IGNORED).any()):
        raise BadInput(f"{name} labels must contain a 0 or a 1 (got only {IGNORED}); give the known labels as 0 and 1")
    return labels.to(torch.int64)


def binary_loss(outputs: Tensor, labels: Tensor) -> Tensor:
    """Return the mean cross-entropy over the known labels; logits and labels (0 or 1) have the same shape."""
    import torch.nn.functional as F

    known = labels != IGNORED
    truth = labels.clamp(min=0).to(outputs.dtype)
    each = F.binary_cross_entropy_with_logits(outputs, truth, reduction="none")
    return (each * known).sum() / known.sum()


class Binary(Classification):
    """One logit z of class 1 for each example, stored as the equivalent logits -z / 2 and z / 2 of two classes.

    So all measures of classifiers apply: the cross-entropy of these two logits is that of z.
    """

    name = "binary"
    losses = ("bce",)

    def check_labels(self, name: str, labels: Tensor) -> Tensor:
        if labels.dim() != 1 and tuple(labels.shape[1:]) != (1,):
            raise BadInput(f"{name} labels must have the shape (n,) (got {tuple(labels.shape)}); give one per example")
        return held(name, labels.flatten())

    def check_outputs(self, outputs: object, examples: int, labels: Mapping[str, Tensor]) -> Tensor:
        from torch import Tensor

        if not isinstance(outputs, Tensor) or tuple(outputs.shape) not in ((examples,), (examples, 1)):
            raise unfit(outputs, examples, "one logit for each example, (batch,) or (batch, 1)")
        return outputs

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return binary_loss(outputs.reshape(labels.shape), labels)

    def paired(self, outputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        return outputs, labels.reshape(outputs.shape).to(outputs.dtype)

    def right(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return ((outputs.reshape(labels.shape) > 0) == labels).sum()

    def left(self, outputs: Tensor, labels: Tensor, place: tuple[int, int]) -> dict[str, Tensor]:
        import torch

        half = outputs.reshape(len(outputs), -1) / 2  # (R, B)
        return super().left(torch.stack([-half, half], dim=2), labels, place)


class Several(Kind):
    """Several labels for each example, with one logit each; a label is predicted where its logit is above 0."""

    name = "multilabel"
    what = "multi-label classifier"
    scores = several.SCORES
    own_figures = several.FIGURES
    curve = "accuracy"
    losses = ("bce",)

    def read(self, arrays: Mapping[str, np.ndarray], labels: np.ndarray) -> SeveralAnswers:
        return SeveralAnswers(arrays["outputs"], labels)

    def check_labels(self, name: str, labels: Tensor) -> Tensor:
        if labels.dim() != 2:
            raise BadInput(f"{name} labels must have the shape (n, labels) (got {tuple(labels.shape)}); reshape them")
        return held(name, labels)

    def check_outputs(self, outputs: object, examples: int, labels: Mapping[str, Tensor]) -> Tensor:
        from torch import Tensor

        if not isinstance(outputs, Tensor) or outputs.dim() != 2 or len(outputs) != examples:
            raise unfit(outputs, examples, "one logit for each label, (batch, labels)")
        for name, given in labels.items():
            if given.shape[1] != outputs.shape[1]:
                raise BadInput(
                    f"{name} labels must have one column for each of the model's {outputs.shape[1]} outputs "
                    f"(got {given.shape[1]}); give the model one output for each label"
                )
        return outputs

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return binary_loss(outputs, labels)

    def paired(self, outputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        return outputs, labels.to(outputs.dtype)

    def right(self, outputs: Tensor, labels: Tensor) -> Tensor:
        known = labels != IGNORED
        return ((((outputs > 0) == labels) & known).sum(1) / known.sum(1).clamp(min=1)).sum()


BINARY = Binary()
SEVERAL = Several()
