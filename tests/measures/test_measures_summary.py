"""The record of all measures, and what holds of every measure whatever the outputs."""

import dataclasses
import json
import math
from collections.abc import Callable
from typing import Any

import measuring
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from measuring import measure

import nondet
from nondet import measures
from nondet.errors import BadInput
from nondet.measures.measured import Measures
from nondet.stats.values import mean

repeatable = settings(max_examples=60)


@st.composite
def studies(draw: Callable[..., Any]) -> tuple[Any, Any]:
    """Outputs of every dtype, often with ties, and their labels."""
    runs, examples = draw(st.integers(2, 6)), draw(st.integers(1, 8))
    classes = draw(st.sampled_from([2, 3, 5, 35]))
    whole = st.integers(-2, 2)
    dtype, elements = draw(
        st.sampled_from(
            [
                ("int8", whole),
                ("float16", whole.map(float)),
                ("float16", st.floats(-100, 100, width=16)),
                ("float32", st.floats(-100, 100, width=32)),
                ("float64", st.floats(-1e4, 1e4)),
            ]
        )
    )
    outputs = draw(hnp.arrays(dtype, (runs, examples, classes), elements=elements))
    return outputs, draw(hnp.arrays("int64", examples, elements=st.integers(0, classes - 1)))


def numbers(record: Measures) -> list[float]:
    """Every number of a record, None as nan."""
    flat: list[Any] = []
    found = dataclasses.replace(record, notes=()).to_dict()
    for value in [value for name, value in found.items() if name != "finding"]:
        flat += value.values() if isinstance(value, dict) else [value]
    parts = [part for value in flat for part in (value if isinstance(value, list) else [value])]
    return [math.nan if value is None else value for value in parts]


def test_record_holds_each_measure(sample: Callable[..., Any]) -> None:
    """Each field is the function of its name, and failed runs count among the runs."""
    outputs, labels = sample()
    right, loss = measuring.accuracy(outputs, labels), measuring.cross_entropy(outputs, labels)
    record = measure(outputs, labels, failed=2).to_dict()
    assert "disagree" in record.pop("finding")["headline"]
    assert list(record.pop("errors")) == list(record.pop("intervals"))
    split = dataclasses.asdict(measures.accuracy_variance(measuring.predictions(outputs), labels))
    assert split.pop("examples") == len(labels)
    assert record == {
        "runs": 7,
        "failed": 2,
        "accuracy": {"mean": mean(right), "sd": measures.sd(right), "sd_error": measures.sd_error(right)},
        "cross_entropy": {"mean": mean(loss), "sd": measures.sd(loss), "sd_error": measures.sd_error(loss)},
        "disagreement": measuring.disagreement(outputs),
        "correlation": {"pearson": measuring.pearson(outputs), "spearman": measuring.spearman(outputs)},
        "ensemble_delta": {
            "accuracy": measuring.accuracy_gain(outputs, labels),
            "cross_entropy": measuring.cross_entropy_gain(outputs, labels),
        },
        "accuracy_variance": split,
    }


def test_record_is_plain_json(sample: Callable[..., Any]) -> None:
    """All numbers are Python's own, so the record survives a strict JSON round trip."""
    record = measure(*sample(dtype="float16")).to_dict()
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert {type(value) for value in numbers(measure(*sample(dtype="float16")))} == {int, float}


def test_no_correlation_is_null() -> None:
    """A constant run leaves nan in the record and None in its JSON."""
    record = measure(np.zeros((3, 4, 2)), [0, 1, 0, 1])
    assert math.isnan(record["correlation.pearson"].value)
    assert record.to_dict()["correlation"] == {"pearson": None, "spearman": None}


def test_record_cannot_be_changed(sample: Callable[..., Any]) -> None:
    """A record is frozen."""
    record = measure(*sample())
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign to field 'runs'"):
        record.runs = 3  # type: ignore[misc]


def test_negative_failures_are_refused() -> None:
    """A negative number of failed runs is refused in one sentence."""
    with pytest.raises(BadInput, match=r"failed runs must be 0 or more \(got -1\)"):
        measure(np.zeros((2, 1, 2)), [0], failed=-1)


def test_largest_logits_are_measured() -> None:
    """The largest logits that pass the check overflow nowhere."""
    outputs = np.array([[[1e100, -1e100]], [[-1e100, 1e100]]])
    record = measure(outputs, [0])
    assert record["cross_entropy.mean"].value == 1e100
    assert record["ensemble_delta.cross_entropy"].value == -1e100
    assert record["correlation.pearson"].value == pytest.approx(-1.0)


