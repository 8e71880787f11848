"""Real-valued predictions, one or many for each example; and outputs of any kind, where only the loss is known."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from nondet.errors import BadInput
from nondet.kinds.base import Kind, unfit
from nondet.measures import real_valued
from nondet.measures.real_valued import AnyAnswers, Predicted

if TYPE_CHECKING:
    from torch import Tensor


class Regression(Kind):
    """Numbers of any shape for each example, trained with the mean squared error."""

    name = "regression"
    what = "regression"
    scores = real_valued.SCORES
    own_figures = real_valued.FIGURES
    losses = ("mse", "l1", "smooth_l1", "huber")

    def read(self, arrays: Mapping[str, np.ndarray], labels: np.ndarray) -> Predicted:
        return Predicted(arrays["outputs"], labels)

    def check_labels(self, name: str, labels: Tensor) -> Tensor:
        import torch

        if labels.is_complex():
            raise BadInput(
                f"{name} labels must be real numbers (got {labels.dtype}); give the real and imaginary parts"
            )
        labels = labels if labels.is_floating_point() else labels.to(torch.get_default_dtype())
        if not bool(labels.isfinite().all()):
            raise BadInput(f"{name} labels must be finite numbers (got NaN or infinity); clean the data first")
        return labels

    def check_outputs(self, outputs: object, examples: int, labels: Mapping[str, Tensor]) -> Tensor:
        from torch import Tensor

        if not isinstance(outputs, Tensor) or not outputs.dim() or len(outputs) != examples:
            raise unfit(outputs, examples, "numbers with the batch as first axis")
        for name, given in labels.items():
            if given[0].numel() != outputs[0].numel():
                raise BadInput(
                    f"{name} labels must have as many numbers for each example as the model has outputs "
                    f"(got {given[0].numel()} and {outputs[0].numel()}); give the model one output for each number"
                )
        return outputs

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return (outputs - labels.reshape(outputs.shape).to(outputs.dtype)).square().mean()

    def paired(self, outputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        return outputs, labels.reshape(outputs.shape).to(outputs.dtype)

    def left(self, outputs: Tensor, labels: Tensor, place: tuple[int, int]) -> dict[str, Tensor]:
        return {"outputs": outputs.reshape(*outputs.shape[:2], -1)}

    def known(self, labels: Tensor) -> Tensor:
        return labels.reshape(len(labels), -1)


class Any(Regression):
    """Outputs of any kind, trained with a loss that the task provides."""

    name = "any"
    what = "model"
    answers = MappingProxyType({"outputs": 2, "losses": 1})
    by_run = ("losses",)
    scores = real_valued.ANY_SCORES
    own_figures = real_valued.ANY_FIGURES
    losses = ()

    def read(self, arrays: Mapping[str, np.ndarray], labels: np.ndarray) -> AnyAnswers:
        return AnyAnswers(arrays["outputs"], arrays["losses"][:, 0])

    def check_labels(self, name: str, labels: Tensor) -> Tensor:
        return labels

    def check_outputs(self, outputs: object, examples: int, labels: Mapping[str, Tensor]) -> Tensor:
        return super().check_outputs(outputs, examples, {})

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        raise BadInput(
            "kind 'any' has no loss of its own (got none from the task); give "
            "Task(loss=lambda model, batch: (loss, outputs))"
        )

    def known(self, labels: Tensor) -> Tensor:
        return labels.new_zeros(len(labels))


REGRESSION = Regression()
ANY = Any()
