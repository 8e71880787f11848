"""The SD of an arm, and the ratio of two arms' SDs, with intervals that do not assume normal values."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import special

from nondet.stats.values import Floats


@dataclass(frozen=True)
class Estimate:
    """A figure and its interval, or None where there is none."""

    estimate: float | None
    low: float | None
    high: float | None


def sd_of(values: Floats, level: float = 0.05) -> Estimate:
    """SD (ddof = 1) of one number per run, `(N,)`, and its interval.

    A t interval of the SD's logarithm, with the jackknife's error over runs (Miller 1968, Ann. Math. Statist. 39).
    There is none where the SD is 0, or is 0 without one of the runs, as it always is with two.
    """
    size = float(np.std(values - values[0], ddof=1))
    error = _log_error(values)
    if not error:
        return Estimate(size, None, None)
    return _on_log_scale(size, error, len(values) - 1, level)


def sd_ratio(a: Floats, b: Floats, level: float = 0.05) -> Estimate:
    """SD of b divided by SD of a, and its interval: as `sd_of`, with both errors and Welch's degrees of freedom.

    Not the F test's interval, which is right for normal values alone. No estimate where a does not vary.
    """
    sizes = [float(np.std(x - x[0], ddof=1)) for x in (a, b)]
    if not sizes[0]:
        return Estimate(None, None, None)
    errors = [_log_error(x) for x in (a, b)]
    if not (errors[0] and errors[1]):
        return Estimate(sizes[1] / sizes[0], None, None)
    parts = errors[0] ** 2, errors[1] ** 2
    freedom = sum(parts) ** 2 / (parts[0] ** 2 / (len(a) - 1) + parts[1] ** 2 / (len(b) - 1))
    return _on_log_scale(sizes[1] / sizes[0], math.sqrt(sum(parts)), freedom, level)


def _on_log_scale(estimate: float, error: float, freedom: float, level: float) -> Estimate:
    reach = min(float(special.stdtrit(freedom, 1 - level / 2)) * error, 700.0)  # exp of more is no number
    return Estimate(estimate, estimate * math.exp(-reach), estimate * math.exp(reach))


def _log_error(values: Floats) -> float | None:
    """Jackknife error of the logarithm of the SD; None where an SD is 0 or no error is known."""
    runs = len(values)
    if runs < 3:
        return None
    shifted = np.sort(values) - values.min()
    squares = np.square(shifted - shifted.mean())
    total = float(squares.sum())
    left = total - squares * (runs / (runs - 1))  # sum of squares without each run
    if not left.min() > 1e-12 * total:
        return None
    return math.sqrt((runs - 1) * float(np.var(np.log(left) / 2))) or None
