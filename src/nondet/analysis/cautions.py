"""What in the runs of an arm keeps its figures from holding as often as they say."""

from __future__ import annotations

from nondet.analysis.arms import Arm
from nondet.analysis.runs import Runs
from nondet.measures.shape import Shape, shape_of, shape_words


def arm_shape(arm: Arm) -> Shape:
    """The shape of an arm's values."""
    return shape_of(arm.values, arm.metric.better, arm.predictions, arm.labels)


def arm_cautions(arm: Arm) -> list[str]:
    """The cautions that its values give, a sentence each, with its name."""
    said = shape_words(arm_shape(arm), arm.values, arm.metric.words, arm.run_names or arm.numbers)
    return [f"{arm.name}: {sentence[0].lower()}{sentence[1:]}" for sentence in said]


def collapsed_runs(name: str, runs: Runs) -> list[str]:
    """The runs of a condition that collapsed or are outlying in its first score, a sentence each, with its name."""
    score, answers = runs.kind.scores[0], runs.answers
    values = score.by_run(answers)
    shape = shape_of(values, score.better, getattr(answers, "predicted", None), getattr(answers, "labels", None))
    rare = Shape(shape.one_class, shape.worse, shape.outlying)
    said = shape_words(rare, values, score.words, [made.number for made in runs.made])
    return [f"{name}: {sentence[0].lower()}{sentence[1:]}" for sentence in said[:-1]]  # but for that on intervals
