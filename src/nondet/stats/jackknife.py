"""Standard errors from leaving one run out, and errors that combine several."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from nondet.stats.values import Floats


def jackknife(without: Floats) -> float:
    """Standard error from a statistic's values without each run in turn: `sqrt((N - 1) / N sum_i (x_i - mean x)^2)`.

    Sources: Arvesen, Annals of Mathematical Statistics 40, 1969; Efron & Stein, Annals of Statistics 9, 1981.

    Args:
        without: `(N,)`. Equal values give exactly 0.
    """
    return float(np.sqrt((len(without) - 1) * (without - without[0]).var()))


def sds_without_each(values: Floats) -> Floats:
    """SD (ddof = 1) of at least three values without each in turn, `(N,)`; exactly 0 if only rounding differs."""
    shifted = values - values[0]  # equal values must become exactly 0
    squares = np.square(shifted - shifted.mean())
    total, runs = float(squares.sum()), len(values)
    left = total - squares * (runs / (runs - 1))
    return np.sqrt(np.where(left > 1e-12 * total, left, 0.0) / (runs - 2))


def summed(variances: ArrayLike, freedom: ArrayLike) -> tuple[float, float]:
    """Error of a sum or difference of independent parts, and its degrees of freedom: `(sum v)^2 / sum (v^2 / f)`.

    Sources: Welch, Biometrika 34, 1947; Satterthwaite, Biometrics Bulletin 2, 1946.

    Args:
        variances: squared error of each part. freedom: degrees of freedom of each; summed up if there is no error.
    """
    parts, degrees = np.asarray(variances, dtype=np.float64), np.asarray(freedom, dtype=np.float64)
    total = float(parts.sum())
    if not total:
        return 0.0, float(degrees.sum())
    return math.sqrt(total), 1 / float(np.sum(np.square(parts / total) / degrees))
