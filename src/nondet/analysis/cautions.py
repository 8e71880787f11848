"""What in the runs of an arm keeps its figures from holding as often as they say."""

from __future__ import annotations

from nondet.analysis.arms import Arm
from nondet.measures.shape import Shape, shape_of, shape_words


def arm_shape(arm: Arm) -> Shape:
    """The shape of an arm's values."""
    return shape_of(arm.values, arm.metric.better, arm.predictions, arm.labels)


def arm_cautions(arm: Arm) -> list[str]:
    """The cautions that its values give, a sentence each, with its name."""
    said = shape_words(arm_shape(arm), arm.values, arm.metric.words, arm.run_names or arm.numbers)
    return [f"{arm.name}: {sentence[0].lower()}{sentence[1:]}" for sentence in said]
