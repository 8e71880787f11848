"""How often intervals from a sample of a text's tokens contain the whole text's value: the table of docs/measures.md.

    python benchmarks/sampled_tokens.py [SHARE]

A text is drawn, then runs on it. Each run's logits are kept at 256 tokens, evenly spaced, as for a language model. Is
the value that infinitely many runs would have on all tokens inside the 95 % interval? The table has this, the same for
the interval over runs alone, which treats the 256 tokens as the whole text, and the share of studies with a caution
that the sample is unlike the text. SHARE scales the number of texts.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from nondet.measures.answers import TextAnswers
from nondet.measures.classification import TEXT_FIGURES as FIGURES
from nondet.measures.language import sample_tokens

TOKENS, WORDS, RUNS = 4096, 8, 10
MANY, TEXTS, STUDIES = 80, 100, 4
"""Runs that determine the whole text's value, texts of each kind, and studies of each text."""

Array = NDArray[np.float64]
SAMPLED = [figure for figure in FIGURES if figure.sampled]


def walk(rng: np.random.Generator, keeps: float) -> Array:
    """Numbers of SD 1, each with this correlation to the one before."""
    steps = rng.normal(size=TOKENS) * np.sqrt(1 - keeps**2)
    for place in range(1, TOKENS):
        steps[place] += keeps * steps[place - 1]
    return steps


def by_document(rng: np.random.Generator) -> Array:
    """Numbers of SD 1 that all tokens of a document share; documents have about 100 tokens."""
    document = np.cumsum(rng.random(TOKENS) < 0.01)
    return rng.normal(size=document[-1] + 1)[document]


TEXTS_OF: dict[str, Callable[[np.random.Generator], Array]] = {
    "each token apart": lambda rng: rng.normal(size=TOKENS),
    "neighbours alike (0.95)": lambda rng: walk(rng, 0.95),
    "documents of 100 tokens": by_document,
    "1 token in 20 far harder": lambda rng: 5.0 * (rng.random(TOKENS) < 0.05),
    "every 16th token harder": lambda rng: 3.0 * (np.arange(TOKENS) % 16 == 8),
}
"""How hard each token is: the logarithm of how much runs differ there."""


def logits(rng: np.random.Generator, shared: Array, hard: Array, runs: int) -> Array:
    """Logits of runs, which differ in quality too, `(N, n, V)`."""
    quality = np.exp(0.05 * rng.normal(size=(runs, 1, 1)))
    return shared * quality + np.exp(hard / 2)[:, None] * 0.5 * rng.normal(size=(runs, *shared.shape))


def answers(made: Array, truth: NDArray[np.int64], kept: NDArray[np.int64]) -> TextAnswers:
    """The answers that such runs leave; for the whole text if all tokens are kept."""
    spread = np.log(np.exp(made).sum(axis=2))
    logprob = np.take_along_axis(made, truth[None, :, None], axis=2)[..., 0] - spread
    return TextAnswers(np.minimum(logprob, 0.0), made.argmax(axis=2), made[:, kept], truth[kept])


def held(rng: np.random.Generator, hardness: Callable[[np.random.Generator], Array]) -> list[list[bool]]:
    """For each study of one text and each measure: whether the interval, and that over runs alone, contains the truth.

    The last column is whether there is a caution.
    """
    hard = hardness(rng)
    shared = 1.5 * rng.normal(size=(TOKENS, WORDS))
    truth = np.array([rng.choice(WORDS, p=np.exp(row) / np.exp(row).sum()) for row in shared])
    whole = answers(logits(rng, shared, hard, MANY), truth, np.arange(TOKENS))
    values = [figure.estimate(whole).value for figure in SAMPLED]
    rows: list[list[bool]] = []
    for _ in range(STUDIES):
        found = answers(logits(rng, shared, hard, RUNS), truth, sample_tokens(TOKENS))
        rows.append([])
        for figure, value in zip(SAMPLED, values, strict=True):
            for e in (figure.estimate(found), replace(figure, sampled=False).estimate(found)):
                rows[-1].append(e.low <= value <= e.high)
        rows[-1].append(bool(found.cautions))
    return rows


def main() -> None:
    texts = round(TEXTS * (float(sys.argv[1]) if len(sys.argv) > 1 else 1))
    print("| text | " + " | ".join(figure.name for figure in SAMPLED) + " | caution |")
    print("|---" + "|---:" * (len(SAMPLED) + 1) + "|")
    for name, hardness in TEXTS_OF.items():
        rng = np.random.Generator(np.random.Philox(5))
        shares = 100 * np.mean([row for _ in range(texts) for row in held(rng, hardness)], axis=0)
        cells = [f"{ours:.1f} ({alone:.1f})" for ours, alone in shares[:-1].reshape(-1, 2)]
        print(f"| {name} | {' | '.join(cells)} | {shares[-1]:.0f} |", flush=True)


if __name__ == "__main__":
    main()
