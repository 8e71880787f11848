"""What the measures accept and refuse."""

from pathlib import Path
from typing import Any

import measuring
import numpy as np
import pytest
from measuring import measure

from nondet.errors import BadInput
from nondet.measures import arrays
from nondet.measures.arrays import tiles

OUTPUTS = np.zeros((2, 3, 4))
LABELS = np.array([0, 1, 3])


def spoiled(value: float, dtype: str = "float64") -> np.ndarray[Any, Any]:
    """Outputs with one bad number in run 1, example 2."""
    outputs = np.zeros((3, 4, 2), dtype)
    outputs[1, 2, 1] = value
    outputs[2, 0, 0] = value
    return outputs


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f4", "int8", "uint64", "int64"])
def test_checked_keeps_outputs_as_they_are(dtype: str) -> None:
    """Every real dtype passes, without a copy, and labels come back as int64."""
    outputs = OUTPUTS.astype(dtype)
    kept, labels = arrays.checked(outputs, LABELS.astype("uint8"))
    assert np.shares_memory(kept, outputs)
    assert kept.dtype == np.dtype(dtype)
    assert labels.dtype == np.int64


def test_checked_leaves_a_mapped_file_on_disk(tmp_path: Path) -> None:
    """A memory-mapped file is not read into memory, and measures as an array does."""
    mapped = np.memmap(tmp_path / "outputs", np.float16, "w+", shape=(3, 5, 2))
    mapped[:] = np.random.default_rng(0).normal(size=mapped.shape)
    kept, _ = arrays.checked(mapped, np.zeros(5, int))
    assert np.shares_memory(kept, mapped)
    assert measure(mapped, np.zeros(5, int)) == measure(np.array(mapped), np.zeros(5, int))


def test_measures_leave_their_input_alone() -> None:
    """Measuring does not write into the outputs or the labels."""
    outputs = np.random.default_rng(0).normal(size=(3, 5, 2))
    labels = np.array([0, 1, 0, 1, 1])
    before = outputs.copy(), labels.copy()
    measure(outputs, labels)
    np.testing.assert_array_equal(outputs, before[0])
    np.testing.assert_array_equal(labels, before[1])


def test_nested_lists_are_arrays() -> None:
    """Plain lists are taken as arrays."""
    assert measuring.accuracy([[[0, 1]], [[1, 0]]], [1]).tolist() == [100.0, 0.0]


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        (np.zeros((3, 4)), r"three axes, runs, examples and classes \(got shape \(3, 4\)\); stack"),
        (
            np.zeros((1, 3, 4)),
            r"runs must be at least 2 to measure variability \(got 1\); give outputs of at least two",
        ),
        (np.zeros((0, 3, 4)), r"runs must be at least 2 .* \(got 0\)"),
        (np.zeros((2, 0, 4)), r"examples must be at least 1 \(got 0\)"),
        (np.zeros((2, 3, 1)), r"classes must be at least 2 \(got 1\)"),
        (np.zeros((2, 3, 4), complex), r"float16, float32, float64 or integers \(got complex128\)"),
        (np.zeros((2, 3, 4), bool), r"\(got bool\)"),
        (np.zeros((2, 3, 4), object), r"\(got object\)"),
        (np.zeros((2, 3, 4), "U3"), r"\(got <U3\)"),
        ([[[1.0, 2.0]], [[1.0]]], r"outputs must be one rectangular array \(got lists of unequal lengths\)"),
        (spoiled(np.nan), r"finite .* \(got nan in run 1, example 2, counting from 0\); failed='count'"),
        (spoiled(np.inf, "float16"), r"\(got inf in run 1, example 2,"),
        (spoiled(-np.inf, "float32"), r"\(got -inf in run 1, example 2,"),
        (spoiled(-1e101), r"at most 1e\+100 in size \(got -1e\+101 in run 1, example 2,"),
    ],
)
def test_outputs_that_cannot_be_measured(outputs: Any, message: str) -> None:
    """Bad outputs are refused in one sentence: the rule, the value and the way out."""
    with pytest.raises(BadInput, match=message):
        arrays.checked_outputs(outputs)
    with pytest.raises(BadInput, match=message):
        arrays.checked(outputs, LABELS)


@pytest.mark.skipif(np.dtype(np.longdouble).itemsize == 8, reason="long double is float64 here")
def test_long_double_is_refused() -> None:
    """Outputs wider than float64 would lose digits in silence."""
    with pytest.raises(BadInput, match=r"float16, float32, float64 or integers \(got (float128|longdouble|float96)\)"):
        arrays.checked_outputs(OUTPUTS.astype(np.longdouble))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros((3, 1), int), r"labels must have one axis, examples \(got shape \(3, 1\)\)"),
        ([0.0, 1.0, 3.0], r"labels must be integers \(got float64\); convert .* labels.astype\(int\)"),
        ([True, False, True], r"labels must be integers \(got bool\)"),
        (["cat", "dog", "cat"], r"labels must be integers \(got <U3\)"),
        ([0, 1], r"\(got 2 labels for 3 examples\)"),
        ([0, 4, 9], r"labels must be from 0 to 3 \(got 4 at example 1, counting from 0\)"),
        ([0, 1, -1], r"\(got -1 at example 2, counting from 0\)"),
        (np.array([0, 2**63 + 5, 1], "uint64"), r"\(got 9223372036854775813 at example 1,"),
        ([[0], [1, 2], [3]], r"labels must be one rectangular array"),
    ],
)
def test_labels_that_cannot_be_measured(labels: Any, message: str) -> None:
    """Bad labels are refused in one sentence: the rule, the value and the way out."""
    with pytest.raises(BadInput, match=message):
        arrays.checked(OUTPUTS, labels)


@pytest.mark.parametrize(
    "call",
    [
        measuring.accuracy,
        measuring.cross_entropy,
        measuring.accuracy_gain,
        measuring.cross_entropy_gain,
        measure,
    ],
)
def test_every_labelled_measure_checks_both(call: Any) -> None:
    """No measure of outputs and labels answers for a NaN or a label out of range."""
    with pytest.raises(BadInput, match="outputs must be finite"):
        call(spoiled(np.nan), np.zeros(4, int))
    with pytest.raises(BadInput, match="labels must be from 0 to 1"):
        call(np.zeros((3, 4, 2)), np.full(4, 2))


@pytest.mark.parametrize("call", [measuring.predictions, measuring.disagreement, measuring.pearson, measuring.spearman])
def test_every_other_measure_checks_outputs(call: Any) -> None:
    """No measure of outputs alone answers for a NaN."""
    with pytest.raises(BadInput, match="outputs must be finite"):
        call(spoiled(np.nan))


def test_predictions_take_the_first_of_equal_logits() -> None:
    """A tie goes to the lowest class, as in numpy's argmax."""
    outputs = np.array([[[1, 1, 0], [0, 2, 2]], [[3, 3, 3], [0, 0, 1]]], "float16")
    assert measuring.predictions(outputs).tolist() == [[0, 1], [0, 2]]


def test_tiles_cover_every_example_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts follow each other without gap or overlap, and are float64 copies."""
    monkeypatch.setattr("nondet.measures.arrays.TILE", 20)
    outputs = np.arange(2 * 7 * 3).reshape(2, 7, 3)
    parts = list(tiles(outputs))
    assert [(part.start, part.stop) for part, _ in parts] == [(0, 3), (3, 6), (6, 7)]
    joined = np.concatenate([tile for _, tile in parts], axis=1)
    assert joined.dtype == np.float64
    np.testing.assert_array_equal(joined, outputs)
