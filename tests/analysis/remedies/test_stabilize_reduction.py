"""Variability reduction: the reference's rows, and what happens where a column cannot be compared."""

from __future__ import annotations

import math
from typing import Any

import measuring
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from measuring import measure

from nondet import measures
from nondet.analysis.remedies.methods import _groups, grouped
from nondet.analysis.remedies.reduction import (
    Columns,
    Influences,
    columns,
    influences,
    reduction,
    reduction_uncertainty,
)

SINGLE = (0.26, 0.0072, 10.7, 1 - 0.871, 1.82)


@pytest.mark.parametrize(
    ("row", "percent"),
    [
        ((0.24, 0.0061, 8.2, 1 - 0.905, 1.20), 21),
        ((0.16, 0.0033, 4.6, 1 - 0.972, 0.38), 61),
        ((0.19, 0.0044, 6.1, 1 - 0.957, 0.63), 48),
    ],
    ids=["flip", "accelerated ensemble + flip+crop81", "accelerated ensemble"],
)
def test_rows_of_the_reference(row: Columns, percent: int) -> None:
    """The printed columns of the reference's methods give its printed reductions."""
    assert round(reduction(SINGLE, row)) == percent


@given(st.floats(0, 1))
def test_scaling_every_column_is_the_reduction(share: float) -> None:
    """Columns that all shrink to one share of the baseline's are reduced by the rest; none, by nothing."""
    scaled = tuple(share * column for column in SINGLE)
    assert reduction(SINGLE, scaled) == pytest.approx(100 * (1 - share), abs=1e-9)


def test_more_variability_is_negative() -> None:
    """A method that varies twice as much has a reduction of -100 %."""
    assert reduction(SINGLE, (0.52, 0.0144, 21.4, 1 - 0.742, 3.64)) == pytest.approx(-100)


@pytest.mark.parametrize(("place", "value"), [(0, 0.0), (3, math.nan), (4, -0.1)])
def test_columns_without_a_share_are_left_out(place: int, value: float) -> None:
    """A column that is zero, negative or NaN in the baseline does not count, whatever the method's is."""
    single, halved = list(SINGLE), [column / 2 for column in SINGLE]
    single[place], halved[place] = value, 7.0
    assert reduction(tuple(single), tuple(halved)) == pytest.approx(50)


def test_a_method_without_a_correlation_is_compared_by_the_rest() -> None:
    """A NaN of the method leaves its column out too."""
    assert reduction(SINGLE, (0.13, 0.0036, 5.35, math.nan, 0.91)) == pytest.approx(50)


def test_no_column_left_is_nan() -> None:
    """Nothing can be reduced where nothing varies."""
    assert math.isnan(reduction((0, 0, 0, 0, 0), SINGLE))


def test_columns_are_those_of_the_table() -> None:
    """The five columns are read from their places in the measures; unbiased SDs are those of ddof = 1."""
    rng = np.random.default_rng(3)
    m = measure(rng.standard_normal((5, 40, 3)), rng.integers(3, size=40))
    others = (m["disagreement"].value, 1 - m["correlation.pearson"].value, m["ensemble_delta.accuracy"].value)
    assert columns(m) == (m["accuracy.sd"].value, m["cross_entropy.sd"].value, *others)
    more = math.sqrt(5 / 4)
    assert columns(m, unbiased=True) == pytest.approx(
        (more * m["accuracy.sd"].value, more * m["cross_entropy.sd"].value, *others)
    )


# --- errors and intervals ----------------------------------------------------------------------------------------

LABELS = np.random.default_rng(7).integers(3, size=60)
MEAN = 1.5 * (np.random.default_rng(8).normal(size=(60, 3)) + 1.5 * np.eye(3)[LABELS])


def drawn(rng: np.random.Generator, runs: int) -> dict[str, Any]:
    """Single models; a method from the same runs, which has a part of their noise; one from trainings of its own."""
    own, other, apart = (np.exp(0.2 * rng.normal(size=(runs, 1, 1))) * rng.normal(size=(runs, 60, 3)) for _ in range(3))
    return {"single": MEAN + own, "same runs": MEAN + 0.8 * own + 0.3 * other, "trained apart": MEAN + 0.7 * apart}


def plain_columns(z: Any) -> Columns:
    return (
        math.sqrt(len(z) / (len(z) - 1)) * measures.sd(measuring.accuracy(z, LABELS)),
        math.sqrt(len(z) / (len(z) - 1)) * measures.sd(measuring.cross_entropy(z, LABELS)),
        measuring.disagreement(z),
        1 - measuring.pearson(z),
        measuring.accuracy_gain(z, LABELS),
    )


