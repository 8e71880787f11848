"""Which test examples the runs disagree on: votes, disagreement and entropy of each example, and churn of each class.

Everything except the entropy within runs is computed from predictions alone, any integers `(N, n)`: classes, or the
token numbers of a language model. Labels are `(n,)`. Votes are counted in whole numbers, some examples at a time.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nondet.errors import BadInput
from nondet.measures.arrays import checked_labels, checked_outputs, checked_predictions, tiles, vote_parts
from nondet.stats.intervals import pairwise_error
from nondet.stats.values import Floats, Integers


@dataclass(frozen=True)
class Unanimity:
    """The share of examples on which all runs agree, in percent, and how it splits into right and wrong answers."""

    all: float
    right: float
    wrong: float


@dataclass(frozen=True)
class ClassChurn:
    """Pairwise disagreement on the examples of one true class.

    Attributes:
        label: the class.
        examples: how many test examples it has.
        churn: mean over pairs of the share of these examples that two runs predict differently, in percent.
        error: its jackknife error over runs; NaN for two runs, since neither can be left out.
    """

    label: int
    examples: int
    churn: float
    error: float


def disagreement_by_example(predicted: ArrayLike) -> Floats:
    """Share of pairs of runs that predict an example differently, in percent, `(n,)`; its mean is `disagreement_of`."""
    pairs = math.comb(len(checked_predictions(predicted)), 2)
    return 100.0 * (pairs - _of_votes(predicted, lambda votes: (votes * (votes - 1) // 2).sum(axis=1))) / pairs


def minority_share(predicted: ArrayLike) -> Floats:
    """Share of the runs that do not predict an example's most frequent prediction, `(n,)`, in percent."""
    runs = len(checked_predictions(predicted))
    return 100.0 * (runs - _of_votes(predicted, lambda votes: votes.max(axis=1))) / runs


def vote_entropy(predicted: ArrayLike) -> Floats:
    """Entropy between runs: that of the shares m_k / N of runs that predict k, `(n,)`, in nats; 0 if all agree."""

    def entropy(votes: Integers) -> Floats:
        shares = votes / votes[0].sum()
        return -(shares * np.log(np.where(votes > 0, shares, 1.0))).sum(axis=1)

    return np.maximum(_of_votes(predicted, entropy), 0.0)


def predictive_entropy(outputs: ArrayLike) -> Floats:
    """Entropy within runs: mean over runs of that of `softmax(z)`, z `(N, n, c)`: `(n,)`, in nats; from 0 to log(c)."""
    logits = checked_outputs(outputs)
    entropy = np.empty(logits.shape[1])
    for part, tile in tiles(logits):
        tile -= tile.max(axis=-1, keepdims=True)
        with np.errstate(under="ignore"):  # a logit far below the largest does not count
            weights = np.exp(tile)
            total = weights.sum(axis=-1)  # (N, t), at least 1
            entropy[part] = (np.log(total) - (weights * tile).sum(axis=-1) / total).mean(axis=0)
    return np.maximum(entropy, 0.0)


def most_unstable(by_example: ArrayLike, top: int) -> Integers:
    """The examples with the largest disagreement, largest first, `(top,)` or fewer; ties in the order of the examples.

    by_example: what `disagreement_by_example` returns, `(n,)`. top: how many, at least 1.
    """
    if top < 1:
        raise BadInput(f"top must be at least 1 (got {top}); try 20")
    return np.argsort(-np.asarray(by_example, dtype=np.float64), kind="stable")[:top].astype(np.int64)


def carried(by_example: ArrayLike, share: float) -> float:
    """How much of all disagreement the most unstable examples carry, in percent; NaN if there is no disagreement.

    share: the part of the examples, above 0 and at most 100 percent; rounded up to whole examples.
    """
    if not 0 < share <= 100:
        raise BadInput(f"share must be above 0 and at most 100 percent (got {share}); try 10")
    ordered = np.sort(np.asarray(by_example, dtype=np.float64))[::-1]
    total = math.fsum(ordered)
    return 100.0 * math.fsum(ordered[: math.ceil(len(ordered) * share / 100)]) / total if total else math.nan


def unanimity(predicted: ArrayLike, labels: ArrayLike) -> Unanimity:
    """The share of examples on which all runs agree, and whether they agree on the label or on something else."""
    array = checked_predictions(predicted)
    truth = checked_labels(labels, array.shape[1])
    agree = (array == array[0]).all(axis=0)
    right = int(np.count_nonzero(agree & (array[0] == truth)))
    count, examples = int(np.count_nonzero(agree)), array.shape[1]
    return Unanimity(*(100.0 * number / examples for number in (count, right, count - right)))


def churn_by_class(predicted: ArrayLike, labels: ArrayLike) -> tuple[ClassChurn, ...]:
    """Pairwise disagreement by true class, in the order of the classes; each with its jackknife error over runs.

    Their mean, weighted by the number of examples, is `disagreement`. Error: with U the mean over all pairs and r_i
    that over the pairs with run i, the mean without run i is `U - 2 (r_i - U) / (N - 2)`, so the jackknife's variance
    `(N - 1) / N sum_i (U_-i - mean)^2` (Efron & Stein 1981) is `4 (N - 1) / (N (N - 2)^2) sum_i (r_i - U)^2`.
    """
    array = checked_predictions(predicted)
    runs, examples = array.shape
    names, group = np.unique(checked_labels(labels, examples), return_inverse=True)
    differing = np.zeros((len(names), runs))  # pairs of (example, other run) that differ from this run
    parts, votes = vote_parts(array)
    for part in parts:
        ((places, counts),) = votes(part)
        others = runs - counts[places]  # (N, t): how many runs predict something else
        for k in np.unique(group[part]).tolist():
            differing[k] += others[:, group[part] == k].sum(axis=1)
    sizes = np.bincount(group)
    rows = 100.0 * differing / (sizes[:, None] * (runs - 1))  # (k, N)
    churn = rows.mean(axis=1)
    return tuple(
        ClassChurn(int(name), int(size), float(mean), pairwise_error(row))
        for name, size, mean, row in zip(names, sizes, churn, rows, strict=True)
    )


def _of_votes(predicted: ArrayLike, figure: Callable[[Integers], NDArray[Any]]) -> NDArray[Any]:
    """Compute a number for each example, `(n,)`, from how many runs predict each class, `(t, c)`."""
    parts, votes = vote_parts(checked_predictions(predicted))
    return np.concatenate([figure(counts.reshape(places.shape[1], -1)) for ((places, counts),) in map(votes, parts)])
