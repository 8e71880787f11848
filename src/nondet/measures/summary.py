"""All measures of one condition in one record, each with its error and interval."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nondet.errors import BadInput
from nondet.measures import by_example, figures
from nondet.measures.arrays import checked, checked_classes, predictions
from nondet.measures.ensemble import (
    ensemble_accuracy_delta_by_run,
    ensemble_cross_entropy_delta_by_run,
    sampled_pairs,
)
from nondet.measures.figures import Figure, Figures
from nondet.measures.variability import cross_entropy
from nondet.measures.variance import AccuracyVariance
from nondet.stats.intervals import UNKNOWN, Uncertainty
from nondet.stats.values import Integers, as_array

NAMES = (
    "accuracy.mean",
    "accuracy.sd",
    "cross_entropy.mean",
    "cross_entropy.sd",
    "disagreement",
    "correlation.pearson",
    "correlation.spearman",
    "ensemble_delta.accuracy",
    "ensemble_delta.cross_entropy",
    "accuracy_variance.total",
    "accuracy_variance.test_set",
    "accuracy_variance.training",
)
"""The figures of a condition, by dotted name."""

LOGITS_NEEDED = tuple(name for name in NAMES if name.startswith(("cross_entropy", "correlation", "ensemble_delta")))
"""Those that predicted classes alone do not give."""


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
        accuracy_variance: in squared points.
        uncertainties: of each of these figures, by dotted name, such as "accuracy.sd".
        copies: number of each run that was left out -> of the earlier one that it equals, both counted from 1.

    Of predicted classes alone, what needs logits is not a number: cross-entropy, correlation and ensemble delta.
    """

    runs: int
    failed: int
    accuracy: Spread
    cross_entropy: Spread
    disagreement: float
    correlation: Correlation
    ensemble_delta: EnsembleDelta
    accuracy_variance: AccuracyVariance
    uncertainties: Mapping[str, Uncertainty]
    copies: Mapping[int, int] = field(default_factory=dict[int, int])

    def as_dict(self) -> dict[str, Any]:
        """The record as nested dictionaries for JSON, which has no NaN: such a number becomes None."""
        record = as_json(self)
        del record["accuracy_variance"]["examples"]
        del record["copies"]
        if self.copies:
            record["copies"] = [{"run": run, "equal_to": first} for run, first in self.copies.items()]
        if self.sampled_pairs:
            record["sampled_pairs"] = {
                f"ensemble_delta.{name}": self.sampled_pairs for name in record["ensemble_delta"]
            }
        return record

    @property
    def sampled_pairs(self) -> int | None:
        """How many pairs the ensemble deltas are from, where not all."""
        return None if math.isnan(self.ensemble_delta.accuracy) else sampled_pairs(self.runs - self.failed)


def measure(outputs: ArrayLike, labels: ArrayLike, failed: int = 0, examples: bool = False) -> Measures:
    """Take every measure of a condition's runs.

    Args:
        outputs: logits `(N, n, c)` of the runs that did not fail; or their predicted classes `(N, n)` as integers of
            any type, of which `measure_predictions` takes what they allow.
        labels: classes `(n,)`.
        failed: how many further runs failed.
        examples: whether errors and intervals are to hold for other test examples too, drawn as these were.

    Raises:
        BadInput: see `checked`; or `failed` is negative.
    """
    check_failed(failed)
    given = as_array(outputs, "outputs")
    if given.ndim == 2 and given.dtype.kind in "iu":
        return measure_predictions(given, labels, failed, examples)
    logits, truth = checked(given, labels)
    predicted, losses = predictions(logits), cross_entropy(logits, truth)
    some = figures.some_runs(predicted, losses)
    few = logits[some]
    by_loss = by_example.losses_by_example(logits, truth) if examples else None
    found = {
        **figures.prediction_figures(predicted, truth, some, examples),
        **figures.spread_figures("cross_entropy", losses, by_loss),
        **figures.correlation_figures(logits, few, examples),
        **_ensemble_figures(logits, truth, few, examples),
    }
    return _record(found, all_equal(logits), predicted.shape, failed, examples)


