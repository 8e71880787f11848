"""The measures of regression, several labels and pixels, against scikit-learn, plain loops and theory."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, jaccard_score, r2_score, root_mean_squared_error

from nondet.kinds import kind_called
from nondet.measures.pixels import mean_iou
from nondet.measures.real_valued import Predicted
from nondet.measures.several import SeveralAnswers, average_precision

RNG = np.random.default_rng(2)
TRUTH = RNG.normal(size=(40, 3)) * [1.0, 5.0, 0.2]
OUTPUTS = TRUTH + RNG.normal(size=(6, 40, 3)) * [0.3, 2.0, 0.5]


def test_performance_of_predictions_is_scikit_learns() -> None:
    """RMSE over all numbers, and R² whose variances are summed over them."""
    answers = Predicted(OUTPUTS, TRUTH)
    for run in range(6):
        assert answers.rmse[run] == pytest.approx(root_mean_squared_error(TRUTH.ravel(), OUTPUTS[run].ravel()))
        expected = r2_score(TRUTH, OUTPUTS[run], multioutput="variance_weighted")
        assert answers.r_squared[run] == pytest.approx(expected)


def test_r_squared_of_labels_that_do_not_vary_is_not_known() -> None:
    """Nothing is divided by 0."""
    assert all(math.isnan(x) for x in Predicted(OUTPUTS, np.ones((40, 3))).r_squared)


@given(st.integers(2, 7), st.integers(1, 5), st.integers(1, 3), st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_differences_between_runs_are_those_of_all_pairs(runs: int, examples: int, numbers: int, seed: int) -> None:
    """Means over pairs by a plain loop, also where predictions are tied; their mean is over all pairs."""
    rng = np.random.default_rng(seed)
    outputs = np.round(rng.normal(size=(runs, examples, numbers)) * 2, 1) + 1000.0
    labels = rng.normal(size=(examples, numbers))
    answers, bound = Predicted(outputs, labels), 0.1 * labels.std(axis=0)
    for found, pair in (
        (answers.distances, lambda a, b: np.abs(a - b).mean()),
        (answers.square_distances, lambda a, b: np.square(a - b).mean()),
        (answers.moved, lambda a, b: 100 * (np.abs(a - b) > bound).mean()),
    ):
        for run in range(runs):
            others = [pair(outputs[run], outputs[j]) for j in range(runs) if j != run]
            assert found[run] == pytest.approx(np.mean(others), abs=1e-9)
        every = [pair(a, b) for a, b in combinations(outputs, 2)]
        assert found.mean() == pytest.approx(np.mean(every), abs=1e-9)


def test_the_spread_of_normal_predictions_is_their_sd() -> None:
    """Of independent normal predictions, the SD between runs is theirs, and the distance 2 / sqrt(pi) of it."""
    outputs = 3.0 * np.random.default_rng(1).normal(size=(30, 2000, 1))
    answers = Predicted(outputs, np.zeros((2000, 1)))
    figures = {figure.name: figure for figure in kind_called("regression").figures}
    spread, distance = (figures[name].estimate(answers) for name in ("prediction.sd", "distance"))
    assert spread.value == pytest.approx(math.sqrt(outputs.var(axis=0, ddof=1).mean()))
    assert spread.value == pytest.approx(3.0, rel=0.01)
    assert distance.value == pytest.approx(3.0 * 2 / math.sqrt(math.pi), rel=0.01)


def test_the_spreads_interval_covers() -> None:
    """Of runs with an offset of their own, the 95 % interval holds the true SD in about 95 of 100 studies."""
    rng = np.random.default_rng(8)
    figures = {figure.name: figure for figure in kind_called("regression").figures}
    within, tried = 0, 200
    for _ in range(tried):
        outputs = rng.normal(size=(12, 1, 1)) + 0.5 * rng.normal(size=(12, 30, 1))
        e = figures["prediction.sd"].estimate(Predicted(outputs, np.zeros((30, 1))))
        within += e.low <= math.sqrt(1.25) <= e.high
    assert 0.88 <= within / tried <= 0.99


def test_equal_runs_differ_nowhere() -> None:
    """Every distance is exactly 0, and every correlation exactly 1."""
    answers = Predicted(np.repeat(OUTPUTS[:1], 4, axis=0), TRUTH)
    for figure in kind_called("regression").figures:
        if figure.origin is not None:
            assert figure.estimate(answers).value == figure.origin


@given(st.integers(1, 30), st.integers(0, 200))
@settings(max_examples=40, deadline=None)
def test_average_precision_is_scikit_learns(examples: int, seed: int) -> None:
    """Ties count as one threshold."""
    rng = np.random.default_rng(seed)
    logits, truth = np.round(rng.normal(size=examples), 1), rng.integers(2, size=examples)
    found = average_precision(logits, truth)
    if truth.any():
        assert found == pytest.approx(100 * average_precision_score(truth, logits))
    else:
        assert math.isnan(found)


def test_several_labels_with_unknown_ones() -> None:
    """What is not known counts nowhere."""
    logits, labels = RNG.normal(size=(3, 20, 4)), RNG.integers(2, size=(20, 4))
    labels[::3, 1] = -100
    answers = SeveralAnswers(logits, labels)
    for run in range(3):
        parts, hits, losses = [], [], []
        for k in range(4):
            known = labels[:, k] >= 0
            parts.append(average_precision_score(labels[known, k], logits[run, known, k]))
            hits += list((logits[run, known, k] > 0) == labels[known, k])
            p = 1 / (1 + np.exp(-logits[run, known, k]))
            losses += list(-np.log(np.where(labels[known, k] == 1, p, 1 - p)))
        assert answers.mean_average_precision[run] == pytest.approx(100 * np.mean(parts))
        assert answers.accuracy[run] == pytest.approx(100 * np.mean(hits))
        assert answers.losses[run] == pytest.approx(np.mean(losses))


@given(st.integers(2, 5), st.integers(1, 40), st.integers(0, 200))
@settings(max_examples=40, deadline=None)
def test_mean_iou_is_scikit_learns(classes: int, count: int, seed: int) -> None:
    """The mean over the classes that labels or predictions have."""
    rng = np.random.default_rng(seed)
    predicted, labels = rng.integers(classes, size=(2, count)), rng.integers(classes, size=count)
    found = mean_iou(predicted, labels, classes)
    for run in range(2):
        there = sorted({*predicted[run].tolist(), *labels.tolist()})
        expected = jaccard_score(labels, predicted[run], labels=there, average="macro", zero_division=0.0)
        assert found[run] == pytest.approx(100 * expected)
