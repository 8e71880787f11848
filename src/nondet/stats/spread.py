"""The SD of an arm, and the ratio of two arms' SDs, with intervals that do not assume normal values."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from nondet.stats.estimate import UNKNOWN, Estimate
from nondet.stats.intervals import sd_interval, student
from nondet.stats.jackknife import jackknife, sds_without_each, summed
from nondet.stats.values import Floats, sd


def sd_of(values: Floats) -> Estimate:
    """SD (ddof = 1) of one number per run, `(N,)`, and the 95 % interval of every table: see `sd_interval`."""
    return Estimate(_size(values), math.nan, *(sd_interval(values) if np.ptp(values) else (math.nan, math.nan)))


def population_sd(values: Floats) -> Estimate:
    """SD with ddof = 0, as in tables of outputs; the interval is for the SD over all possible runs in either case."""
    return replace(sd_of(values), value=sd(values))


def sd_ratio(a: Floats, b: Floats, level: float = 0.05) -> Estimate:
    """SD of b divided by SD of a, with Student's interval on the ratio's logarithm, from jackknife errors of both.

    It is not the F test's interval, which is right only for normal values. Unknown if a does not vary; no interval if
    an SD is 0, or is 0 without one of the runs, as it always is with two.
    Source: Miller, Annals of Mathematical Statistics 39, 1968.
    """
    if not _size(a):
        return UNKNOWN
    ratio, errors = _size(b) / _size(a), [_log_error(x) for x in (a, b)]
    if not (errors[0] and errors[1]):
        return Estimate(ratio)
    error, freedom = summed(np.square(errors), [len(a) - 1, len(b) - 1])
    reach = min(student(freedom, level) * error, 700.0)  # exp of more overflows
    return Estimate(ratio, ratio * error, ratio * math.exp(-reach), ratio * math.exp(reach))


def _size(values: Floats) -> float:
    return float(np.std(values - values[0], ddof=1))


def _log_error(values: Floats) -> float:
    """Jackknife error of the logarithm of the SD; 0 if an SD is 0 or no error is known."""
    if len(values) < 3:
        return 0.0
    left = sds_without_each(np.sort(values))
    return jackknife(np.log(left)) if left.min() > 0 else 0.0
