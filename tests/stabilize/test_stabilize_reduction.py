"""Variability reduction: the reference's rows, and what happens where a column cannot be compared."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nondet.measures import measure
from nondet.stabilize.reduction import Columns, columns, reduction

SINGLE = Columns(0.26, 0.0072, 10.7, 0.871, 1.82)


@pytest.mark.parametrize(
    ("row", "percent"),
    [
        (Columns(0.24, 0.0061, 8.2, 0.905, 1.20), 21),
        (Columns(0.16, 0.0033, 4.6, 0.972, 0.38), 61),
        (Columns(0.19, 0.0044, 6.1, 0.957, 0.63), 48),
    ],
    ids=["flip", "accelerated ensemble + flip+crop81", "accelerated ensemble"],
)
def test_rows_of_the_reference(row: Columns, percent: int) -> None:
    """The printed columns of the reference's methods give its printed reductions."""
    assert round(reduction(SINGLE, row)) == percent


@given(st.floats(0, 1))
def test_scaling_every_column_is_the_reduction(share: float) -> None:
    """Columns that all shrink to one share of the baseline's are reduced by the rest; none, by nothing."""
    scaled = Columns(0.26 * share, 0.0072 * share, 10.7 * share, 1 - 0.129 * share, 1.82 * share)
    assert reduction(SINGLE, scaled) == pytest.approx(100 * (1 - share), abs=1e-9)


def test_more_variability_is_negative() -> None:
    """A method that varies twice as much has a reduction of -100 %."""
    assert reduction(SINGLE, Columns(0.52, 0.0144, 21.4, 0.742, 3.64)) == pytest.approx(-100)


@pytest.mark.parametrize(("name", "value"), [("accuracy_sd", 0.0), ("correlation", math.nan), ("ensemble_delta", -0.1)])
def test_columns_without_a_share_are_left_out(name: str, value: float) -> None:
    """A column that is zero, negative or NaN in the baseline does not count, whatever the method's is."""
    halved = Columns(0.13, 0.0036, 5.35, 0.9355, 0.91)
    assert reduction(replace(SINGLE, **{name: value}), replace(halved, **{name: 7.0})) == pytest.approx(50)


def test_a_method_without_a_correlation_is_compared_by_the_rest() -> None:
    """A NaN of the method leaves its column out too."""
    assert reduction(SINGLE, Columns(0.13, 0.0036, 5.35, math.nan, 0.91)) == pytest.approx(50)


def test_no_column_left_is_nan() -> None:
    """Nothing can be reduced where nothing varies."""
    assert math.isnan(reduction(Columns(0, 0, 0, 1, 0), SINGLE))


def test_columns_are_those_of_the_table() -> None:
    """The five columns are read from their places in the measures."""
    rng = np.random.default_rng(3)
    m = measure(rng.standard_normal((5, 40, 3)), rng.integers(3, size=40))
    found = columns(m)
    assert (found.accuracy_sd, found.cross_entropy_sd) == (m.accuracy.sd, m.cross_entropy.sd)
    assert (found.disagreement, found.correlation) == (m.disagreement, m.correlation.pearson)
    assert found.ensemble_delta == m.ensemble_delta.accuracy
