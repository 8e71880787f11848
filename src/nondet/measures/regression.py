"""The scores and measures of real-valued predictions, and of outputs of any kind, in the order of their JSON."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from operator import attrgetter
from typing import Any

from nondet.measures.classification import CORRELATIONS
from nondet.measures.figure import Figure, score
from nondet.stats.estimate import Estimate
from nondet.stats.intervals import pairwise_estimate

RMSE = score("rmse", "RMSE", lambda answers: answers.rmse, better=-1, decimals=4, bounds=(0.0, math.inf))
R_SQUARED = score("r2", "R²", lambda answers: answers.r_squared, decimals=4, bounds=(-math.inf, 1.0))
TEST_LOSS = score("test_loss", "loss", lambda answers: answers.losses, better=-1, decimals=4, title="test loss")


def _root(e: Estimate) -> Estimate:
    """Return the root of half a mean squared difference: the SD between runs, with its error by the delta method."""
    value = math.sqrt(max(0.0, e.value) / 2)
    error = e.error / (4 * value) if value else e.error
    return Estimate(value, error, math.sqrt(max(0.0, e.low) / 2), math.sqrt(max(0.0, e.high) / 2))


def _apart(name: str, by_run: Callable[[Any], Any], scale: Callable[[Estimate], Estimate], **rest: Any) -> Figure:
    """Make the measure of how far two runs are apart, from each run's mean over its partners."""

    def compute(answers: Any) -> Estimate:
        return scale(pairwise_estimate(by_run(answers), distance_from=0.0))

    return replace(Figure(name, compute, decimals=4, bounds=(0.0, math.inf), origin=0.0, effect=by_run), **rest)


SPREAD = _apart(
    "prediction.sd",
    attrgetter("square_distances"),
    _root,
    label="SD of a prediction between runs",
    words="the predictions' SD",
    title="pred. SD",
    plot="prediction-sd",
    short="pred. SD²",
)
DISTANCE = _apart(
    "distance",
    attrgetter("distances"),
    lambda e: e,
    label="mean absolute difference of two runs' predictions",
    words="the distance",
    title="distance",
    plot="distance",
    short="distance",
)
MOVED = _apart(
    "moved",
    attrgetter("moved"),
    lambda e: e,
    label="predictions of two runs more than 0.1 SD of the labels apart (%)",
    words="the share of predictions that move",
    title="moved (%)",
    decimals=2,
    plot="moved",
    bounds=(0.0, 100.0),
    short="moved",
)
CORRELATION = replace(
    CORRELATIONS[0], label="correlation of two runs' outputs", logits=False, sampled=False, added=None
)
SCORES = (RMSE, R_SQUARED)
FIGURES = (*RMSE.figures(), *R_SQUARED.figures(), SPREAD, DISTANCE, MOVED, CORRELATION)
ANY_SCORES = (TEST_LOSS,)
ANY_FIGURES = (*TEST_LOSS.figures(), SPREAD, DISTANCE, CORRELATION)
