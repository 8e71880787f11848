"""Each run's mean over its partners, against plain loops over pairs; the measures are the means of these."""

from collections.abc import Callable
from itertools import product
from typing import Any

import measuring
import numpy as np
import pytest
from measuring import measure
from scipy import special, stats

from nondet.errors import BadInput
from nondet.measures import diversity, ensemble

DTYPES = ["float16", "float32", "float64", "int8"]


def over_partners(runs: int, kernel: Callable[[int, int], float]) -> Any:
    """The mean of `kernel(i, j)` over j other than i, for every i."""
    table = np.array([0.0 if i == j else kernel(i, j) for i, j in product(range(runs), repeat=2)])
    return table.reshape(runs, runs).sum(axis=1) / (runs - 1)


@pytest.mark.parametrize("dtype", DTYPES)
def test_disagreement_of_each_run(sample: Callable[..., Any], dtype: str) -> None:
    """A run's disagreement is its mean over the other runs."""
    predicted = measuring.predictions(sample(runs=7, dtype=dtype)[0])
    expected = over_partners(7, lambda i, j: 100 * float(np.mean(predicted[i] != predicted[j])))
    rows = diversity.disagreement_by_run(predicted)
    np.testing.assert_allclose(rows, expected, rtol=0, atol=1e-12)
    assert rows.mean() == pytest.approx(diversity.disagreement_of(predicted), rel=1e-13)


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        ("int8", [-128, 0, 127]),
        ("uint8", [0, 255]),
        ("int64", [-(2**63), 5, 2**63 - 1]),
        ("int64", [2**63 - 3, 2**63 - 1]),
        ("uint64", [2**64 - 4, 2**64 - 1]),
        ("uint64", [2**63 - 2, 2**63 + 2]),
    ],
)
def test_disagreement_of_the_largest_integers(dtype: str, values: list[int]) -> None:
    """Predictions at the ends of their type's range wrap nowhere."""
    predicted = np.random.default_rng(8).choice(np.array(values, dtype), size=(6, 90))
    expected = over_partners(6, lambda i, j: 100 * float(np.mean(predicted[i] != predicted[j])))
    np.testing.assert_allclose(diversity.disagreement_by_run(predicted), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["pearson", "spearman"])
def test_correlation_of_each_run(sample: Callable[..., Any], kind: Any, dtype: str) -> None:
    """A run's correlation is its mean over the other runs; scipy's, with ties ranked in their order."""
    outputs = sample(runs=6, dtype=dtype)[0]
    flat = outputs.reshape(6, -1).astype(np.float64)
    values = flat if kind == "pearson" else stats.rankdata(flat, method="ordinal", axis=1)
    expected = over_partners(6, lambda i, j: float(np.corrcoef(values[i], values[j])[0, 1]))
    rows = diversity.correlation_by_run(outputs, kind)
    np.testing.assert_allclose(rows, expected, rtol=0, atol=1e-12)
    assert rows.mean() == getattr(measuring, kind)(outputs)


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

    rows = measuring.accuracy_gains(outputs, labels)
    np.testing.assert_allclose(rows, over_partners(6, gain), rtol=0, atol=1e-12)
    assert rows.mean() == pytest.approx(measuring.accuracy_gain(outputs, labels), abs=1e-12)


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

    rows = measuring.cross_entropy_gains(outputs, labels)
    np.testing.assert_allclose(rows, over_partners(6, gain), rtol=0, atol=1e-12)
    assert rows.mean() == pytest.approx(measuring.cross_entropy_gain(outputs, labels), abs=1e-14)


@pytest.mark.parametrize("copies", [2, 3, 7, 12])
def test_equal_runs_are_exactly_equal_for_every_partner(sample: Callable[..., Any], copies: int) -> None:
    """Of copies of one run, each agrees with every other exactly."""
    outputs, labels = sample(runs=1)
    copied = np.repeat(outputs, copies, axis=0)
    assert diversity.disagreement_by_run(measuring.predictions(copied)).tolist() == [0.0] * copies
    assert diversity.correlation_by_run(copied, "pearson").tolist() == [1.0] * copies
    assert diversity.correlation_by_run(copied, "spearman").tolist() == [1.0] * copies
    assert measuring.accuracy_gains(copied, labels).tolist() == [0.0] * copies
    assert measuring.cross_entropy_gains(copied, labels).tolist() == [0.0] * copies


@pytest.mark.parametrize("kind", ["pearson", "spearman"])
def test_a_constant_run_leaves_no_correlation_to_any(sample: Callable[..., Any], kind: Any) -> None:
    """A run of equal logits correlates with none, so no run has a mean over its partners."""
    outputs = sample(runs=3)[0]
    outputs[1] = 0.1
    assert np.isnan(diversity.correlation_by_run(outputs, kind)).all()


