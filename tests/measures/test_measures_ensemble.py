"""Gains of two-run ensembles, each against theory, another library and a plain loop over pairs."""

from collections.abc import Callable
from itertools import combinations
from typing import Any

import measuring
import numpy as np
import pytest
from scipy import special, stats
from sklearn import metrics

DTYPES = ["float16", "float32", "float64", "int8"]


def plain_accuracy_delta(outputs: Any, labels: Any) -> float:
    """The definition, one pair at a time; accuracies from sklearn.metrics.accuracy_score."""
    gains = []
    for a, b in combinations(outputs.astype(np.float64), 2):
        together = metrics.accuracy_score(labels, (a + b).argmax(axis=-1))
        gains += [100 * (together - metrics.accuracy_score(labels, member.argmax(axis=-1))) for member in (a, b)]
    return float(np.mean(gains))


def plain_cross_entropy_delta(outputs: Any, labels: Any) -> float:
    """The definition, one pair at a time; cross-entropies from scipy.special.log_softmax."""

    def loss(logits: Any) -> Any:
        return -special.log_softmax(logits, axis=-1)[np.arange(len(labels)), labels].mean()

    pairs = combinations(outputs.astype(np.float64), 2)
    return float(np.mean([loss((a + b) / 2) - loss(member) for a, b in pairs for member in (a, b)]))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("classes", [2, 3, 10, 32, 33, 50])
def test_both_deltas_agree_with_a_plain_loop_over_pairs(sample: Callable[..., Any], dtype: str, classes: int) -> None:
    """Few or many classes, with or without ties, the deltas are the definition's."""
    outputs, labels = sample(runs=6, examples=80, classes=classes, dtype=dtype)
    expected = plain_accuracy_delta(outputs, labels), plain_cross_entropy_delta(outputs, labels)
    assert measuring.accuracy_gain(outputs, labels) == pytest.approx(expected[0], abs=1e-9)
    assert measuring.cross_entropy_gain(outputs, labels) == pytest.approx(expected[1], abs=1e-9)


def test_cross_entropy_delta_agrees_with_scikit_learn(sample: Callable[..., Any]) -> None:
    """The delta is a difference of sklearn.metrics.log_loss values, over all pairs and members."""
    outputs, labels = sample()

    def loss(logits: Any) -> float:
        return float(metrics.log_loss(labels, special.softmax(logits, axis=-1), labels=range(4)))

    expected = np.mean([loss((a + b) / 2) - loss(member) for a, b in combinations(outputs, 2) for member in (a, b)])
    assert measuring.cross_entropy_gain(outputs, labels) == pytest.approx(expected, abs=1e-9)


def test_accuracy_delta_of_noisy_margins_is_known() -> None:
    """A margin m with unit noise is right with chance Phi(m), the mean of two with chance Phi(m sqrt(2))."""
    outputs = np.zeros((40, 4000, 2))
    outputs[..., 1] = 0.5 + np.random.default_rng(0).normal(size=(40, 4000))
    expected = 100 * (stats.norm.cdf(0.5 * np.sqrt(2)) - stats.norm.cdf(0.5))
    assert measuring.accuracy_gain(outputs, np.ones(4000, int)) == pytest.approx(expected, abs=0.25)


def test_cross_entropy_delta_is_the_log_overlap_of_two_coins() -> None:
    """Two binary predictions p and q give log(sqrt(p q) + sqrt((1 - p) (1 - q))), whatever the label."""
    p, q = 0.9, 0.3
    outputs = np.log([[[p, 1 - p]], [[q, 1 - q]]])
    expected = np.log(np.sqrt(p * q) + np.sqrt((1 - p) * (1 - q)))
    for label in (0, 1):
        assert measuring.cross_entropy_gain(outputs, [label]) == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("classes", [3, 40])
