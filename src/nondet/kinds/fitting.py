"""Which kind of task labels and outputs are, where it is not said."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nondet.errors import BadInput
from nondet.kinds.base import Kind
from nondet.kinds.binary import BINARY, SEVERAL
from nondet.kinds.classification import CLASSIFICATION, IGNORED
from nondet.kinds.dense import SEGMENTATION, TOKENS
from nondet.kinds.regression import REGRESSION

if TYPE_CHECKING:
    from torch import Tensor


def fitting(labels: Tensor, outputs: object, usual: Sequence[str] = ()) -> Kind | None:
    """The kind of labels (n, ...) and of a model's outputs (B, ...); None if they are of none.

    usual: the kinds that the recipe's loss is for, if that is known.

    Whole numbers are classes, or labels that hold or not where there is one output for each; real numbers are what is
    to be predicted, unless all are 0 or 1, as torch's binary cross-entropy takes them. BadInput where two kinds fit.
    """
    from torch import Tensor

    if not isinstance(outputs, Tensor) or not outputs.dim() or labels.is_complex() or not labels.dim():
        return None
    if "regression" in usual:
        return REGRESSION if labels[0].numel() == outputs[0].numel() else None
    each, made = _plain(labels.shape[1:]), _plain(outputs.shape[1:])  # of one example
    if labels.is_floating_point():
        return _of_reals(labels, tuple(made), usual)
    if not each:
        return (BINARY if _two(labels) else None) if not made else CLASSIFICATION if len(made) == 1 else None
    if each == made and _two(labels):
        return SEVERAL if len(each) == 1 else None
    last, second = made[:-1] == each, made[1:] == each
    if last and second:
        raise BadInput(
            f"labels {tuple(labels.shape)} and outputs {tuple(outputs.shape)} must show where the classes are (got "
            "equal sizes); say kind='tokens' if they are last, kind='segmentation' if they are second"
        )
    return TOKENS if last else SEGMENTATION if second else None


def _of_reals(labels: Tensor, made: tuple[int, ...], usual: Sequence[str]) -> Kind | None:
    if "classification" in usual and labels.dim() == 2 and len(made) == 1:
        return CLASSIFICATION
    if not bool(labels.isfinite().all()) or labels[0].numel() != math.prod(made):
        return None
    if not bool(((labels == 0) | (labels == 1) | (labels == IGNORED)).all()):
        return REGRESSION
    if len(made) > 1:
        return REGRESSION
    if not made:
        return BINARY
    if bool((labels.sum(1) == 1).all()) and "multilabel" not in usual:
        raise BadInput(
            f"real labels {tuple(labels.shape)} with a single 1 in each row must say what they are (got one class or "
            "several labels, for all that shows); say kind='classification' or kind='multilabel'"
        )
    return SEVERAL


def _plain(shape: tuple[int, ...]) -> list[int]:
    """A shape without a last axis of one number."""
    return list(shape[:-1] if shape[-1:] == (1,) else shape)


def _two(labels: Tensor) -> bool:
    return bool(((labels == 0) | (labels == 1) | (labels == IGNORED)).all())
