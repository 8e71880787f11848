"""The measures of language models, each against a plain loop over runs or pairs, and against theory."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from measuring import cross_entropy_gain, disagreement, measure_language, pearson, spearman
from scipy import special

from nondet.errors import BadInput
from nondet.kinds import LANGUAGE
from nondet.measures.answers import TextAnswers
from nondet.measures.language import language_added, language_delta_by_run, sample_tokens
from nondet.measures.measured import measured

Made = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def make(runs: int = 5, n: int = 600, words: int = 30, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits (N, n, V) and labels (n,): a signal that the runs share, and noise of their own."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(words, size=n)
    shared = rng.normal(size=(n, words)) + 2 * np.eye(words)[labels]
    return (shared + rng.normal(size=(runs, n, words))).astype(np.float32), labels


def left(logits: np.ndarray, labels: np.ndarray) -> Made:
    """What runs with these logits leave."""
    logprob = special.log_softmax(logits.astype(np.float64), -1)[:, np.arange(len(labels)), labels]
    kept = sample_tokens(len(labels))
    return logprob.astype(np.float32), logits.argmax(-1).astype(np.int32), logits[:, kept], labels[kept]


def plain_delta(logits: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """The definition, one pair and one member at a time: perplexity and nats."""

    def loss(z: np.ndarray) -> float:
        return float(-special.log_softmax(z, -1)[np.arange(len(labels)), labels].mean())

    gains: list[tuple[float, float]] = []
    for a, b in combinations(logits.astype(np.float64), 2):
        together = loss((a + b) / 2)
        gains += [(np.exp(together) - np.exp(loss(m)), together - loss(m)) for m in (a, b)]
    first, second = np.mean(gains, axis=0)
    return float(first), float(second)


def test_measures_agree_with_plain_loops() -> None:
    """Every number of the record is the definition's; correlation and delta are the sample's."""
    logits, labels = make()
    made = left(logits, labels)
    record = measure_language(*made, failed=2).to_dict()
    losses = np.array([-row.astype(np.float64).mean() for row in made[0]])
    assert (record["runs"], record["failed"]) == (7, 2)
    for name, values in (("cross_entropy", losses), ("perplexity", np.exp(losses))):
        assert record[name]["mean"] == pytest.approx(values.mean(), rel=1e-12)
        assert record[name]["sd"] == pytest.approx(values.std(), rel=1e-9)
        assert 0 < record[name]["sd_error"] < values.std()
    assert record["disagreement"] == disagreement(logits)
    assert record["correlation"] == {"pearson": pearson(made[2]), "spearman": spearman(made[2])}
    perplexity, nats = plain_delta(made[2], made[3])
    assert record["ensemble_delta"]["perplexity"] == pytest.approx(perplexity, rel=1e-9)
    assert record["ensemble_delta"]["cross_entropy"] == pytest.approx(nats, rel=1e-9)


@pytest.mark.parametrize(("runs", "words", "scale"), [(2, 2, 1), (7, 50, 3), (4, 6, 100), (3, 5, 1000)])
def test_delta_agrees_with_a_loop_over_pairs(runs: int, words: int, scale: float) -> None:
    """Near and far runs, those whose overlap would underflow among them, have the definition's delta."""
    logits, labels = make(runs, 20, words, seed=runs)
    logits = scale * logits.astype(np.float64)
    expected = plain_delta(logits, labels)
    perplexity, nats = (rows.mean() for rows in language_delta_by_run(logits, labels))
    assert nats == pytest.approx(expected[1], rel=1e-9)
    assert nats == pytest.approx(cross_entropy_gain(logits, labels), rel=1e-9)
    if np.isfinite(perplexity):
        assert perplexity == pytest.approx(expected[0], rel=1e-9)
    assert np.isfinite(perplexity) == (scale < 1000)


