"""One jackknife, and one way to add errors, held against loops and scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from nondet.stats.jackknife import jackknife, sds_without_each, summed

VALUES = st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=12)


@given(values=VALUES)
def test_the_jackknife_of_a_mean_is_its_standard_error(values: list[float]) -> None:
    """Of means without each value it is `sd / sqrt(N)`, whatever the values."""
    x = np.array(values)
    without = np.array([np.delete(x, i).mean() for i in range(len(x))])
    assert jackknife(without) == pytest.approx(x.std(ddof=1) / math.sqrt(len(x)), rel=1e-6, abs=1e-6)


def test_it_is_the_formula() -> None:
    """sqrt((N - 1) / N times the sum of squares about the mean); equal values give exactly 0."""
    left = np.array([1.0, 4.0, 2.5, 7.0])
    assert jackknife(left) == pytest.approx(math.sqrt(3 / 4 * sum((x - left.mean()) ** 2 for x in left)))
    assert jackknife(np.full(5, 0.1)) == 0.0


def test_summed_errors_are_welchs() -> None:
    """The error and the degrees of freedom of scipy's t-test of unequal variances."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=7), 3 * rng.normal(size=12)
    error, freedom = summed([a.var(ddof=1) / 7, b.var(ddof=1) / 12], [6, 11])
    theirs = stats.ttest_ind(b, a, equal_var=False)
    assert freedom == pytest.approx(theirs.df)
    assert (b.mean() - a.mean()) / error == pytest.approx(theirs.statistic)


def test_no_error_keeps_all_degrees_of_freedom() -> None:
    assert summed([0.0, 0.0], [3, 4]) == (0.0, 7.0)
    assert summed([1e-200, 1e-200], [3, 3])[1] == pytest.approx(6.0)


@given(values=VALUES)
def test_an_sd_without_each_value(values: list[float]) -> None:
    """As of a loop that leaves one out at a time; 0 where what is left is equal, up to rounding."""
    x = np.array(values)
    expected = np.array([np.delete(x, i).std(ddof=1) for i in range(len(x))])
    assert sds_without_each(x) == pytest.approx(expected, rel=1e-5, abs=2e-6 * float(np.ptp(x)))
    assert sds_without_each(np.array([0.1, 0.1, 0.1, 0.7])).min() == 0.0