def uncertainty(single: Any, method: Any, of_single: Any, of_method: Any) -> Any:
    return reduction_uncertainty(
        plain_columns(single),
        plain_columns(method),
        influences(single, LABELS, of_single),
        influences(method, LABELS, of_method),
    )


def jackknife(values: Any) -> float:
    return math.sqrt((len(values) - 1) * np.var(values))


def test_the_error_is_the_jackknifes_of_what_varies_together() -> None:
    """Of the same runs, each is left out of both; of others, out of one at a time, and the variances are summed."""
    z = drawn(np.random.default_rng(0), 40)
    single, same, apart = z.values()
    both = [reduction(plain_columns(np.delete(single, i, 0)), plain_columns(np.delete(same, i, 0))) for i in range(40)]
    assert uncertainty(single, same, range(40), range(40)).error == pytest.approx(jackknife(both), rel=0.05)
    ours = [reduction(plain_columns(np.delete(single, i, 0)), plain_columns(apart)) for i in range(40)]
    theirs = [reduction(plain_columns(single), plain_columns(np.delete(apart, i, 0))) for i in range(40)]
    expected = math.hypot(jackknife(ours), jackknife(theirs))
    assert uncertainty(single, apart, range(40), range(40, 80)).error == pytest.approx(expected, rel=0.05)


def test_runs_of_one_ensemble_are_left_out_together() -> None:
    """The groups of the baseline's runs are those of the ensembles; what is left over is on its own."""
    assert _groups(7, 3) == (0, 0, 0, 1, 1, 1, "run 6")
    single = drawn(np.random.default_rng(1), 41)["single"]
    pairs = grouped(single, 2)
    left = [
        reduction(plain_columns(np.delete(single, [2 * i, 2 * i + 1], 0)), plain_columns(np.delete(pairs, i, 0)))
        for i in range(20)
    ]
    assert uncertainty(single, pairs, _groups(41, 2), range(20)).error == pytest.approx(jackknife(left), rel=0.1)


def test_no_reduction_has_no_error_where_nothing_is_left() -> None:
    """Two answers, a method that does not vary, and a baseline that does not, have no interval."""
    z = drawn(np.random.default_rng(2), 6)
    assert math.isnan(uncertainty(z["single"], z["same runs"][:2], range(6), range(2)).error)
    constant = np.repeat(z["single"][:1], 6, axis=0)
    u = uncertainty(z["single"], constant, range(6), range(6))
    assert (u.error, math.isnan(u.low), math.isnan(u.high)) == (0, True, True)
    assert math.isnan(uncertainty(constant, z["single"], range(6), range(6)).low)


def test_equal_methods_reduce_nothing_for_certain() -> None:
    """A method that is the baseline has a reduction of 0 without any error: all that its runs do, they do to both."""
    z = drawn(np.random.default_rng(3), 8)["single"]
    u = uncertainty(z, z, range(8), range(8))
    assert (u.error, u.low, u.high) == pytest.approx((0, 0, 0), abs=1e-9)
    apart = uncertainty(z, z, range(8), range(8, 16))
    assert apart.low < -1 < 1 < apart.high


@pytest.mark.slow
def test_coverage() -> None:
    """The interval holds the reduction of very many runs in 92 to 98 cases of 100."""
    cases, runs = 250, 10
    many = drawn(np.random.default_rng(100), 1500)
    baseline = plain_columns(many["single"])
    truth = {name: reduction(baseline, plain_columns(z)) for name, z in many.items()}
    truth["pairs"] = reduction(baseline, plain_columns(grouped(many["single"], 2)))
    held = dict.fromkeys(("same runs", "trained apart", "pairs"), 0)
    rng = np.random.default_rng(runs)
    for _ in range(cases):
        z = drawn(rng, runs)
        before, of_single = plain_columns(z["single"]), influences(z["single"], LABELS, range(runs))
        z["pairs"] = grouped(z["single"], 2)
        for name in held:
            units = _groups(runs, 2) if name == "pairs" else of_single.units
            after = influences(z[name], LABELS, range(len(z[name])))
            u = reduction_uncertainty(before, plain_columns(z[name]), Influences(of_single.by_answer, units), after)
            held[name] += u.low <= truth[name] <= u.high
    for name, count in held.items():
        assert 0.92 - 0.02 <= count / cases <= 0.98 + 0.014, name  # 1.2 and 1.6 standard errors of 250 cases