def test_first_class_wins_a_tie(classes: int) -> None:
    """Where the ensemble's two largest logits tie, the lower class is its prediction."""
    outputs = np.zeros((2, 1, classes), "float16")
    outputs[0, 0, 1], outputs[1, 0, 2] = 1, 1  # together, classes 1 and 2 tie
    # alone, one of the two runs is right for either label; together only class 1 is
    assert measuring.accuracy_gain(outputs, [1]) == 50.0
    assert measuring.accuracy_gain(outputs, [2]) == -50.0


def test_sums_of_half_precision_logits_do_not_round_into_ties() -> None:
    """Sums are taken in float64: 2048 + 1 beats 2048 in it, but ties in float16."""
    outputs = np.array([[[2048, 2048]], [[0, 1]]], "float16")
    # alone: class 0 by its tie, then class 1; together: class 1
    assert measuring.accuracy_gain(outputs, [1]) == 50.0


@pytest.mark.parametrize("size", [1e2, 700.0, 1e3, 1e4, 1e30, 1e99])
def test_extreme_logits_keep_both_deltas_right(sample: Callable[..., Any], size: float) -> None:
    """Confident runs that contradict each other underflow nowhere."""
    outputs, labels = sample()
    outputs = size * outputs
    expected = plain_cross_entropy_delta(outputs, labels)
    assert measuring.cross_entropy_gain(outputs, labels) == pytest.approx(expected, rel=1e-9)
    assert measuring.accuracy_gain(outputs, labels) == pytest.approx(plain_accuracy_delta(outputs, labels))


def test_total_contradiction_at_ten_thousand() -> None:
    """Two runs certain of different classes at ±1e4 lose all of it together: log 2 in place of 0 and 20000."""
    outputs = np.array([[[1e4, -1e4]], [[-1e4, 1e4]]])
    assert measuring.cross_entropy_gain(outputs, [0]) == pytest.approx(np.log(2) - 1e4, rel=1e-15)


def test_contradiction_of_undecided_runs() -> None:
    """Where a member is torn between two classes, its own log 2 is counted, however far apart the runs are."""
    outputs = np.array([[[0.0, 0.0, -2000.0]], [[-2000.0, -2000.0, 0.0]]])
    expected = (np.log(3) - 1000) - np.log(2) / 2
    assert measuring.cross_entropy_gain(outputs, [0]) == pytest.approx(expected, rel=1e-14)


def test_certainty_of_different_sizes_is_told_apart() -> None:
    """Runs whose probabilities are the same 0 and 1 in float64 are not equal: a third tells them apart."""
    margins = np.array([2000.0, 6000.0, -4000.0])
    outputs = np.zeros((3, 1, 2))
    outputs[..., 0] = margins[:, None]
    expected = plain_cross_entropy_delta(outputs, np.array([0]))
    assert expected == pytest.approx(-(1000 + 2000) / 3, rel=1e-12)
    assert measuring.cross_entropy_gain(outputs, [0]) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("classes", [4, 40])
def test_deltas_do_not_depend_on_tiles(
    sample: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, classes: int
) -> None:
    """Reading one or seven examples at a time gives the deltas of reading all at once."""
    outputs, labels = sample(classes=classes)
    both = measuring.accuracy_gain, measuring.cross_entropy_gain
    whole = [delta(outputs, labels) for delta in both]
    for examples in (1, 7):
        monkeypatch.setattr("nondet.measures.ensemble.TILE", examples * 5 * classes)
        parts = [delta(outputs, labels) for delta in both]
        assert parts[0] == whole[0]
        assert parts[1] == pytest.approx(whole[1], rel=1e-13)


def test_a_mixture_of_equal_and_other_runs_counts_every_pair(sample: Callable[..., Any]) -> None:
    """A run that stands twice adds a pair that gains nothing."""
    outputs, labels = sample(runs=2)
    doubled = outputs[[0, 0, 1]]  # pairs: one of equal runs, two of the others
    for delta in (measuring.accuracy_gain, measuring.cross_entropy_gain):
        assert delta(doubled, labels) == pytest.approx(delta(outputs, labels) * 2 / 3, rel=1e-12)
