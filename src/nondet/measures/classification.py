"""The scores and measures of classifiers and language models, in the order of their JSON.

Perplexity takes the place of a language model's accuracy; its correlations and its ensembles' gains come from a sample
of the tokens: see `nondet.measures.language`.

Sources: Summers & Dinneen, ICML 2021; for the parts of the accuracy's variance, Jordan, ICLR 2024.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

from nondet.measures.figure import PERCENT, Figure, score
from nondet.stats.estimate import UNKNOWN, Estimate
from nondet.stats.intervals import pairwise_estimate

ACCURACY = score(
    "accuracy",
    "accuracy",
    lambda answers: answers.accuracy,
    title="accuracy (%)",
    sd_title="acc. SD (%)",
    short="acc. SD",
    table=lambda answers: answers.right,
    unit_of_table=100.0,
    **PERCENT,
)
CROSS_ENTROPY = score(
    "cross_entropy",
    "cross-entropy",
    lambda answers: answers.losses,
    "CE",
    unit="nats",
    points="nats",
    better=-1,
    decimals=4,
    bounds=(0.0, math.inf),
    title="",
    logits=True,
    table=lambda answers: answers.loss_table,
)
PERPLEXITY = score(
    "perplexity", "perplexity", lambda answers: answers.perplexity, "PPL", better=-1, bounds=(1.0, math.inf)
)
TOKEN_CROSS_ENTROPY = replace(CROSS_ENTROPY, table=None)
TEXT_SCORES = (PERPLEXITY, TOKEN_CROSS_ENTROPY)
SCORES = (ACCURACY, CROSS_ENTROPY)
DISAGREEMENT = Figure(
    "disagreement",
    lambda answers: pairwise_estimate(
        answers.disagreement_by_run,
        matrix=answers.disagreement_matrix,
        distance_from=0.0,
        exactly=answers.disagreement,
    ),
    label="disagreement of two runs (%)",
    words="disagreement",
    title="disagree (%)",
    plot="disagreement",
    bounds=(0.0, 100.0),
    origin=0.0,
    added=lambda answers: answers.disagreement_added,
    effect=lambda answers: answers.disagreement_by_run,
    short="disagree",
)


def correlation(kind: Literal["pearson", "spearman"], **rest: Any) -> Figure:
    """Make the measure of the correlation of two runs' logits or ranks; NaN if a run's logits are all equal."""

    def compute(answers: Any) -> Estimate:
        rows, matrix = getattr(answers, kind)
        return UNKNOWN if math.isnan(rows.sum()) else pairwise_estimate(rows, matrix=matrix, distance_from=1.0)

    return Figure(
        f"correlation.{kind}",
        compute,
        label="correlation of two runs' logits",
        decimals=3,
        bounds=(-1.0, 1.0),
        origin=1.0,
        logits=True,
        sampled=True,
        added=lambda answers: answers.correlation_added(kind),
        **rest,
    )


CORRELATIONS = (
    correlation(
        "pearson",
        words="1 - correlation",
        title="corr.",
        plot="correlation",
        effect=lambda answers: 1.0 - answers.pearson[0],
        short="1 - corr.",
    ),
    correlation("spearman", words="1 - rank correlation"),
)


def gain(name: str, **rest: Any) -> Figure:
    """Make the measure of what an ensemble of two runs gains over its members, in the score of this name."""

    def compute(answers: Any) -> Estimate:
        rows = answers.gains[name]
        if math.isnan(rows.sum()):
            return UNKNOWN
        return pairwise_estimate(rows, distance_from=rest.get("origin"), exactly=math.fsum(rows) / len(rows))

    return Figure(
        f"ensemble_delta.{name}",
        compute,
        logits=True,
        sampled=True,
        added=lambda answers: answers.gains_added[name],
        **rest,
    )


def _variance(part: str) -> Callable[[Any], Estimate]:
    def compute(answers: Any) -> Estimate:
        found = answers.variance
        e = found[part]
        return e if found["total"].value else Estimate(e.value, e.error)  # parts of no variance have no interval

    return compute


ENSEMBLE_CROSS_ENTROPY = gain(
    "cross_entropy",
    label="change by an ensemble of two (nats)",
    words="the ensemble's gain in cross-entropy",
    decimals=4,
    origin=0.0,
    effect=lambda answers: -answers.gains["cross_entropy"],
    short="ens. CE",
)
FIGURES = (
    *ACCURACY.figures(),
    *CROSS_ENTROPY.figures(),
    DISAGREEMENT,
    *CORRELATIONS,
    gain(
        "accuracy",
        label="gain of an ensemble of two (points)",
        words="the ensemble's gain in accuracy",
        title="ens. Δ (%)",
        plot="ensemble-gain",
        bounds=(-100.0, 100.0),
        effect=lambda answers: answers.gains["accuracy"],
        short="ens. acc.",
    ),
    ENSEMBLE_CROSS_ENTROPY,
    *(
        Figure(
            f"accuracy_variance.{part}",
            _variance(part),
            label=label,
            words=f"the accuracy's variance ({part})",
            plot=plot,
            bounds=bounds,
            origin=0.0 if part == "total" else None,
            added=lambda answers, part=part: answers.variance_added[part],
        )
        for part, label, plot, bounds in (
            ("total", "accuracy variance (points²)", "", (0.0, 2500.0)),
            ("test_set", "accuracy variance of this test set (points²)", "", (0.0, math.inf)),
            # on one test set it can be negative, as covariances are
            ("training", "accuracy variance on any test set (points²)", "training-variance", (-math.inf, math.inf)),
        )
    ),
)
TEXT_FIGURES = (
    *PERPLEXITY.figures(),
    *TOKEN_CROSS_ENTROPY.figures(),
    DISAGREEMENT,
    *CORRELATIONS,
    gain(
        "perplexity",
        label="change by an ensemble of two (perplexity)",
        words="the ensemble's gain in perplexity",
        title="ens. Δ (PPL)",
        plot="ensemble-gain",
    ),
    ENSEMBLE_CROSS_ENTROPY,
)