def test_delta_does_not_depend_on_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading one token at a time gives the deltas of reading all at once."""
    logits, labels = make(4, 30)
    whole = language_delta_by_run(logits, labels)
    monkeypatch.setattr("nondet.measures.arrays.TILE", 1)
    for rows, expected in zip(language_delta_by_run(logits, labels), whole, strict=True):
        np.testing.assert_allclose(rows, expected, rtol=1e-12)


@pytest.mark.parametrize("runs", [2, 3, 20])
@pytest.mark.parametrize("words", [7, 257])
def test_equal_runs_differ_nowhere(runs: int, words: int) -> None:
    """A control of equal runs has spreads, disagreement and deltas of exactly 0, and correlation 1."""
    logits, labels = make(1, 300, words)
    record = measure_language(*left(np.repeat(logits, runs, axis=0), labels)).to_dict()
    for name in ("perplexity", "cross_entropy"):
        assert (record[name]["sd"], record[name]["sd_error"]) == (0, 0)
    assert record["disagreement"] == 0
    assert record["correlation"] == {"pearson": 1, "spearman": 1}
    assert record["ensemble_delta"] == {"perplexity": 0, "cross_entropy": 0}


def test_order_of_runs_is_irrelevant() -> None:
    """Permuted runs have the same measures."""
    logits, labels = make()
    a = measure_language(*left(logits, labels)).to_dict()
    b = measure_language(*left(logits[[3, 0, 4, 1, 2]], labels)).to_dict()
    for name in ("perplexity", "cross_entropy", "correlation", "ensemble_delta"):
        assert a[name] == pytest.approx(b[name], rel=1e-9)
    assert a["disagreement"] == b["disagreement"]


def test_a_uniform_model_has_the_perplexity_of_its_vocabulary() -> None:
    """exp of log V is V, whatever the text."""
    labels = np.arange(50)
    measures = measure_language(*left(np.zeros((3, 50, 70)), labels))
    assert measures["perplexity.mean"].value == pytest.approx(70, rel=1e-6)
    assert measures.to_dict()["correlation"] == {"pearson": None, "spearman": None}


def test_a_perplexity_beyond_all_measure_is_no_number() -> None:
    """A run with 1,000 nats a token has a cross-entropy, and no perplexity that a mean could take."""
    logits, labels = make(3, 40)
    logprob, *rest = left(logits, labels)
    logprob[1] -= 1000
    record = measure_language(logprob, *rest).to_dict()
    assert record["perplexity"] == {"mean": None, "sd": None, "sd_error": None}
    assert record["cross_entropy"]["mean"] > 300


@pytest.mark.parametrize("n", [1, 2, 255, 256, 257, 1000, 82_429])
def test_sample_tokens(n: int) -> None:
    """At most 256 different tokens, evenly spaced over the text, the same at every call; all of a short text."""
    kept = sample_tokens(n)
    assert len(kept) == min(n, 256)
    assert kept[0] >= 0
    assert kept[-1] < n
    steps = np.diff(kept)
    assert len(steps) == 0 or (steps.min() >= 1 and steps.max() - steps.min() <= 1)
    assert abs(int(kept[0]) - (n - 1 - int(kept[-1]))) <= 1
    assert np.array_equal(kept, sample_tokens(n))


def test_bad_arrays() -> None:
    """Arrays that do not fit, or are no log-probabilities, are refused in one sentence."""
    logits, labels = make(3, 40)
    good: list[Any] = list(left(logits, labels))
    wrong: list[tuple[int, Any, str]] = [
        (0, good[0][:, :-1], "same runs and tokens"),
        (1, good[1][:2], "same runs and tokens"),
        (2, good[2][:2], "same runs and tokens"),
        (0, good[0][:1], "runs must be at least 2"),
        (0, -good[0], "finite and at most 0"),
        (0, good[0] * np.nan, "finite and at most 0"),
        (0, good[1], "floats with two axes"),
        (1, good[0], "integers with two axes"),
        (3, good[3] + 30, "labels must be from 0 to 29"),
    ]
    for place, value, sentence in wrong:
        given = list(good)
        given[place] = value
        with pytest.raises(BadInput, match=sentence):
            measure_language(*given)
    with pytest.raises(BadInput, match=r"0 or more .got -1."):
        measure_language(*good, failed=-1)


def test_a_sample_of_tokens_adds_what_leaving_one_out_changes() -> None:
    """The variance that drawing tokens adds is the jackknife's over tokens, less what each cell has of its own."""
    logits, labels = make(runs=8, n=256)
    shared = logits.mean(axis=0) + 3.0 * np.random.default_rng(1).normal(size=(256, 1)) * logits.mean(axis=0)
    logits = (shared + 0.1 * logits).astype(np.float32)
    found = language_added(logits, labels)
    every = np.arange(256)
    left = np.array([plain_delta(logits[:, every != out], labels[every != out]) for out in every[::4]])
    jackknife = 255 * left.var(axis=0, ddof=1)
    assert found["perplexity"] == pytest.approx(jackknife[0], rel=0.35)
    assert found["cross_entropy"] == pytest.approx(jackknife[1], rel=0.35)


def test_intervals_are_for_all_tokens_of_the_text() -> None:
    """Of a sample of tokens intervals are wider than those over runs; of all tokens they are the same."""
    logits, labels = make(runs=10, n=2000)
    logits *= 1 + 0.5 * np.random.default_rng(2).random((2000, 1), dtype=np.float32)  # at some tokens runs differ more
    made = left(logits, labels)
    answers = TextAnswers(*made)
    sampled = [figure for figure in LANGUAGE.figures if figure.sampled]
    assert [figure.name for figure in sampled] == [
        "correlation.pearson",
        "correlation.spearman",
        "ensemble_delta.perplexity",
        "ensemble_delta.cross_entropy",
    ]
    for figure in sampled:
        wide, alone = figure.estimate(answers), replace(figure, sampled=False).estimate(answers)
        assert wide.value == alone.value
        assert wide.error > alone.error
        assert wide.low < alone.low < alone.high < wide.high
    whole = TextAnswers(made[0][:, :200], made[1][:, :200], logits[:, :200], labels[:200])
    for figure in sampled:
        assert figure.estimate(whole) == replace(figure, sampled=False).estimate(whole)


def test_a_sample_that_is_unlike_the_text_is_named() -> None:
    """Where every eighth token is harder, and just these are sampled, a note says that the figures are theirs."""
    logits, labels = make(runs=6, n=2048)
    usual = TextAnswers(*left(logits, labels))
    assert usual.cautions == []
    logits[:, sample_tokens(2048)] *= 0.2
    answers = TextAnswers(*left(logits, labels))
    assert "may not hold for all 2,048" in answers.cautions[0]
    assert answers.cautions[0] in measured(LANGUAGE.figures, answers).notes
    assert TextAnswers(*left(logits[:, :200], labels[:200])).cautions == []


def test_what_tokens_add_is_found_from_fewer_where_they_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of every fourth token of the sample it is on average what it is of all of them."""
    shares: list[float] = []
    for seed in range(6):
        logits, labels = make(runs=8, n=3000, words=12, seed=seed)
        logits *= np.exp(np.random.default_rng(seed).uniform(-1, 1, size=(3000, 1))).astype(np.float32)
        answers = TextAnswers(*left(logits, labels))
        whole = answers.correlation_added("pearson")
        with monkeypatch.context() as patch:
            patch.setattr("nondet.measures.answers.MOST_NUMBERS", answers.outputs.size // 4)
            shares.append(answers.correlation_added("pearson") / whole)
    assert np.mean(shares) == pytest.approx(1, abs=0.4)
    assert len(set(shares)) == 6