def measure_predictions(predicted: ArrayLike, labels: ArrayLike, failed: int = 0, examples: bool = False) -> Measures:
    """Take the measures that predicted classes allow: accuracy, its variance, and disagreement.

    Args:
        predicted: classes `(N, n)`, integers from 0.
        labels: classes `(n,)`.
        failed: how many further runs failed.
        examples: as for `measure`.

    Raises:
        BadInput: see `checked_classes`; or `failed` is negative.
    """
    check_failed(failed)
    classes, truth = checked_classes(predicted, labels)
    found = figures.prediction_figures(classes, truth, figures.some_runs(classes), examples)
    found |= dict.fromkeys(LOGITS_NEEDED, Figure(math.nan, UNKNOWN))
    return _record(found, False, classes.shape, failed, examples)  # equal predictions do not show that the runs are


def spread(found: Figures, name: str) -> Spread:
    """Mean and SD of these figures; the SD's error is the bootstrap's over runs alone."""
    sd = found[f"{name}.sd"]
    return Spread(found[f"{name}.mean"].value, sd.value, sd.over_runs.error)


def as_json(record: Any) -> dict[str, Any]:
    """A record of measures as nested dictionaries: uncertainties as `errors` and `intervals`, NaN as None."""
    fields = asdict(record, dict_factory=_without_nan)
    del fields["uncertainties"]
    return fields | errors_and_intervals(record.uncertainties)


def errors_and_intervals(uncertainties: Mapping[str, Uncertainty]) -> dict[str, dict[str, Any]]:
    """Uncertainties by name as the `errors` and `intervals` of JSON: what is not known is None."""
    return {
        "errors": {name: None if math.isnan(u.error) else u.error for name, u in uncertainties.items()},
        "intervals": {name: None if math.isnan(u.low) else [u.low, u.high] for name, u in uncertainties.items()},
    }


def all_equal(runs: ArrayLike) -> bool:
    """Whether every run has left what the first has, `(N, ...)`."""
    first, *others = np.asarray(runs)
    return all(np.array_equal(first, run) for run in others)


def check_failed(failed: int) -> None:
    """Refuse a negative number of failed runs.

    Raises:
        BadInput: it is negative.
    """
    if failed < 0:
        raise BadInput(f"failed runs must be 0 or more (got {failed}); count the runs that left no outputs")


def _ensemble_figures(logits: NDArray[Any], truth: Integers, few: NDArray[Any], examples: bool) -> Figures:
    added = by_example.ensemble_added(few, truth) if examples else {}
    by_run = {
        "accuracy": ensemble_accuracy_delta_by_run(logits, truth),
        "cross_entropy": ensemble_cross_entropy_delta_by_run(logits, truth),
    }
    found: Figures = {}
    for name, rows in by_run.items():
        value = math.fsum(rows) / len(rows)
        found |= figures.pair_figure(f"ensemble_delta.{name}", rows, value, added.get(name, 0.0))
    return found


def _record(found: Figures, equal: bool, shape: tuple[int, ...], failed: int, drawn: bool) -> Measures:
    runs, examples = shape
    value = {name: figure.value for name, figure in found.items()}
    return Measures(
        runs=runs + failed,
        failed=failed,
        accuracy=spread(found, "accuracy"),
        cross_entropy=spread(found, "cross_entropy"),
        disagreement=value["disagreement"],
        correlation=Correlation(value["correlation.pearson"], value["correlation.spearman"]),
        ensemble_delta=EnsembleDelta(value["ensemble_delta.accuracy"], value["ensemble_delta.cross_entropy"]),
        accuracy_variance=AccuracyVariance(
            value["accuracy_variance.total"],
            value["accuracy_variance.test_set"],
            value["accuracy_variance.training"],
            examples,
        ),
        uncertainties=figures.uncertainties(
            figures.settled({name: found[name] for name in NAMES}, equal), examples if drawn else None
        ),
    )


def _without_nan(items: list[tuple[str, Any]]) -> dict[str, Any]:
    return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in items}
