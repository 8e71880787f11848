"""All measures of one condition in one record."""

import math
from dataclasses import asdict, dataclass
from typing import Any

from numpy.typing import ArrayLike

from nondet.errors import BadInput
from nondet.measures.arrays import Floats, checked
from nondet.measures.diversity import disagreement, disagreement_of, pearson, spearman
from nondet.measures.ensemble import ensemble_accuracy_delta, ensemble_cross_entropy_delta, sampled_pairs
from nondet.measures.variability import accuracy, accuracy_of, cross_entropy, mean, sd, sd_error


@dataclass(frozen=True)
class Spread:
    """A number per run, summed up: mean, population SD, and the SD's bootstrap error."""

    mean: float
    sd: float
    sd_error: float


@dataclass(frozen=True)
class Correlation:
    """Mean pairwise correlation of the logits; not a number where a run's logits are all equal."""

    pearson: float
    spearman: float


@dataclass(frozen=True)
class EnsembleDelta:
    """Mean gain of a two-run ensemble over its members: accuracy in points, cross-entropy in nats."""

    accuracy: float
    cross_entropy: float


@dataclass(frozen=True)
class Measures:
    """The measures of a condition; its field names are the names in the JSON of a report.

    Attributes:
        runs: how many runs the condition has, the failed ones included.
        failed: how many of them failed; nothing else here counts them.
        accuracy: in percent.
        cross_entropy: in nats.
        disagreement: in percent.
        correlation: no unit.
        ensemble_delta: in points and in nats.

    Of predicted classes alone, what needs logits is not a number: cross-entropy, correlation and ensemble delta.
    """

    runs: int
    failed: int
    accuracy: Spread
    cross_entropy: Spread
    disagreement: float
    correlation: Correlation
    ensemble_delta: EnsembleDelta

    def as_dict(self) -> dict[str, Any]:
        """The record as nested dictionaries for JSON, which has no NaN: such a number becomes None."""
        record = asdict(self, dict_factory=_without_nan)
        if self.sampled_pairs:
            record["sampled_pairs"] = {
                f"ensemble_delta.{name}": self.sampled_pairs for name in record["ensemble_delta"]
            }
        return record

    @property
    def sampled_pairs(self) -> int | None:
        """How many pairs the ensemble deltas are from, where not all."""
        return None if math.isnan(self.ensemble_delta.accuracy) else sampled_pairs(self.runs - self.failed)


def measure(outputs: ArrayLike, labels: ArrayLike, failed: int = 0) -> Measures:
    """Take every measure of a condition's runs.

    Args:
        outputs: logits `(N, n, c)` of the runs that did not fail.
        labels: classes `(n,)`.
        failed: how many further runs failed.

    Raises:
        BadInput: see `checked`; or `failed` is negative.
    """
    if failed < 0:
        raise BadInput(f"failed runs must be 0 or more (got {failed}); count the runs that left no outputs")
    logits, truth = checked(outputs, labels)
    return Measures(
        runs=len(logits) + failed,
        failed=failed,
        accuracy=_spread(accuracy(logits, truth)),
        cross_entropy=_spread(cross_entropy(logits, truth)),
        disagreement=disagreement(logits),
        correlation=Correlation(pearson(logits), spearman(logits)),
        ensemble_delta=EnsembleDelta(
            ensemble_accuracy_delta(logits, truth), ensemble_cross_entropy_delta(logits, truth)
        ),
    )


def measure_predictions(predicted: ArrayLike, labels: ArrayLike) -> Measures:
    """Take the measures that predicted classes allow: accuracy and disagreement.

    Args:
        predicted: classes `(N, n)`, integers.
        labels: classes `(n,)`.

    Raises:
        BadInput: see `checked_predictions` and `accuracy_of`.
    """
    right = accuracy_of(predicted, labels)
    return Measures(
        runs=len(right),
        failed=0,
        accuracy=_spread(right),
        cross_entropy=Spread(math.nan, math.nan, math.nan),
        disagreement=disagreement_of(predicted),
        correlation=Correlation(math.nan, math.nan),
        ensemble_delta=EnsembleDelta(math.nan, math.nan),
    )


def _spread(values: Floats) -> Spread:
    return Spread(mean(values), sd(values), sd_error(values))


def _without_nan(items: list[tuple[str, Any]]) -> dict[str, Any]:
    return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in items}
