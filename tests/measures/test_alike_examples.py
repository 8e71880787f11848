"""The measures of single test examples, against plain loops over runs and pairs."""

from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from measuring import predictions
from scipy import stats

from nondet.errors import BadInput
from nondet.measures import examples
from nondet.measures.diversity import disagreement_of

predicted_arrays = arrays.arrays(np.int64, st.tuples(st.integers(2, 6), st.integers(1, 12)), elements=st.integers(0, 4))


@given(predicted_arrays)
def test_disagreement_by_example_is_a_loop_over_pairs(predicted: np.ndarray) -> None:
    """Each example's share is that of the pairs that differ on it, and the mean over examples is the disagreement."""
    pairs = list(combinations(range(len(predicted)), 2))
    loop = [100 * sum(column[a] != column[b] for a, b in pairs) / len(pairs) for column in predicted.T]
    shares = examples.disagreement_by_example(predicted)
    assert shares == pytest.approx(loop, abs=1e-12)
    assert shares.mean() == pytest.approx(disagreement_of(predicted), abs=1e-10)


@given(predicted_arrays)
def test_votes_entropy_and_minority(predicted: np.ndarray) -> None:
    """The entropy of the votes is scipy's, and the minority is what the largest count leaves."""
    for column, entropy, minority in zip(
        predicted.T, examples.vote_entropy(predicted), examples.minority_share(predicted), strict=True
    ):
        row = np.array([(column == k).sum() for k in range(5)])
        assert entropy == pytest.approx(stats.entropy(row), abs=1e-12)
        assert minority == pytest.approx(100 * (1 - row.max() / len(column)))


@pytest.mark.parametrize("offset", [0, -3, 70_000, 2**40])
def test_numbers_do_not_matter(offset: int) -> None:
    """Predictions are names: other numbers for the same classes change nothing, however far apart they are."""
    predicted = np.random.default_rng(0).integers(0, 3, (5, 40))
    renamed = np.where(predicted == 2, predicted + offset, predicted)
    for measure in (examples.disagreement_by_example, examples.vote_entropy, examples.minority_share):
        assert measure(renamed).tolist() == measure(predicted).tolist()


def test_predictive_entropy_is_scipys(sample: Callable[..., Any]) -> None:
    """The entropy within runs is the mean over runs of the entropy of each run's softmax."""
    outputs, _ = sample()
    exact = stats.entropy(np.exp(outputs), axis=-1).mean(axis=0)
    assert examples.predictive_entropy(outputs) == pytest.approx(exact)


def test_predictive_entropy_of_extremes() -> None:
    """Equal logits give log(c), logits far apart give 0, and no size of logit overflows."""
    equal, far = np.zeros((2, 1, 4)), np.array([[[1e90, 0, -1e90]]] * 2)
    assert examples.predictive_entropy(equal)[0] == pytest.approx(np.log(4))
    assert examples.predictive_entropy(far)[0] == 0


def test_tiles_change_nothing(monkeypatch: pytest.MonkeyPatch, sample: Callable[..., Any]) -> None:
    """The measures are the same with the examples taken one at a time."""
    outputs, labels = sample()
    predicted = predictions(outputs)

    def everything() -> list[Any]:
        return [
            examples.disagreement_by_example(predicted).tolist(),
            examples.minority_share(predicted).tolist(),
            examples.churn_by_class(predicted, labels),
        ]

    whole = everything()
    monkeypatch.setattr("nondet.measures.arrays.TILE", 1)
    assert everything() == whole


def test_most_unstable_and_ties() -> None:
    """Examples come in falling order of their disagreement, and equal ones in their own order."""
    assert examples.most_unstable([0.0, 5.0, 9.0, 5.0, 0.0], 4).tolist() == [2, 1, 3, 0]
    assert examples.most_unstable([1.0], 20).tolist() == [0]
    with pytest.raises(BadInput, match=r"top must be at least 1 \(got 0\)"):
        examples.most_unstable([1.0], 0)


def test_carried() -> None:
    """The worst tenth of ten examples is the worst one; without any disagreement there is no share."""
    assert examples.carried([*[1.0] * 9, 11.0], 10) == pytest.approx(55)
    assert examples.carried([1.0, 2.0], 100) == 100
    assert np.isnan(examples.carried([0.0, 0.0], 10))
    with pytest.raises(BadInput, match="share must be above 0"):
        examples.carried([1.0], 0)


def test_unanimity() -> None:
    """Of four examples the runs agree on three: rightly on two, wrongly on one."""
    found = examples.unanimity([[0, 1, 2, 0], [0, 1, 2, 1]], [0, 1, 0, 0])
    assert found == examples.Unanimity(75, 50, 25)


@given(predicted_arrays, st.integers(0, 2**32 - 1))
def test_churn_by_class_is_a_loop(predicted: np.ndarray, seed: int) -> None:
    """A class's churn is the disagreement on its examples, its error the jackknife that takes each run out in turn."""
    labels = np.random.default_rng(seed).integers(0, 3, predicted.shape[1])
    runs = len(predicted)
    for found in examples.churn_by_class(predicted, labels):
        own = predicted[:, labels == found.label]
        assert found.examples == own.shape[1]
        assert found.churn == pytest.approx(disagreement_of(own), abs=1e-10)
        if runs == 2:
            assert np.isnan(found.error)
        else:
            without = [disagreement_of(np.delete(own, run, axis=0)) for run in range(runs)]
            assert found.error == pytest.approx(np.sqrt((runs - 1) * np.var(without)), abs=1e-9)


def test_churn_interval_covers() -> None:
    """The churn of new runs lies within two jackknife errors of the truth in about 95 % of samples of 20 runs."""
    rng = np.random.default_rng(0)
    answers = rng.integers(0, 3, (400, 30))  # kinds of runs, by which runs differ
    truth = 100 * np.mean([np.mean(answers[:, e][:, None] != answers[:, e]) for e in range(30)])
    inside = 0
    for _ in range(400):
        churn = examples.churn_by_class(answers[rng.integers(0, 400, 20)], np.zeros(30, dtype=int))[0]
        inside += abs(churn.churn - truth) < stats.t.ppf(0.975, 19) * churn.error
    assert 0.92 <= inside / 400 <= 1


@pytest.mark.parametrize(
    ("predicted", "rule"),
    [
        ([[0, 1]], "runs must be at least 2"),
        ([[0.0], [1.0]], "predictions must be integers with two axes"),
        ([0, 1], "predictions must be integers with two axes"),
        ([[], []], "predictions must be integers with two axes"),
        ([[0, 1], [0]], "predictions must be one rectangular array"),
    ],
)
def test_bad_predictions(predicted: Any, rule: str) -> None:
    """Predictions that are not integers of two runs and one example are refused in one sentence."""
    with pytest.raises(BadInput, match=rule):
        examples.disagreement_by_example(predicted)


def test_bad_labels() -> None:
    """Labels of another length are refused."""
    with pytest.raises(BadInput, match="as many labels as examples"):
        examples.churn_by_class([[0, 1], [0, 1]], [0])
