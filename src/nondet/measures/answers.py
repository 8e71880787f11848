"""The answers of some runs, and the quantities that measures need from them: each is computed once, on request."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nondet.errors import BadInput
from nondet.io.foreign import scratch
from nondet.measures import by_example
from nondet.measures.arrays import checked, checked_classes, checked_predictions, look_like_probabilities
from nondet.measures.diversity import Kind, correlations, disagreement_by_run, disagreement_matrix, disagreement_of
from nondet.measures.ensemble import gains_by_run, sampled_pairs
from nondet.measures.language import (
    language_added,
    language_delta_by_run,
    perplexity,
    sample_tokens,
    token_cross_entropy,
)
from nondet.measures.variability import chosen_and_losses
from nondet.measures.variance import variance_estimates
from nondet.stats.estimate import Estimate
from nondet.stats.values import Floats, Integers, as_array

GROUP = 32
"""So many runs are enough for a quantity that only corrects an error and needs every pair, or all runs at once."""

OF_SAMPLE, MOST_NUMBERS, FEWEST_TOKENS = 8, 2**24, 32
"""OF_SAMPLE runs show how much the tokens of a sample differ. If their logits are more than MOST_NUMBERS, fewer tokens
are used, evenly spaced, but at least FEWEST_TOKENS."""

UNLIKE = 4.0
"""A sample is unlike the rest if its mean loss differs from that of all tokens by more than so many standard errors."""


class Pairs:
    """How N runs answer: what each decides (N, n), and its outputs (N, k, c) on the same or on fewer examples.

    classes_alone: whether only predicted classes are known. groups: the number of each example's group, from 0, `(n,)`,
    if groups of examples are drawn together. sample: how many examples `outputs` has, if not all.
    """

    outputs: NDArray[Any]
    labels: NDArray[Any]
    predicted: Integers
    losses: Floats
    runs: int
    examples: int
    classes_alone = False
    groups: Integers | None = None
    sample: int | None = None
    sampled_pairs: int | None = None

    @cached_property
    def equal(self) -> bool:
        """Whether all runs are equal."""
        return bool((self.outputs == self.outputs[0]).all())

    @cached_property
    def decided(self) -> Integers:
        """What two runs agree or disagree on."""
        return self.predicted

    @cached_property
    def some(self) -> Integers:
        return some_runs(self.decided, None if self.classes_alone else self.losses)

    @cached_property
    def disagreement_by_run(self) -> Floats:
        return disagreement_by_run(self.decided)

    @property
    def disagreement(self) -> float:
        return disagreement_of(self.decided)

    @property
    def disagreement_matrix(self) -> Floats:
        return disagreement_matrix(self.decided[self.some])

    @cached_property
    def pearson(self) -> tuple[Floats, Floats]:
        """Each run's mean correlation with the others, `(N,)`, and that of every two of `some`."""
        return self._correlations("pearson")

    @cached_property
    def spearman(self) -> tuple[Floats, Floats]:
        return self._correlations("spearman")

    def _correlations(self, kind: Kind) -> tuple[Floats, Floats]:
        return correlations(self.outputs, kind, self.some)


class Answers(Pairs):
    """The answers of N classifiers: logits, or only predicted classes.

    runs, examples, classes: how many there are; `classes` is 0 if only predicted classes are known.
    outputs: logits `(N, n, c)`, or only predicted classes `(N, n)`. labels: `(n,)`. predicted: `(N, n)`.
    """

    def __init__(self, outputs: ArrayLike, labels: ArrayLike, groups: Integers | None = None) -> None:
        self.groups = groups
        given = as_array(outputs, "outputs")
        self.classes_alone = given.ndim == 2 and given.dtype.kind in "iu"
        self.outputs, self.labels = (checked_classes if self.classes_alone else checked)(given, labels)
        self.runs, self.examples = self.outputs.shape[:2]
        self.classes = 0 if self.classes_alone else self.outputs.shape[2]

    @cached_property
    def _read(self) -> tuple[Integers, Floats]:
        return chosen_and_losses(self.outputs, self.labels)

    @property
    def predicted(self) -> Integers:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.outputs if self.classes_alone else self._read[0]

    @property
    def losses(self) -> Floats:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self._read[1]

    @cached_property
    def right(self) -> NDArray[np.bool_]:
        return self.predicted == self.labels

    @cached_property
    def accuracy(self) -> Floats:
        return 100.0 * np.count_nonzero(self.right, axis=1) / self.examples

    @property
    def marks(self) -> NDArray[Any]:
        """A number for each run, `(N,)`; runs can be equal only if their numbers are."""
        return self.losses

    def run(self, place: int) -> NDArray[Any]:
        """Return one run's outputs."""
        return self.outputs[place]

    def only(self, places: Sequence[int]) -> Answers:
        """Return the answers of the runs at these places; a large copy goes to disk."""
        kept = scratch((len(places), *self.outputs.shape[1:]), self.outputs.dtype)
        for row, place in zip(kept, places, strict=True):
            row[...] = self.outputs[place]
        return Answers(kept, self.labels, self.groups)

    @cached_property
    def equal(self) -> bool:
        """Whether all runs are equal; equal predicted classes do not prove that."""
        first, *others = self.outputs
        return not self.classes_alone and all(np.array_equal(first, run) for run in others)

    @cached_property
    def probabilities(self) -> bool:
        return not self.classes_alone and look_like_probabilities(self.outputs)

    @property
    def sampled_pairs(self) -> int | None:  # pyright: ignore[reportIncompatibleVariableOverride]
        return sampled_pairs(self.runs)

    @cached_property
    def _few(self) -> NDArray[Any]:
        return np.stack([self.run(place) for place in self.some])

    @cached_property
    def gains(self) -> dict[str, Floats]:
        """What each run's ensembles gain, `(N,)`, by score."""
        return gains_by_run(self.outputs, self.labels, self.predicted)

    @cached_property
    def variance(self) -> dict[str, Estimate]:
        return variance_estimates(self.right)

    @property
    def loss_table(self) -> Floats:
        return by_example.losses_by_example(self.outputs, self.labels)

    @property
    def disagreement_added(self) -> float:
        return by_example.disagreement_added(self.predicted[self.some], self.groups)

    def correlation_added(self, kind: Kind) -> float:
        return by_example.correlation_added(self._few, kind, self.groups)

    @cached_property
    def gains_added(self) -> dict[str, float]:
        return by_example.ensemble_added(self._few, self.labels, self.groups)

    @cached_property
    def variance_added(self) -> dict[str, float]:
        return by_example.variance_added(self.right, self.groups)


