"""Classifiers: logits of each test example, one for each class."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from nondet.errors import BadInput
from nondet.kinds.base import Kind
from nondet.measures import classification
from nondet.measures.answers import Answers

if TYPE_CHECKING:
    from torch import Tensor


class Classification(Kind):
    name = "classification"
    what = "classifier"
    scores = classification.SCORES
    own_figures = classification.FIGURES
    by_example = True
    curve = "accuracy"

    def read(self, arrays: Mapping[str, np.ndarray], labels: np.ndarray) -> Answers:
        return Answers(arrays["outputs"], labels)

    def check_labels(self, name: str, labels: Tensor) -> Tensor:
        import torch

        if labels.dim() != 1 or labels.is_floating_point() or labels.is_complex():
            raise BadInput(
                f"{name} labels must be whole class numbers of shape (n,) "
                f"(got {labels.dtype} of shape {tuple(labels.shape)}); convert them with .long()"
            )
        if len(labels) and int(labels.min()) < 0:
            raise BadInput(f"{name} labels must be at least 0 (got {int(labels.min())}); number the classes from 0")
        return labels.to(torch.int64)

    def check_outputs(self, outputs: object, examples: int, labels: Mapping[str, Tensor]) -> Tensor:
        from torch import Tensor

        if not isinstance(outputs, Tensor) or outputs.dim() != 2 or len(outputs) != examples or outputs.shape[1] < 2:
            shape = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
            raise BadInput(
                f"the model must return logits of shape (batch, classes), at least 2 classes "
                f"(got {shape} for a batch of {examples}); mend its last layer"
            )
        classes = outputs.shape[1]
        for name, given in labels.items():
            if int(given.max()) >= classes:
                raise BadInput(
                    f"{name} labels must be smaller than the model's {classes} outputs (got {int(given.max())}); "
                    "give the model one output for each class"
                )
        return outputs

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        import torch.nn.functional as F

        return F.cross_entropy(outputs, labels)

    def right(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return (outputs.argmax(1) == labels).sum()


class Predictions(Classification):
    """Classifiers of which the predicted classes alone are known."""

    name = "predictions"
    answers = MappingProxyType({"outputs": 1})


CLASSIFICATION = Classification()
PREDICTIONS = Predictions()
