"""The measures of language models: perplexity instead of accuracy, and a sample of tokens if all would not fit.

All logits of a run are n x V numbers, 3 GB for 10,000 words and 82,000 tokens. So a run keeps each token's target
log-probability and top prediction, and its logits at a sample of tokens. Perplexity, cross-entropy and disagreement
come from all tokens; correlation and ensemble delta come from the sample.
Source: Summers & Dinneen, ICML 2021.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nondet.errors import BadInput
from nondet.measures.arrays import tiles
from nondet.measures.by_example import added_variance, losses_by_example
from nondet.measures.variability import chosen_and_losses, log_sum_exp
from nondet.stats.values import LARGEST_VALUE, Floats, Integers, as_array, check_runs

SAMPLE = 256
"""Tokens in the sample, if the text has so many."""

TINY = 1e-150  # below this an overlap is computed in logarithms


def sample_tokens(n: int) -> Integers:
    """The tokens of a text of n whose logits are kept, `(k,)`: SAMPLE, evenly spaced, or all if there are fewer.

    They depend on n alone, so every run of a task keeps the same ones.
    """
    count = min(SAMPLE, n)
    return (2 * np.arange(count, dtype=np.int64) + 1) * n // max(1, 2 * count)


def token_cross_entropy(logprob: ArrayLike) -> Floats:
    """Cross-entropy of each run, `(N,)`, in nats a token: minus the mean log-probability of its targets `(N, n)`."""
    array = as_array(logprob, "logprob")
    if array.ndim != 2 or array.dtype.kind != "f" or array.shape[1] < 1:
        raise BadInput(
            "logprob must be floats with two axes, runs and tokens "
            f"(got {array.dtype} of shape {array.shape}); give one row for each run"
        )
    check_runs(len(array), "logprob")
    losses: Floats = -array.mean(axis=1, dtype=np.float64)
    if not np.isfinite(losses).all() or array.max() > 1e-3:  # half precision rounds a certain token's 0
        raise BadInput(
            f"logprob must be finite and at most 0 (got {array.max()} as the largest); leave failed runs out"
        )
    return losses


def perplexity(losses: ArrayLike) -> Floats:
    """exp of a cross-entropy in nats a token; infinite if that leaves the range of float64."""
    with np.errstate(over="ignore"):
        return np.exp(np.asarray(losses, dtype=np.float64))


def language_delta_by_run(logits: NDArray[Any], labels: Integers) -> tuple[Floats, Floats]:
    """Each run's mean gain over its partners, in perplexity (NaN if too large) and in nats, two `(N,)`.

    A pair's cross-entropy is the mean of its members' plus the mean logarithm of the overlap of their predicted
    distributions, `sum_k sqrt(p_k q_k)`: exponentials are taken once per run, not once per pair. Equal runs give 0.

    Args:
        logits: `(N, k, V)`. labels: target tokens `(k,)`.
    """
    alone = chosen_and_losses(logits, labels)[1]  # (N,)
    logs = np.zeros((len(alone), len(alone)))
    for _, run, found in _log_overlaps(logits):
        logs[run, run + 1 :] += found.sum(axis=1)
    logs = np.minimum(0.0, logs / logits.shape[1])  # rounding could leave 1e-17
    logs += logs.T
    partners = len(alone) - 1
    members = perplexity(alone)
    if members.max() > LARGEST_VALUE:
        return np.full(len(alone), math.nan), logs.sum(axis=1) / partners
    middle = np.minimum.outer(alone, alone) + np.abs(np.subtract.outer(alone, alone)) / 2
    gains = perplexity(middle + logs) - (members[:, None] + members) / 2
    np.fill_diagonal(gains, 0.0)
    return gains.sum(axis=1) / partners, logs.sum(axis=1) / partners


def language_added(logits: NDArray[Any], labels: Integers) -> dict[str, float]:
    """What drawing the tokens adds to the variance of the ensembles' gains of some runs `(m, k, V)`, by name.

    To first order, a token's part in a pair's gain in perplexity is the pair's loss on it times the pair's perplexity,
    less the mean of the same product over both members.
    """
    alone = losses_by_example(logits, labels)  # (m, k)
    overlaps = np.zeros((len(logits), *alone.shape))  # (m, m, k)
    for part, run, logs in _log_overlaps(logits):
        overlaps[run, run + 1 :, part] = overlaps[run + 1 :, run, part] = logs
    members = perplexity(alone.mean(axis=1))
    partners = len(alone) - 1
    added = {"cross_entropy": added_variance(overlaps.sum(axis=1) / partners, 2), "perplexity": math.nan}
    if members.max() <= LARGEST_VALUE:
        pairs = (alone[:, None] + alone) / 2 + overlaps  # (m, m, k)
        weighted = perplexity(pairs.mean(axis=2))[..., None] * pairs
        own = members[:, None] * alone
        gains = weighted - (own[:, None] + own) / 2  # 0 for a run with itself
        added["perplexity"] = added_variance(gains.sum(axis=1) / partners, 2)
    return added


def _log_overlaps(logits: NDArray[Any]) -> Iterator[tuple[slice, int, Floats]]:
    """Yield some tokens, a run, and the logarithms of its overlaps with each later run `(N - run - 1, t)`.

    The overlap's square is `S_ij^2 / (S_ii S_jj)` with `S_ij = sum_k exp(a_k / 2) exp(b_k / 2)`: the quotient of equal
    numbers is 1, so equal runs give exactly 0.
    """
    for part, tile in tiles(logits):  # (N, t, V)
        half = (tile - tile.max(axis=-1, keepdims=True)) / 2
        with np.errstate(under="ignore"):
            weights = np.exp(half)
            own = np.einsum("ntv,ntv->nt", weights, weights)
        for run in range(len(logits) - 1):
            with np.errstate(under="ignore"):
                shared = np.einsum("mtv,tv->mt", weights[run + 1 :], weights[run])
                logs = np.log(np.maximum(shared, TINY) ** 2 / (own[run] * own[run + 1 :])) / 2
                lost = np.nonzero(shared < TINY)
                if len(lost[0]):  # far apart: stay in logarithms
                    sums = half[run + 1 + lost[0], lost[1]] + half[run, lost[1]]
                    logs[lost] = log_sum_exp(sums) - np.log(own[run, lost[1]] * own[run + 1 + lost[0], lost[1]]) / 2
            yield part, run, logs