class TextAnswers(Pairs):
    """The answers of N language models; names that are in `Answers` too mean the same, for tokens.

    Correlations and the ensembles' gains come from the sample of tokens whose logits are kept; their errors and
    intervals are for all tokens.
    """

    def __init__(
        self, logprob: ArrayLike, prediction: ArrayLike, sample_logits: ArrayLike, sample_labels: ArrayLike
    ) -> None:
        self.losses = token_cross_entropy(logprob)
        self.logprob = as_array(logprob, "logprob")
        self.outputs, self.labels = checked(sample_logits, sample_labels)
        shapes = {"logprob": np.shape(logprob), "prediction": np.shape(prediction)}
        if len({*shapes.values()}) > 1 or len(self.outputs) != len(self.losses):
            raise BadInput(
                "logprob, prediction and sample_logits must be of the same runs and tokens "
                f"(got {shapes['logprob']}, {shapes['prediction']} and {self.outputs.shape}); give those of one set of "
                "runs"
            )
        self.predicted = checked_predictions(prediction)
        self.runs, self.examples = self.predicted.shape
        kept = self.outputs.shape[1]
        self.sample = kept if kept < self.examples else None

    @cached_property
    def perplexity(self) -> Floats:
        return perplexity(self.losses)

    @cached_property
    def equal(self) -> bool:
        return all((array == array[0]).all() for array in (self.outputs, self.predicted, self.logprob))

    @cached_property
    def gains(self) -> dict[str, Floats]:
        return dict(zip(("perplexity", "cross_entropy"), language_delta_by_run(self.outputs, self.labels), strict=True))

    @cached_property
    def _few(self) -> NDArray[Any]:
        return self.outputs[some_runs(self.predicted, self.losses, OF_SAMPLE)]

    @property
    def _left(self) -> float:
        """The share of tokens that are not in the sample; a sample of all tokens has no error (Cochran 1977, 2.6)."""
        return 1 - self.outputs.shape[1] / self.examples

    @property
    def cautions(self) -> list[str]:
        """A sentence if the sample is unlike the whole text: its even steps may follow a rhythm of the text."""
        places = sample_tokens(self.examples)
        if self.sample is None or len(places) != self.sample:
            return []
        losses = -self.logprob.mean(axis=0, dtype=np.float64)  # (n,)
        few = losses[places]
        error = math.sqrt(self._left / len(few)) * float(few.std(ddof=1))
        if abs(few.mean() - losses.mean()) <= UNLIKE * error:
            return []
        return [
            f"The sample whose logits are kept is unlike the rest (cross-entropy {few.mean():.3f}, that of all "
            f"{losses.mean():.3f}): correlations and the ensembles' gains may not hold for all {self.examples:,}."
        ]

    def correlation_added(self, kind: Kind) -> float:
        few = self._few
        step = min(-(-few.size // MOST_NUMBERS), max(1, few.shape[1] // FEWEST_TOKENS))
        thin = few[:, ::step]
        return self._left * by_example.correlation_added(thin, kind) * thin.shape[1] / few.shape[1]

    @cached_property
    def gains_added(self) -> dict[str, float]:
        added = language_added(self._few, self.labels)
        return {name: self._left * variance for name, variance in added.items()}


def some_runs(predicted: NDArray[Any], losses: ArrayLike | None = None, most: int = GROUP) -> Integers:
    """Choose at most `most` of the runs, the same ones in whatever order the runs are.

    Args:
        predicted: predictions `(N, n)`; their digests make the choice, so it is like a random one.
        losses: one number for each run, `(N,)`, which decides between runs with the same predictions.
    """
    if len(predicted) <= most:
        return np.arange(len(predicted))
    ties = np.zeros(len(predicted)) if losses is None else np.asarray(losses)
    keys = [(blake2b(row.tobytes()).digest(), float(tie)) for row, tie in zip(predicted, ties, strict=True)]
    return np.array(sorted(range(len(keys)), key=keys.__getitem__)[:most])
