"""What in an arm's runs makes its intervals miss the truth more often than they say."""

from __future__ import annotations

from collections.abc import Sequence

from nondet.analysis.arms import Arm
from nondet.analysis.runs import Runs
from nondet.measures.shape import Shape, about, shape_of, shape_words
from nondet.stats.spread import sd_of
from nondet.stats.values import Floats

UNEQUAL = 2.0
"""The ratio of SDs from which a verdict on skewed values gets a caution."""


def arm_shape(arm: Arm) -> Shape:
    """Return the shape of an arm's values."""
    return shape_of(arm.values, arm.metric.better, arm.predictions, arm.runs.labels)


def arm_cautions(arm: Arm) -> list[str]:
    """Return the cautions about an arm's values, one sentence each, with its name."""
    said = shape_words(arm_shape(arm), arm.values, arm.metric.words, arm.run_names or arm.numbers)
    return [about(arm.name, sentence) for sentence in said]


def skewed_and_unequal(arms: Sequence[Arm], level: float) -> list[str]:
    """Return a caution if both tests are too bold: for skewed values whose SDs differ much (docs/compare.md)."""
    skewed = [arm.name for arm in arms if arm_shape(arm).skewed]
    sds = [sd_of(arm.values).value for arm in arms]
    if not skewed or not min(sds) or max(sds) < UNEQUAL * min(sds):
        return []
    larger, named = max(sds) / min(sds), " and ".join(skewed)
    return [
        f"The SDs differ by a factor of {larger:.2g}, and the values of {named} are skewed: such arms with equal means "
        f"are called different up to twice as often as the level says ({100 * level:.3g} %)."
    ]


def collapsed_runs(name: str, runs: Runs) -> list[str]:
    """Name the runs of a condition that collapsed or are outlying in its first score, one sentence each."""
    score, answers = runs.kind.scores[0], runs.answers
    values = score.by_run(answers)
    shape = shape_of(values, score.better, getattr(answers, "predicted", None), getattr(answers, "labels", None))
    return _rare(name, shape, values, score.words, [made.number for made in runs.made])


def collapsed_in(arm: Arm) -> list[str]:
    """Name the runs of an arm that collapsed or are outlying, one sentence each."""
    return _rare(arm.name, arm_shape(arm), arm.values, arm.metric.words, arm.run_names or arm.numbers)


def _rare(name: str, shape: Shape, values: Floats, words: str, numbers: Sequence[object]) -> list[str]:
    rare = Shape(shape.one_class, shape.worse, shape.outlying)
    said = shape_words(rare, values, words, numbers)[:-1]  # without what they do to intervals
    return [about(name, sentence) for sentence in said]
