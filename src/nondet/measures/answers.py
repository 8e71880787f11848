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
from nondet.measures.variability import accuracy_of, chosen_and_losses
from nondet.measures.variance import correctness, variance_estimates
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
    """How N runs answer: what each decides (N, n), and its outputs (N, k, c) on the same or on fewer examples."""

    outputs: NDArray[Any]
    labels: Integers

    @cached_property
    def decided(self) -> Integers:
        """What two runs agree or disagree on."""
        raise NotImplementedError

    @cached_property
    def some(self) -> Integers:
        raise NotImplementedError

    @cached_property
    def _disagreement(self) -> Floats:
        return disagreement_by_run(self.decided)

    def disagreement_by_run(self) -> Floats:
        return self._disagreement

    @property
    def disagreement(self) -> float:
        return disagreement_of(self.decided)

    def disagreement_matrix(self) -> Floats:
        return disagreement_matrix(self.decided[self.some])

    @cached_property
    def _known(self) -> dict[str, tuple[Floats, Floats]]:
        return {}

    def _correlation(self, kind: Kind) -> tuple[Floats, Floats]:
        if kind not in self._known:
            self._known[kind] = self._correlations(kind)
        return self._known[kind]

    def _correlations(self, kind: Kind) -> tuple[Floats, Floats]:
        return correlations(self.outputs, kind, self.some)

    def correlation_by_run(self, kind: Kind) -> Floats:
        return self._correlation(kind)[0]

    def correlation_matrix(self, kind: Kind) -> Floats:
        return self._correlation(kind)[1]


class Answers(Pairs):
    """The answers of N classifiers: logits, or only predicted classes.

    groups: the number of each example's group, from 0, `(n,)`, if groups of examples are drawn together.
    runs, examples, classes: how many there are; `classes` is 0 if only predicted classes are known.
    outputs: logits `(N, n, c)`, or only predicted classes `(N, n)`. labels: `(n,)`. predicted: `(N, n)`.
    """

    sample = None

    def __init__(self, outputs: ArrayLike, labels: ArrayLike, groups: Integers | None = None) -> None:
        self.groups: Integers | None = groups
        given = as_array(outputs, "outputs")
        self.classes_alone = given.ndim == 2 and given.dtype.kind in "iu"
        self.outputs, self.labels = (checked_classes if self.classes_alone else checked)(given, labels)
        self.runs, self.examples = self.outputs.shape[:2]
        self.classes = 0 if self.classes_alone else self.outputs.shape[2]

    @cached_property
    def _read(self) -> tuple[Integers, Floats]:
        return chosen_and_losses(self.outputs, self.labels)

    @property
    def predicted(self) -> Integers:
        return self.outputs if self.classes_alone else self._read[0]

    @cached_property
    def decided(self) -> Integers:
        return self.predicted

    @property
    def losses(self) -> Floats:
        return self._read[1]

    @cached_property
    def right(self) -> NDArray[np.bool_]:
        return correctness(self.predicted, self.labels)

    @cached_property
    def accuracy(self) -> Floats:
        return accuracy_of(self.predicted, self.labels)

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
    def sampled_pairs(self) -> int | None:
        return sampled_pairs(self.runs)

    @cached_property
    def some(self) -> Integers:
        return some_runs(self.predicted, None if self.classes_alone else self.losses)

    @cached_property
    def _few(self) -> NDArray[Any]:
        return np.stack([self.run(place) for place in self.some])

    @cached_property
    def _ensembles(self) -> dict[str, Floats]:
        return gains_by_run(self.outputs, self.labels, self.predicted)

    def ensemble_by_run(self) -> dict[str, Floats]:
        return self._ensembles

    @cached_property
    def _variance(self) -> dict[str, Estimate]:
        return variance_estimates(self.right)

    def variance(self) -> dict[str, Estimate]:
        return self._variance

    def loss_table(self) -> Floats:
        return by_example.losses_by_example(self.outputs, self.labels)

    def disagreement_added(self) -> float:
        return by_example.disagreement_added(self.predicted[self.some], self.groups)

    def correlation_added(self, kind: Kind) -> float:
        return by_example.correlation_added(self._few, kind, self.groups)

    @cached_property
    def _ensemble_added(self) -> dict[str, float]:
        return by_example.ensemble_added(self._few, self.labels, self.groups)

    def ensemble_added(self) -> dict[str, float]:
        return self._ensemble_added

    @cached_property
    def _variance_added(self) -> dict[str, float]:
        return by_example.variance_added(self.right, self.groups)

    def variance_added(self) -> dict[str, float]:
        return self._variance_added


class TextAnswers(Pairs):
    """The answers of N language models; names that are in `Answers` too mean the same, for tokens.

    Correlations and the ensembles' gains come from the sample of tokens whose logits are kept; their errors and
    intervals are for all tokens. sample: how many tokens it has; None if it is all of them.
    """

    classes_alone = False
    sampled_pairs = None

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
        self._predicted = checked_predictions(prediction)
        self.runs, self.examples = self._predicted.shape
        kept = self.outputs.shape[1]
        self.sample = kept if kept < self.examples else None

    @property
    def predicted(self) -> Integers:
        return self._predicted

    @cached_property
    def decided(self) -> Integers:
        return self._predicted

    @cached_property
    def perplexity(self) -> Floats:
        return perplexity(self.losses)

    @cached_property
    def equal(self) -> bool:
        return all((array == array[0]).all() for array in (self.outputs, self.predicted, self.logprob))

    @cached_property
    def some(self) -> Integers:
        return some_runs(self.predicted, self.losses)

    @cached_property
    def _ensembles(self) -> dict[str, Floats]:
        gains, logs = language_delta_by_run(self.outputs, self.labels)
        return {"perplexity": gains, "cross_entropy": logs}

    def ensemble_by_run(self) -> dict[str, Floats]:
        return self._ensembles

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
    def _ensemble_added(self) -> dict[str, float]:
        added = language_added(self._few, self.labels)
        return {name: self._left * variance for name, variance in added.items()}

    def ensemble_added(self) -> dict[str, float]:
        return self._ensemble_added


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
