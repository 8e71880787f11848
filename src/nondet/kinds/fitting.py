"""Infer the kind of task from the labels and outputs, where the user does not name it."""

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
    """Return the kind that fits labels (n, ...) and a model's outputs (B, ...); None if none fits.

    usual: the kinds that the recipe's loss is for, if known.

    Whole numbers are classes, or yes-or-no labels where there is one output for each label. Real numbers are values to
    predict, unless all are 0 or 1, as in torch's binary cross-entropy. BadInput where two kinds fit.
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
            f"labels {tuple(labels.shape)} and outputs {tuple(outputs.shape)} must show which axis is the classes (got "
            "equal sizes); use kind='tokens' if it is the last, kind='segmentation' if it is the second"
        )
    return TOKENS if last else SEGMENTATION if second else None


def _of_reals(labels: Tensor, made: tuple[int, ...], usual: Sequence[str]) -> Kind | None:
    if "classification" in usual and labels.dim() == 2 and len(made) == 1:
        return CLASSIFICATION
    if not bool(labels.isfinite().all()) or labels[0].numel() != math.prod(made):
        return None
    if not _two(labels) or len(made) > 1:
        return REGRESSION
    if not made:
        return BINARY
    if bool((labels.sum(1) == 1).all()) and "multilabel" not in usual:
        raise BadInput(
            "real labels with a single 1 in each row could mean one class or several labels for each example, so the "
            f"kind must be given (got labels {tuple(labels.shape)}); use kind='classification' or kind='multilabel'"
        )
    return SEVERAL


def _plain(shape: tuple[int, ...]) -> list[int]:
    """Return a shape without its last axis if that has length 1."""
    return list(shape[:-1] if shape[-1:] == (1,) else shape)


def _two(labels: Tensor) -> bool:
    return bool(((labels == 0) | (labels == 1) | (labels == IGNORED)).all())
