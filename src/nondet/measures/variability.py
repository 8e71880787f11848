"""Performance variability: how well each run does, and how far the runs spread.

Source: the metrics of Summers & Dinneen, "Nondeterminism and Instability in Neural Network Optimization", ICML 2021.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nondet.errors import BadInput
from nondet.measures.arrays import (
    TILE,
    Cell,
    Floats,
    Integers,
    cells,
    checked,
    checked_labels,
    checked_predictions,
    checked_values,
    in_threads,
    predictions,
)


def accuracy(outputs: ArrayLike, labels: ArrayLike) -> Floats:
    """Accuracy of each run, `(N,)`, in percent: 100 x the share of examples whose largest logit is the label's.

    Where several logits are the largest, the first of their classes is the prediction.

    Args:
        outputs: logits `(N, n, c)`.
        labels: classes `(n,)`.

    Raises:
        BadInput: see `checked`.
    """
    logits, truth = checked(outputs, labels)
    return accuracy_of(predictions(logits), truth)


def accuracy_of(predicted: ArrayLike, labels: ArrayLike) -> Floats:
    """Accuracy of each run, `(N,)`, in percent, from predicted classes.

    Args:
        predicted: classes `(N, n)`, any integers.
        labels: classes `(n,)`.

    Raises:
        BadInput: see `checked_predictions`; or labels that are no integers, or not one for each example.
    """
    classes = checked_predictions(predicted)
    truth = checked_labels(labels, classes.shape[1])
    right = np.count_nonzero(classes == truth, axis=1)  # (N,)
    return 100.0 * right / len(truth)


def cross_entropy(outputs: ArrayLike, labels: ArrayLike) -> Floats:
    """Cross-entropy of each run, `(N,)`, in nats: the mean over examples of `log(sum_k exp(z_k)) - z_label`.

    The largest logit is taken out before the exponentials, so no size of logit overflows.

    Args:
        outputs: logits `(N, n, c)`.
        labels: classes `(n,)`.

    Raises:
        BadInput: see `checked`.
    """
    logits, truth = checked(outputs, labels)

    def loss(cell: Cell) -> Floats:
        return losses_of(logits[cell], truth[cell[1]]).sum(axis=-1)

    total = np.zeros(len(logits))  # (N,)
    parts = cells(logits)
    for (runs, _), losses in zip(parts, in_threads(loss, parts), strict=True):
        total[runs] += losses
    return total / len(truth)


def losses_of(tile: NDArray[Any], truth: Integers) -> Floats:
    """Cross-entropy of every run on every example, `(N, t)`, for a part of the outputs `(N, t, c)` that is copied."""
    wide = tile.astype(np.float64, order="C")
    wide -= wide.max(axis=-1, keepdims=True)
    at_label = np.take_along_axis(wide, truth[None, :, None], axis=-1)[..., 0]
    with np.errstate(under="ignore"):  # a logit far below the largest adds nothing
        return np.log(np.exp(wide, out=wide).sum(axis=-1)) - at_label


def mean(values: ArrayLike) -> float:
    """Mean over runs, in the unit of the values; equal values give exactly that value.

    Args:
        values: one number per run, `(N,)`.

    Raises:
        BadInput: fewer than two values, or one that is not finite.
    """
    ordered = checked_values(values)
    return float(ordered[0] + (ordered - ordered[0]).mean())


def sd(values: ArrayLike) -> float:
    """Standard deviation over runs, in the unit of the values: `sqrt(mean((x - mean(x))^2))`, that is, ddof = 0.

    Equal values give exactly 0. Source: the protocol's accuracy SD and cross-entropy SD.

    Args:
        values: one number per run, `(N,)`.

    Raises:
        BadInput: fewer than two values, or one that is not finite.
    """
    return float(np.sqrt(np.square(_deviations(checked_values(values))).mean()))


def sd_error(values: ArrayLike, resamples: int = 10_000, seed: int = 0) -> float:
    """Error of `sd`, in the unit of the values: the SD (ddof = 0) of the SD over bootstrap resamples of the runs.

    Each resample draws N of the N values with replacement. Equal values give exactly 0; the same values and seed
    always give the same error, whatever the order of the values. With few runs it is too low, as bootstraps are: on
    normal values by about 22 % at N = 5, 16 % at 10 and 4 % at 100, and by more where tails are heavier.
    Source: the protocol's "±", with 10,000 resamples.

    Args:
        values: one number per run, `(N,)`.
        resamples: how many times the runs are drawn again.
        seed: names the random draws.

    Raises:
        BadInput: fewer than two values or resamples, a value that is not finite, or a negative seed.
    """
    if resamples < 2:
        raise BadInput(f"resamples must be at least 2 to have a spread (got {resamples}); the protocol takes 10000")
    if seed < 0:
        raise BadInput(f"seed must be 0 or more (got {seed}); any such integer will do")
    deviations = _deviations(checked_values(values))
    runs = len(deviations)
    step = max(1, TILE // runs)
    draws = np.random.Generator(np.random.Philox(seed))
    spreads = np.empty(resamples)
    for start in range(0, resamples, step):
        part = spreads[start : start + step]
        part[:] = deviations[draws.integers(0, runs, size=(len(part), runs))].std(axis=1)
    return sd(spreads)


def _deviations(ordered: Floats) -> Floats:
    """Distances from the mean. A value is taken out first: the rounded mean of equal values need not equal them."""
    shifted = ordered - ordered[0]
    return shifted - shifted.mean()