def measured(outputs: Any, labels: Any) -> list[Any]:
    """Every figure by run, and the predictions."""
    return [
        predicted := measuring.predictions(outputs),
        measuring.accuracy(outputs, labels),
        measuring.cross_entropy(outputs, labels),
        diversity.disagreement_by_run(predicted),
        diversity.correlation_by_run(outputs, "pearson"),
        diversity.correlation_by_run(outputs, "spearman"),
        measuring.accuracy_gains(outputs, labels),
        measuring.cross_entropy_gains(outputs, labels),
    ]


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of a few numbers, so that small outputs are read in many."""
    for name in ("arrays", "diversity"):
        monkeypatch.setattr(f"nondet.measures.{name}.TILE", 40)
    monkeypatch.setattr("nondet.measures.ensemble.TILE", 700)
    monkeypatch.setattr("nondet.measures.pairs.BLOCK", 30)
    monkeypatch.setattr("nondet.measures.pairs.WIDEST", 3)
    monkeypatch.setattr("nondet.measures.pairs.DEPTH", 4)


@pytest.mark.usefixtures("small_parts")
def test_no_digit_depends_on_the_number_of_threads(sample: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """One thread and many give the same figures to the last bit."""
    outputs, labels = sample(runs=11, examples=70, dtype="float16")
    monkeypatch.setattr("nondet.measures.arrays.available_cores", lambda: 1)
    alone = measured(outputs, labels)
    monkeypatch.setattr("nondet.measures.arrays.available_cores", lambda: 7)
    for one, many in zip(alone, measured(outputs, labels), strict=True):
        np.testing.assert_array_equal(one, many)


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("dtype", DTYPES)
def test_small_parts_give_what_large_ones_give(
    sample: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, dtype: str
) -> None:
    """The division into parts changes no count and no more than the last digits of a sum."""
    outputs, labels = sample(runs=11, examples=70, dtype=dtype)
    parts = measured(outputs, labels)
    monkeypatch.undo()
    for one, other in zip(parts, measured(outputs, labels), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("dtype", DTYPES)
def test_figures_follow_their_runs(sample: Callable[..., Any], dtype: str) -> None:
    """Runs in another order have their figures in that order."""
    outputs, labels = sample(runs=9, dtype=dtype)
    order = np.random.default_rng(5).permutation(9)
    for one, other in zip(measured(outputs, labels), measured(outputs[order], labels), strict=True):
        np.testing.assert_allclose(one[order], other, rtol=1e-13, atol=1e-13)


def ties(rng: np.random.Generator, dtype: str) -> Any:
    """Logits of a few values that float32 cannot tell apart in sums: most ensembles are within rounding of a tie."""
    step = {"float16": 2**-10, "float32": 2**-23, "float64": 2**-50}[dtype]
    return (rng.choice([0.1, 1, -1, 3.3], size=(12, 40, 4)) * (1 + step * rng.integers(-2, 3, (12, 40, 4)))).astype(
        dtype
    )


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("factor", [1.0, 1e-4, 1e4])
def test_near_ties_are_decided_in_float64(dtype: str, factor: float) -> None:
    """Ensembles whose classes are apart by less than float32 can see are right where their sums in float64 are."""
    outputs = (ties(np.random.default_rng(6), dtype) * factor).astype(dtype)
    if dtype != "float16":
        outputs[3] *= 1e6  # one run of another size spoils no other's answers
    labels = np.random.default_rng(7).integers(0, 4, 40)
    wide = outputs.astype(np.float64)

    def gain(i: int, j: int) -> float:
        right = [float(np.mean(logits.argmax(axis=-1) == labels)) for logits in (wide[i] + wide[j], wide[i], wide[j])]
        return 100 * (right[0] - (right[1] + right[2]) / 2)

    rows = measuring.accuracy_gains(outputs, labels)
    np.testing.assert_allclose(rows, over_partners(12, gain), rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", [3, 4000, 5000, 10**6, 2**52])
def test_whole_numbers_of_any_size_tie_exactly(size: int) -> None:
    """Ensembles of whole numbers are right where numpy's sums are, ties to the first class, near the range and past."""
    rng = np.random.default_rng(9)
    outputs = rng.choice([0, 1, -1, size, -size, size - 1, 1 - size], size=(12, 60, 4))
    labels = rng.integers(0, 4, 60)

    def gain(i: int, j: int) -> float:
        right = [100 * float(np.mean(a.argmax(axis=-1) == labels)) for a in (outputs[i] + outputs[j], *outputs[[i, j]])]
        return right[0] - (right[1] + right[2]) / 2

    rows = measuring.accuracy_gains(outputs, labels)
    np.testing.assert_allclose(rows, over_partners(12, gain), rtol=0, atol=1e-12)


