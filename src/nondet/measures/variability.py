"""Performance variability: how well each run does, and how far the runs spread.

Source: the metrics of Summers & Dinneen, "Nondeterminism and Instability in Neural Network Optimization", ICML 2021.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nondet.measures.arrays import Cell, cells, in_threads
from nondet.stats.values import Floats, Integers


def chosen_and_losses(logits: NDArray[Any], truth: Integers) -> tuple[Integers, Floats]:
    """Predicted classes `(N, n)` and the cross-entropy of each run `(N,)`, in one pass over what `checked` returns.

    The first of several largest logits is the prediction. The cross-entropy, in nats, is the mean over examples of
    `log(sum_k exp(z_k)) - z_label`; the largest logit is subtracted before the exponentials, so none is too large.
    """
    chosen = np.empty(logits.shape[:2], dtype=np.int64)

    def work(cell: Cell) -> Floats:
        wide = logits[cell].astype(np.float64, order="C")
        chosen[cell] = wide.argmax(axis=-1)
        return losses_of(wide, truth[cell[1]], chosen[cell]).sum(axis=-1)

    total = np.zeros(len(logits))  # (N,)
    parts = cells(logits)
    for (runs, _), losses in zip(parts, in_threads(work, parts, numbers=logits.size), strict=True):
        total[runs] += losses
    return chosen, total / len(truth)


def losses_of(wide: Floats, truth: Integers, chosen: Integers) -> Floats:
    """Cross-entropy of every run on every example, `(N, t)`, for logits `(N, t, c)`, which are overwritten.

    chosen: the place of each largest logit, `(N, t)`.
    """
    wide -= at(wide, chosen)
    label = np.take_along_axis(wide, truth[None, :, None], axis=-1)[..., 0]
    with np.errstate(under="ignore"):  # a logit far below the largest adds nothing
        return np.log(np.exp(wide, out=wide).sum(axis=-1)) - label


def log_sum_exp(rows: Floats) -> Floats:
    """Logarithm of the sum of exponentials over the last axis: scipy.special.logsumexp for finite numbers only."""
    top = rows.max(axis=-1)
    with np.errstate(under="ignore"):  # numbers far below the largest add nothing
        return top + np.log(np.exp(rows - top[..., None]).sum(axis=-1))


def at(wide: Floats, chosen: Integers) -> Floats:
    """The logits `(N, t, 1)` of the chosen classes `(N, t)`."""
    return np.take_along_axis(wide, chosen[..., None], axis=-1)
