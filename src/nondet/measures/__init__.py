"""Statistics of a set of runs, as pure functions of numpy arrays.

Outputs are logits with axes `(N, n, c)` = (runs, examples, classes); labels are `(n,)` integers in `[0, c)`.
"""

from nondet.measures.arrays import checked, checked_outputs, look_like_probabilities, predictions
from nondet.measures.diversity import (
    correlation_by_run,
    disagreement,
    disagreement_by_run,
    disagreement_of,
    pearson,
    spearman,
)
from nondet.measures.ensemble import (
    ensemble_accuracy_delta,
    ensemble_accuracy_delta_by_run,
    ensemble_cross_entropy_delta,
    ensemble_cross_entropy_delta_by_run,
    sampled_pairs,
)
from nondet.measures.summary import Correlation, EnsembleDelta, Measures, Spread, measure, measure_predictions
from nondet.measures.variability import accuracy, accuracy_of, cross_entropy, mean, sd, sd_error

__all__ = [
    "Correlation",
    "EnsembleDelta",
    "Measures",
    "Spread",
    "accuracy",
    "accuracy_of",
    "checked",
    "checked_outputs",
    "correlation_by_run",
    "cross_entropy",
    "disagreement",
    "disagreement_by_run",
    "disagreement_of",
    "ensemble_accuracy_delta",
    "ensemble_accuracy_delta_by_run",
    "ensemble_cross_entropy_delta",
    "ensemble_cross_entropy_delta_by_run",
    "look_like_probabilities",
    "mean",
    "measure",
    "measure_predictions",
    "pearson",
    "predictions",
    "sampled_pairs",
    "sd",
    "sd_error",
    "spearman",
]