def test_overlaps_that_underflow_are_worked_out_in_logarithms(sample: Callable[..., Any]) -> None:
    """Some pairs far apart and some near, in one block, each have their own loss."""
    outputs, labels = sample(runs=8, examples=40)
    outputs *= np.array([1, 1, 30, 300, 1e3, 1e4, 1e30, 1])[:, None, None]
    wide = special.log_softmax(outputs, axis=-1) / 2

    def gain(i: int, j: int) -> float:
        return float(special.logsumexp(wide[i] + wide[j], axis=-1).mean())

    rows = measuring.cross_entropy_gains(outputs, labels)
    np.testing.assert_allclose(rows, over_partners(8, gain), rtol=1e-12)


class TestSampledPairs:
    """Above a number of runs the ensembles are of sampled pairs."""

    @pytest.fixture(autouse=True)
    def few(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Sample from 21 runs on, in groups of about 10."""
        monkeypatch.setattr("nondet.measures.ensemble.EXACT_RUNS", 20)
        monkeypatch.setattr("nondet.measures.ensemble.GROUP", 10)

    def test_every_run_is_in_one_group(self) -> None:
        """Groups divide the runs, and their sizes differ by at most one."""
        for runs in (21, 30, 47, 101):
            groups = ensemble.groups_of(runs)
            assert sorted(np.concatenate(groups)) == list(range(runs))
            sizes = [len(group) for group in groups]
            assert max(sizes) <= 10
            assert max(sizes) - min(sizes) <= 1
            assert ensemble.sampled_pairs(runs) == sum(size * (size - 1) // 2 for size in sizes)
        assert ensemble.sampled_pairs(20) is None

    def test_a_run_is_compared_with_its_group(self, sample: Callable[..., Any]) -> None:
        """A run's figure is that of its group taken by itself."""
        outputs, labels = sample(runs=47)
        for by_run in (measuring.accuracy_gains, measuring.cross_entropy_gains):
            rows = by_run(outputs, labels)
            for group in ensemble.groups_of(47):
                np.testing.assert_array_equal(rows[group], by_run(outputs[group], labels))

    def test_the_sample_is_near_all_pairs(self, sample: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
        """The error from the spread of the groups, which share no run, is the error that was made."""
        outputs, labels = sample(runs=600, examples=40)
        both = measuring.accuracy_gains, measuring.cross_entropy_gains
        sampled = [by_run(outputs, labels) for by_run in both]
        errors = [np.std([rows[g].mean() for g in ensemble.groups_of(600)], ddof=1) / np.sqrt(60) for rows in sampled]
        monkeypatch.setattr("nondet.measures.ensemble.EXACT_RUNS", 600)
        for rows, error, by_run in zip(sampled, errors, both, strict=True):
            assert abs(rows.mean() - by_run(outputs, labels).mean()) < 3 * error
            assert error < abs(rows.mean()) / 10

    def test_the_record_says_how_many(self, sample: Callable[..., Any]) -> None:
        """JSON names the sampled figures and counts their pairs; failed runs are in none; all pairs need no word."""
        record = measure(*sample(runs=25), failed=3)
        pairs = ensemble.sampled_pairs(25)
        expected = {"ensemble_delta.accuracy": pairs, "ensemble_delta.cross_entropy": pairs}
        assert record.to_dict()["sampled_pairs"] == expected
        assert "sampled_pairs" not in measure(*sample(runs=20), failed=3).to_dict()

    def test_equal_runs_gain_nothing(self, sample: Callable[..., Any]) -> None:
        """Sampled pairs of equal runs give exactly 0."""
        outputs, labels = sample(runs=1)
        record = measure(np.repeat(outputs, 33, axis=0), labels)
        assert [record[f"ensemble_delta.{name}"].value for name in ("accuracy", "cross_entropy")] == [0.0, 0.0]


def test_predicted_classes_alone(sample: Callable[..., Any]) -> None:
    """Classes give the accuracy and disagreement that their logits give, and null for the rest."""
    outputs, labels = sample()
    whole = measure(outputs, labels).to_dict()
    alone = measure(measuring.predictions(outputs), labels).to_dict()
    assert (alone["accuracy"], alone["disagreement"]) == (whole["accuracy"], whole["disagreement"])
    assert (alone["runs"], alone["failed"]) == (5, 0)
    for name in ("cross_entropy", "correlation", "ensemble_delta"):
        assert {*alone[name].values()} == {None}
        assert alone[name].keys() == whole[name].keys()


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1], r"there must be as many labels as examples \(got 2 labels for 3 examples\)"),
        ([0.0, 1.0, 2.0], r"labels must be integers \(got float64\)"),
        ([[0], [1], [2]], r"labels must have one axis"),
    ],
)
def test_labels_that_do_not_fit_classes(labels: Any, message: str) -> None:
    """Labels of another test set are refused."""
    with pytest.raises(BadInput, match=message):
        measure([[0, 1, 2], [0, 1, 1]], labels)
