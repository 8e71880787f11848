"""The scores and measures of real-valued predictions, and of outputs of any kind, in the order of their JSON."""

from __future__ import annotations

import math
from typing import Any

from nondet.measures.figure import Figure, Score
from nondet.stats.estimate import UNKNOWN, Estimate
from nondet.stats.intervals import pairwise_estimate

RMSE = Score(
    "rmse",
    "RMSE",
    lambda answers: answers.rmse,
    better=-1,
    decimals=4,
    bounds=(0.0, math.inf),
    title="RMSE",
    sd_title="RMSE SD",
    plot="rmse-sd",
    short="RMSE SD",
)
R_SQUARED = Score(
    "r2",
    "R²",
    lambda answers: answers.r_squared,
    decimals=4,
    bounds=(-math.inf, 1.0),
    title="R²",
    sd_title="R² SD",
    plot="r2-sd",
    short="R² SD",
)
TEST_LOSS = Score(
    "test_loss",
    "loss",
    lambda answers: answers.losses,
    better=-1,
    decimals=4,
    title="test loss",
    sd_title="loss SD",
    plot="test-loss-sd",
    short="loss SD",
)


def _root(e: Estimate) -> Estimate:
    """Return the root of half a mean squared difference: the SD between runs, with its error by the delta method."""
    value = math.sqrt(max(0.0, e.value) / 2)
    error = e.error / (4 * value) if value else e.error
    return Estimate(value, error, math.sqrt(max(0.0, e.low) / 2), math.sqrt(max(0.0, e.high) / 2))


def _spread(answers: Any) -> Estimate:
    return _root(pairwise_estimate(answers.square_distances, distance_from=0.0))


def _correlation(answers: Any) -> Estimate:
    rows, matrix = answers.correlation
    if math.isnan(rows.sum()):
        return UNKNOWN
    return pairwise_estimate(rows, matrix=matrix, distance_from=1.0)


SPREAD = Figure(
    "prediction.sd",
    _spread,
    label="SD of a prediction between runs",
    words="the predictions' SD",
    title="pred. SD",
    decimals=4,
    plot="prediction-sd",
    bounds=(0.0, math.inf),
    origin=0.0,
    effect=lambda answers: answers.square_distances,
    short="pred. SD²",
)
DISTANCE = Figure(
    "distance",
    lambda answers: pairwise_estimate(answers.distances, distance_from=0.0),
    label="mean absolute difference of two runs' predictions",
    words="the distance",
    title="distance",
    decimals=4,
    plot="distance",
    bounds=(0.0, math.inf),
    origin=0.0,
    effect=lambda answers: answers.distances,
    short="distance",
)
MOVED = Figure(
    "moved",
    lambda answers: pairwise_estimate(answers.moved, distance_from=0.0),
    label="predictions of two runs more than 0.1 SD of the labels apart (%)",
    words="the share of predictions that move",
    title="moved (%)",
    plot="moved",
    bounds=(0.0, 100.0),
    origin=0.0,
    effect=lambda answers: answers.moved,
    short="moved",
)
CORRELATION = Figure(
    "correlation.pearson",
    _correlation,
    label="correlation of two runs' outputs",
    words="1 - correlation",
    title="corr.",
    decimals=3,
    plot="correlation",
    bounds=(-1.0, 1.0),
    origin=1.0,
    effect=lambda answers: 1.0 - answers.correlation[0],
    short="1 - corr.",
)
SCORES = (RMSE, R_SQUARED)
FIGURES = (*RMSE.figures(), *R_SQUARED.figures(), SPREAD, DISTANCE, MOVED, CORRELATION)
ANY_SCORES = (TEST_LOSS,)
ANY_FIGURES = (*TEST_LOSS.figures(), SPREAD, DISTANCE, CORRELATION)
