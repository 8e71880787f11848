"""How similar the runs' inner representations are (linear CKA), and how far their parameters are from the first run's.

Activations have axes `(N, m, d)` = (runs, examples, features), finite and at most 1e100 in size, of one layer at one
epoch; convolutional layers are averaged over space beforehand. Both kinds of CKA compare the runs' m x m Gram matrices,
centred in two ways. The entries of a centred matrix sum to zero, so the cosine of two of them is their Pearson
correlation, whose mean over pairs `diversity.correlation_by_run` finds without a loop over pairs. The Gram matrices
take 8 N m^2 bytes.
Sources: Kornblith et al., ICML 2019; Song et al., JMLR 2012, section 3; Nguyen et al., ICLR 2021.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nondet.errors import BadInput
from nondet.measures.arrays import LARGEST
from nondet.measures.diversity import correlation_by_run
from nondet.stats.values import Floats, as_array, check_runs


def cka_by_run(activations: ArrayLike) -> Floats:
    """Each run's mean linear CKA with the others, `(N,)`, biased: `|Y'X|^2 / (|X'X| |Y'Y|)` of centred X, Y.

    No unit, from 0 to 1. It is high for wide layers on few examples, however different the runs are; see
    `cka_unbiased_by_run`. Equal runs give exactly 1. NaN if a run's activations are the same for all examples.
    """
    return _alignment_by_run(activations, _centred, least=2)


def cka_unbiased_by_run(activations: ArrayLike) -> Floats:
    """Each run's mean linear CKA with the others, `(N,)`, from the unbiased estimator of HSIC; no unit.

    HSIC_1(K, L) = [tr KL + 1'K1 1'L1 / ((m - 1)(m - 2)) - 2 / (m - 2) 1'KL1] / (m (m - 3)), with the diagonals of K and
    L set to zero. It is about 0 for unrelated runs, at most 1, and can be below 0 by chance. Equal runs give exactly 1.
    NaN if a run's estimate of its own HSIC is zero: its activations are the same for all examples, or for all but one.
    """
    return _alignment_by_run(activations, _u_centred, least=4)


def parameter_distance(parameters: ArrayLike) -> tuple[Floats, Floats]:
    """L2 and cosine distance (1 - cosine of the angle, from 0 to 2) of each row `(N, p)` to the first: two `(N,)`.

    The cosine distance is half the squared distance of the vectors scaled to length 1, which keeps its digits for runs
    that are close. NaN if a run's parameters, or the first run's, are all zero.
    """
    rows = _real(parameters, "parameters", "runs and parameters", axes=2)
    first = _finite(rows[0], "parameters", 0)
    l2, cosine = np.empty(len(rows)), np.empty(len(rows))
    for run, row in enumerate(rows):
        other = _finite(row, "parameters", run)
        l2[run] = _length(other - first)
        cosine[run] = _length(_unit(other) - _unit(first)) ** 2 / 2
    return l2, cosine


def _alignment_by_run(activations: ArrayLike, centre: Callable[[Floats], Floats], least: int) -> Floats:
    array = _real(activations, "activations", "runs, examples and features", axes=3)
    runs, examples, _ = array.shape
    check_runs(runs, "activations")
    if examples < least:
        raise BadInput(f"examples must be at least {least} for this CKA (got {examples}); use a larger probe set")
    aligned = np.empty((runs, examples, examples))
    for run, given in enumerate(array):
        aligned[run] = centre(_gram(_finite(given, "activations", run)))
    return correlation_by_run(aligned)


def _gram(x: Floats) -> Floats:
    """Products of the examples' centred features, (m, d) -> (m, m), scaled so that nothing overflows."""
    x = x - x[0]  # equal examples become exactly 0, which subtracting their rounded mean does not ensure
    x /= np.abs(x).max() or 1.0
    x -= x.mean(axis=0)
    return x @ x.T


def _centred(gram: Floats) -> Floats:
    """H K H; the features are centred already, so this only removes rounding."""
    return gram - gram.mean(axis=0) - gram.mean(axis=1)[:, None] + gram.mean()


def _u_centred(gram: Floats) -> Floats:
    """The matrix A of zero row sums and zero diagonal with `HSIC_1(K, L) = sum_ij A_ij B_ij / (m (m - 3))`.

    Source: Székely & Rizzo, Annals of Statistics 2014, section 3 (U-centring).
    """
    m = len(gram)
    size = np.abs(gram).max()
    gram = gram - np.diag(np.diag(gram))
    sums = gram.sum(axis=0) / (m - 2)
    gram += sums.sum() / (m - 1) - sums - sums[:, None]
    np.fill_diagonal(gram, 0.0)
    if np.abs(gram).max() <= 1e-12 * size:  # only rounding: noise must not count as alignment
        gram[:] = 0.0
    return gram


def _unit(x: Floats) -> Floats:
    """The vector scaled to length 1; NaN if it is zero."""
    size = float(np.abs(x).max()) or math.nan
    return x / size / _length(x / size)


def _length(x: Floats) -> float:
    """L2 norm, without squares that underflow."""
    size = float(np.abs(x).max())
    return size * math.sqrt(float(np.square(x / size).sum())) if size else 0.0


def _real(given: ArrayLike, name: str, meaning: str, axes: int) -> NDArray[Any]:
    array = as_array(given, name)
    if array.ndim != axes or array.size == 0 or array.dtype.kind not in "fiu":
        raise BadInput(
            f"{name} must be real numbers with {axes} axes, {meaning}, none of them empty "
            f"(got {array.dtype} of shape {array.shape}); stack one array for each run"
        )
    return array


def _finite(row: NDArray[Any], name: str, run: int) -> Floats:
    """Check that one run's values are finite and small enough to be squared, and return them as float64."""
    values = row.astype(np.float64)
    wrong = ~(np.abs(values) <= LARGEST)
    if wrong.any():
        raise BadInput(
            f"{name} must be finite and at most {LARGEST:g} in size "
            f"(got {values[wrong][0]} in run {run}, counting from 0); leave that run out and count it as failed"
        )
    return values
