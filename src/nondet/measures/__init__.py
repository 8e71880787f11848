"""Statistics of a set of runs, as pure functions of numpy arrays.

Outputs are logits with axes `(N, n, c)` = (runs, examples, classes); labels are `(n,)` integers in `[0, c)`.
"""

from nondet.measures.arrays import checked, checked_outputs, predictions
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
)
from nondet.measures.summary import Correlation, EnsembleDelta, Measures, Spread, measure
from nondet.measures.variability import accuracy, cross_entropy, mean, sd, sd_error

__all__ = [
    "Correlation",
    "EnsembleDelta",
    "Measures",
    "Spread",
    "accuracy",
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
    "mean",
    "measure",
    "pearson",
    "predictions",
    "sd",
    "sd_error",
    "spearman",
]
