"""The measures of a set of runs, as pure functions of numpy arrays.

Outputs are logits with axes `(N, n, c)` = (runs, examples, classes); labels are `(n,)` integers in `[0, c)`.
"""

from nondet.measures.arrays import checked, checked_outputs, look_like_probabilities, predictions
from nondet.measures.diversity import (
    correlation_by_run,
    correlation_matrix,
    disagreement,
    disagreement_by_run,
    disagreement_matrix,
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
from nondet.measures.language import language_delta, perplexity, sample_tokens, token_cross_entropy
from nondet.measures.similarity import cka, cka_unbiased, parameter_distance
from nondet.measures.variability import accuracy, accuracy_of, cross_entropy
from nondet.measures.variance import AccuracyVariance, accuracy_variance, expected_variance
from nondet.stats.values import mean, sd, sd_error

__all__ = [
    "AccuracyVariance",
    "accuracy",
    "accuracy_of",
    "accuracy_variance",
    "checked",
    "checked_outputs",
    "cka",
    "cka_unbiased",
    "correlation_by_run",
    "correlation_matrix",
    "cross_entropy",
    "disagreement",
    "disagreement_by_run",
    "disagreement_matrix",
    "disagreement_of",
    "ensemble_accuracy_delta",
    "ensemble_accuracy_delta_by_run",
    "ensemble_cross_entropy_delta",
    "ensemble_cross_entropy_delta_by_run",
    "expected_variance",
    "language_delta",
    "look_like_probabilities",
    "mean",
    "parameter_distance",
    "pearson",
    "perplexity",
    "predictions",
    "sample_tokens",
    "sd",
    "sd_error",
    "spearman",
    "token_cross_entropy",
]
