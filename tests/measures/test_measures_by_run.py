"""Each run's mean over its partners, against plain loops over pairs; the measures are the means of these."""

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest
from scipy import special, stats

from nondet import measures

DTYPES = ["float16", "float32", "float64", "int8"]


def over_partners(runs: int, kernel: Callable[[int, int], float]) -> Any:
    """The mean of `kernel(i, j)` over j other than i, for every i."""
    table = np.array([0.0 if i == j else kernel(i, j) for i, j in product(range(runs), repeat=2)])
    return table.reshape(runs, runs).sum(axis=1) / (runs - 1)


@pytest.mark.parametrize("dtype", DTYPES)
def test_disagreement_of_each_run(sample: Callable[..., Any], dtype: str) -> None:
    """A run's disagreement is its mean over the other runs."""
    predicted = measures.predictions(sample(runs=7, dtype=dtype)[0])
    expected = over_partners(7, lambda i, j: 100 * float(np.mean(predicted[i] != predicted[j])))
    rows = measures.disagreement_by_run(predicted)
    np.testing.assert_allclose(rows, expected, rtol=0, atol=1e-12)
    assert rows.mean() == pytest.approx(measures.disagreement_of(predicted), rel=1e-13)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["pearson", "spearman"])
def test_correlation_of_each_run(sample: Callable[..., Any], kind: Any, dtype: str) -> None:
    """A run's correlation is its mean over the other runs; scipy's, with ties ranked in their order."""
    outputs = sample(runs=6, dtype=dtype)[0]
    flat = outputs.reshape(6, -1).astype(np.float64)
    values = flat if kind == "pearson" else stats.rankdata(flat, method="ordinal", axis=1)
    expected = over_partners(6, lambda i, j: float(np.corrcoef(values[i], values[j])[0, 1]))
    rows = measures.correlation_by_run(outputs, kind)
    np.testing.assert_allclose(rows, expected, rtol=0, atol=1e-12)
    assert rows.mean() == getattr(measures, kind)(outputs)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("classes", [2, 3, 10, 40])
def test_accuracy_delta_of_each_run(sample: Callable[..., Any], dtype: str, classes: int) -> None:
    """A run's gain in accuracy is the mean over partners of the pair's accuracy minus its members' mean accuracy."""
    outputs, labels = sample(runs=6, examples=50, classes=classes, dtype=dtype)
    wide = outputs.astype(np.float64)

    def accuracy(logits: Any) -> float:
        return 100 * float(np.mean(logits.argmax(axis=-1) == labels))

    def gain(i: int, j: int) -> float:
        return accuracy(wide[i] + wide[j]) - (accuracy(wide[i]) + accuracy(wide[j])) / 2

    rows = measures.ensemble_accuracy_delta_by_run(outputs, labels)
    np.testing.assert_allclose(rows, over_partners(6, gain), rtol=0, atol=1e-12)
    assert rows.mean() == pytest.approx(measures.ensemble_accuracy_delta(outputs, labels), abs=1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("classes", [2, 3, 10, 40])
def test_cross_entropy_delta_of_each_run(sample: Callable[..., Any], dtype: str, classes: int) -> None:
    """A run's gain in cross-entropy is the mean over partners of the pair's loss minus its members' mean loss."""
    outputs, labels = sample(runs=6, examples=50, classes=classes, dtype=dtype)
    wide = outputs.astype(np.float64)

    def loss(logits: Any) -> float:
        return -float(special.log_softmax(logits, axis=-1)[np.arange(len(labels)), labels].mean())

    def gain(i: int, j: int) -> float:
        return loss((wide[i] + wide[j]) / 2) - (loss(wide[i]) + loss(wide[j])) / 2

    rows = measures.ensemble_cross_entropy_delta_by_run(outputs, labels)
    np.testing.assert_allclose(rows, over_partners(6, gain), rtol=0, atol=1e-12)
    assert rows.mean() == pytest.approx(measures.ensemble_cross_entropy_delta(outputs, labels), abs=1e-14)


@pytest.mark.parametrize("copies", [2, 3, 7, 12])
def test_equal_runs_are_exactly_equal_for_every_partner(sample: Callable[..., Any], copies: int) -> None:
    """Of copies of one run, each agrees with every other exactly."""
    outputs, labels = sample(runs=1)
    copied = np.repeat(outputs, copies, axis=0)
    assert measures.disagreement_by_run(measures.predictions(copied)).tolist() == [0.0] * copies
    assert measures.correlation_by_run(copied, "pearson").tolist() == [1.0] * copies
    assert measures.correlation_by_run(copied, "spearman").tolist() == [1.0] * copies
    assert measures.ensemble_accuracy_delta_by_run(copied, labels).tolist() == [0.0] * copies
    assert measures.ensemble_cross_entropy_delta_by_run(copied, labels).tolist() == [0.0] * copies


@pytest.mark.parametrize("kind", ["pearson", "spearman"])
def test_a_constant_run_leaves_no_correlation_to_any(sample: Callable[..., Any], kind: Any) -> None:
    """A run of equal logits correlates with none, so no run has a mean over its partners."""
    outputs = sample(runs=3)[0]
    outputs[1] = 0.1
    assert np.isnan(measures.correlation_by_run(outputs, kind)).all()
