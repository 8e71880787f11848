"""Levels of several looks, and intervals of runs that were added until an error was small enough."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

import nondet as nd
from nondet.stats.estimate import UNKNOWN, Estimate, certain
from nondet.stats.intervals import mean_estimate
from nondet.stats.looks import after_rule, look_level

Nondet = Callable[..., Any]
RULED = Path(__file__).parents[1] / "fixtures" / "0.1" / "kept" / "until"


def test_an_interval_after_a_rule_is_that_of_two_looks() -> None:
    """Student's interval of a mean at the level of two looks; of a distance likewise, on the logarithm."""
    values = np.random.Generator(np.random.Philox(3)).normal(5, 1, size=12)
    found = after_rule(mean_estimate(values), 12)
    expected = stats.t.interval(0.95**0.5, 11, values.mean(), stats.sem(values))
    assert (found.low, found.high) == pytest.approx(expected)
    assert look_level(0.05, 2) == pytest.approx(1 - 0.95**0.5)
    factor = stats.t.ppf((1 + 0.95**0.5) / 2, 11) / stats.t.ppf(0.975, 11)
    distance = after_rule(Estimate(0.9, 0.01, 0.8, 0.95), 12, origin=1.0)
    assert 1 - distance.low == pytest.approx(0.1 * (0.2 / 0.1) ** factor)
    assert 1 - distance.high == pytest.approx(0.1 * (0.05 / 0.1) ** factor)
    assert after_rule(Estimate(0.9, 0.01, 0.8, 1.0), 12, origin=1.0).high == 1.0
    for e in (UNKNOWN, certain(0.5), Estimate(0.5, 0.1)):
        assert repr(after_rule(e, 12, origin=0.0)) == repr(e)


def test_means_are_held_after_a_rule_that_stops_at_small_errors() -> None:
    """Of skewed values that are added until their SD's error is small, the wider interval holds as often as it says."""
    rng = np.random.Generator(np.random.Philox(4))
    held = np.zeros(2)
    for values in rng.exponential(size=(600, 200)):
        runs = 20
        while runs < 200:
            squares = np.square(values[:runs] - values[:runs].mean())
            if squares.std() / math.sqrt(runs) / math.sqrt(squares.mean()) / 2 < 0.1:
                break
            runs += 10
        e = mean_estimate(values[:runs])
        wide = after_rule(e, runs)
        held += [wide.low <= 1 <= wide.high, e.low <= 1 <= e.high]
    assert held[0] / 600 > 0.92
    assert held[1] < held[0]


def test_commands_give_the_wider_interval(nondet: Nondet) -> None:
    """Of a study whose runs a rule added `show`, `measure` and `plan` have one interval, wider than its values' own."""
    runs = nd.open(RULED)["init"]
    shown = next(c for c in nondet("show", RULED, "--json").json["conditions"] if c["name"] == "init")
    found = nd.measure(runs)
    usual = nd.measure(runs.outputs, runs.labels)
    for name in ("accuracy.mean", "accuracy.sd", "disagreement", "correlation.pearson"):
        e, narrow = found[name], usual[name]
        assert shown["intervals"][name] == [e.low, e.high]
        assert e.value == narrow.value
        assert e.error == narrow.error
        assert e.low <= narrow.low < narrow.high <= e.high
        assert e.high - e.low > narrow.high - narrow.low
    interval = nd.plan(1.0, pilot=f"{RULED}:init").sd
    assert (interval.low, interval.high) == pytest.approx((found["accuracy.sd"].low, found["accuracy.sd"].high))
