"""The scores and measures of language models, in the order of their JSON: perplexity takes the place of accuracy.

Correlations and the ensembles' gains come from a sample of the tokens: see `nondet.measures.language`.
"""

from __future__ import annotations

import math
from dataclasses import replace

from nondet.measures.classification import CORRELATIONS, CROSS_ENTROPY, DISAGREEMENT, ENSEMBLE_CROSS_ENTROPY, gain
from nondet.measures.figure import Score

PERPLEXITY = Score(
    "perplexity",
    "perplexity",
    lambda answers: answers.perplexity,
    abbreviation="PPL",
    better=-1,
    bounds=(1.0, math.inf),
    title="perplexity",
    sd_title="PPL SD",
    plot="perplexity-sd",
    short="PPL SD",
)
TOKEN_CROSS_ENTROPY = replace(CROSS_ENTROPY, table=None)
SCORES = (PERPLEXITY, TOKEN_CROSS_ENTROPY)
FIGURES = (
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