@repeatable
@given(study=studies(), seed=st.integers(0, 1000))
def test_order_of_runs_is_irrelevant(study: tuple[Any, Any], seed: int) -> None:
    """Runs in another order give the same record, up to the last digits of the pairwise sums."""
    outputs, labels = study
    order = np.random.default_rng(seed).permutation(len(outputs))
    one, other = measure(outputs, labels), measure(outputs[order], labels)
    for name in ("accuracy.mean", "accuracy.sd", "cross_entropy.mean", "cross_entropy.sd"):
        assert one[name] == other[name]
    assert one["disagreement"].value == other["disagreement"].value
    assert one["ensemble_delta.accuracy"].value == other["ensemble_delta.accuracy"].value
    assert numbers(one) == pytest.approx(numbers(other), rel=1e-12, abs=1e-12, nan_ok=True)


@repeatable
@given(study=studies(), seed=st.integers(0, 1000))
def test_order_of_examples_is_irrelevant(study: tuple[Any, Any], seed: int) -> None:
    """Examples in another order give the same record; Spearman's ties follow the order, so there only without them."""
    outputs, labels = study
    order = np.random.default_rng(seed).permutation(len(labels))
    one, other = measure(outputs, labels), measure(outputs[:, order], labels[order])
    if any(len(np.unique(run)) < run.size for run in outputs):
        one, other = (
            dataclasses.replace(
                record, estimates={n: u for n, u in record.estimates.items() if n != "correlation.spearman"}
            )
            for record in (one, other)
        )
    assert numbers(one) == pytest.approx(numbers(other), rel=1e-9, abs=1e-9, nan_ok=True)


@repeatable
@given(study=studies(), copies=st.integers(2, 9))
def test_equal_runs_do_not_differ_at_all(study: tuple[Any, Any], copies: int) -> None:
    """Copies of one run vary by exactly 0, disagree nowhere, correlate at exactly 1 and gain exactly nothing."""
    outputs, labels = study
    record = measure(np.repeat(outputs[:1], copies, axis=0), labels)
    for spread in (record["accuracy.sd"], record["cross_entropy.sd"]):
        assert (spread.value, spread.error) == (0.0, 0.0)
    assert record["disagreement"].value == 0.0
    assert record.to_dict()["ensemble_delta"] == {"accuracy": 0.0, "cross_entropy": 0.0}
    if len(np.unique(outputs[0])) > 1:
        assert record.to_dict()["correlation"] == {"pearson": 1.0, "spearman": 1.0}
    else:
        assert math.isnan(record["correlation.pearson"].value)
        assert math.isnan(record["correlation.spearman"].value)


@repeatable
@given(study=studies())
def test_every_measure_keeps_its_bounds(study: tuple[Any, Any]) -> None:
    """Percentages, correlations, spreads and gains stay in their ranges."""
    outputs, labels = study
    runs = len(outputs)
    record = measure(outputs, labels)
    assert 0 <= record["accuracy.mean"].value <= 100
    assert 0 <= record["accuracy.sd"].value <= 50
    assert 0 <= record["disagreement"].value <= 100
    assert record["cross_entropy.mean"].value >= 0
    assert min(record["cross_entropy.sd"].value, record["cross_entropy.sd"].error, record["accuracy.sd"].error) >= 0
    for value in (record[f"correlation.{kind}"].value for kind in ("pearson", "spearman")):
        # N rows cannot all point away from each other: the mean over pairs is at least -1/(N-1)
        assert math.isnan(value) or -1 / (runs - 1) - 1e-12 <= value <= 1
    assert -100 <= record["ensemble_delta.accuracy"].value <= 100
    assert record["ensemble_delta.cross_entropy"].value <= 0


@repeatable
@given(study=studies())
def test_precision_of_the_input_does_not_matter(study: tuple[Any, Any]) -> None:
    """The same numbers in float64 give the same record to the last bit, and so do numbers in another memory order."""
    outputs, labels = study
    record = numbers(measure(outputs, labels))
    np.testing.assert_array_equal(numbers(measure(outputs.astype(np.float64), labels)), record)
    np.testing.assert_array_equal(numbers(measure(np.asfortranarray(outputs), labels)), record)


def test_different_runs_with_the_same_figure_have_no_interval() -> None:
    """Runs that are right on every example vary, though their accuracy does not: no proof that others' would not."""
    labels = np.arange(20) % 3
    outputs = 9 * np.eye(3)[labels] + np.random.default_rng(0).normal(size=(6, 20, 3))
    found = nondet.measure(outputs, labels)
    for name in ("accuracy.mean", "accuracy.sd", "disagreement"):
        assert (found[name].error, found[name].known, math.isnan(found[name].low)) == (0.0, False, True), name
    assert found["cross_entropy.sd"].known
