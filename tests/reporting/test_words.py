"""The sentences under a table: they never claim more than the intervals beside them."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from measuring import measure, measure_language

from nondet.analysis.results import ConditionResult, Control, Results
from nondet.reporting import results as words
from nondet.reporting.finding import Finding
from nondet.study.design import Condition


def results(measured: dict[str, Any], identical: bool | None = True, text: bool = False, **more: Any) -> Results:
    """Of a study whose conditions have these measures."""
    study: Any = SimpleNamespace(identity={"recipe": {"bptt": 5} if text else {}})
    conditions = [
        ConditionResult(Condition(name, (name,), m.runs if m else 1, 0), m.runs if m else 1, {}, m)
        for name, m in measured.items()
    ]
    return Results(study, Control(2, identical), tuple(conditions), 0, **more)


def of_answers(flips: float, runs: int, seed: int = 0, examples: int = 200) -> Any:
    """The measures of runs that answer right but for so large a share of the examples."""
    rng = np.random.default_rng(seed)
    return measure((rng.random((runs, examples)) < flips).astype(np.int64), np.zeros(examples, np.int64))


def of_skill(skill: float, runs: int, examples: bool) -> Any:
    """The measures of runs some of which are better than others."""
    rng = np.random.default_rng(3)
    margin = rng.normal(0.8, 1, size=400) + skill * rng.normal(size=(runs, 1)) + rng.normal(size=(runs, 400))
    return measure((margin < 0).astype(np.int64), np.zeros(400, np.int64), examples=examples)


def said_of(*args: Any, **more: Any) -> Finding:
    """What is found in such a study: a headline that is short and has one number, and few sentences."""
    found = words.of_study(results(*args, **more))
    assert found is not None
    check(found)
    return found


def check(found: Finding) -> None:
    bare = re.sub(r"\[.*?\]", "[]", found.headline)
    assert len(found.headline.split()) <= 25
    assert len(re.findall(r"\d+(?:\.\d+)?", bare.split(", over these")[0])) <= 1
    assert len(found.sentences) <= 3
    assert all(text.endswith(".") for text in (found.headline, *found.sentences, *found.caveats))


def test_two_runs_have_no_interval_to_speak_of() -> None:
    """What two runs disagree on is said of these two, without an interval and without a share of one bit's."""
    said = said_of({"bit": of_answers(0.1, 2), "all": of_answers(0.2, 2, 1)})
    assert "[" not in said.headline + said.sentences[0] + said.sentences[1]
    assert "overlap" not in said.caution


def test_few_runs_show_no_difference() -> None:
    """Intervals that overlap are said to; those of two conditions that lie apart need no caveat."""
    said = said_of({"init": of_answers(0.10, 3), "all": of_answers(0.11, 3, 1)})
    assert said.caveats[0] == "The intervals of init and all overlap, so these runs do not show that the two differ."
    said = said_of({"init": of_answers(0.02, 30), "all": of_answers(0.2, 30, 1)})
    assert "overlap" not in said.caution
    assert said.caveats[-1] == "Brackets show 95 % intervals."


def test_extremes_of_many_conditions_lie_apart_by_chance() -> None:
    """The least and the largest of several are picked, which intervals of one condition each do not allow for."""
    measured = {
        name: of_answers(x, 30, i) for i, (name, x) in enumerate({"init": 0.02, "shuffle": 0.1, "all": 0.2}.items())
    }
    assert "the extremes of 3 conditions can be that far apart by chance." in said_of(measured).caution


def test_equal_runs_are_no_evidence_of_a_difference() -> None:
    """Runs of one bit that are all equal have an interval of one point: it lies apart from nothing."""
    labels = np.zeros(60, np.int64)
    rng = np.random.default_rng(0)
    one = measure(rng.normal(size=(1, 60, 3)).repeat(3, axis=0), labels)
    said = said_of({"bit": one, "all": measure(rng.normal(size=(3, 60, 3)), labels)})
    assert "overlap" not in said.caution
    assert "hardly amplifies" not in said.text
    assert "One bit of one weight alone changed no answer in these 3 runs." in said.sentences


def test_one_bit_is_hardly_amplified_only_where_the_interval_says_so() -> None:
    """A small share with a wide interval is given with that; a surely small one is called so."""
    every = of_answers(0.3, 30, 1)
    assert "hardly amplifies" in said_of({"bit": of_answers(0.004, 30), "all": every}).text
    said = said_of({"bit": of_answers(0.01, 4), "all": every}).text
    assert "hardly amplifies" not in said
    assert re.search(r"which is \d+ % \[\d+, \d+\] of what all sources give", said)


@pytest.mark.parametrize("identical", [False, None])
def test_nothing_is_one_bits_alone_unless_the_control_is_zero(identical: bool | None) -> None:
    """Where something else varies, or may, no effect is one bit's alone."""
    measured = {"bit": of_answers(0.1, 20), "all": of_answers(0.2, 20, 1)}
    assert "One bit of one weight alone" in said_of(measured).text
    assert "alone gives" not in said_of(measured, identical).text
    single = said_of({"init": of_answers(0.1, 5)}, identical).headline
    assert single.endswith(
        "when init varies" + (", along with something that no source names." if identical is False else ".")
    )


def test_no_disagreement_is_of_these_runs() -> None:
    """That no two runs disagree is said of these runs, not of training."""
    said = said_of({"init": of_answers(0, 5), "all": of_answers(0, 5)})
    assert said.text == "No two of these runs disagree on any test example, whatever varies."
    said = said_of({"init": of_answers(0, 5)})
    assert said.text == (
        "Two runs disagree on 0.0 % of the test examples when init varies. Accuracy has an SD of 0.00 points."
    )


def test_no_condition_is_measured() -> None:
    """Nothing is said of nothing."""
    assert said_of({"init": None}).headline.startswith("No condition has two runs that did not fail")


@pytest.mark.parametrize("examples", [False, True])
def test_another_test_set_is_spoken_of_with_its_own_interval(examples: bool) -> None:
    """Where intervals do not allow for other examples, and the sentence speaks of them, that is said."""
    said = words.of_measures(of_skill(0.4, 30, examples))
    check(said)
    new = r"on an infinitely large test set it would be [\d.]+ points \[[\d.]+, [\d.]+\]\.$"
    assert re.search(new, said.sentences[-1])
    assert ("not for other test examples" in said.caution) is not examples


def test_a_rest_that_may_be_chance_is_called_so() -> None:
    """An interval that holds 0 gives a limit, not a figure; an estimate below 0 leaves nothing for other test sets."""
    above, below = of_answers(0.2, 6, 1), of_answers(0.2, 6, 8)
    assert above["accuracy_variance.training"].value > 0 > below["accuracy_variance.training"].value
    for m, text in (
        (above, "; the rest is not clearly above zero."),
        (below, "The finite test set alone explains accuracy's variance."),
    ):
        said = words.of_measures(m)
        assert "on an infinitely large test set it would be at most" in said.text
        assert text in said.caution
        assert m["accuracy_variance.training"].low <= 0


def test_a_small_sd_keeps_its_digits() -> None:
    """No SD is rounded to 0 points."""
    rng = np.random.default_rng(0)
    predicted = (rng.random((40, 3000)) < 0.0005 + 0.001 * rng.random((40, 1))).astype(np.int64)
    said = words.of_measures(measure(predicted, np.zeros(3000, np.int64))).text
    assert "SD of 0.00" not in said
    assert re.search(r"it would be (at most )?0\.0\d+", said)


def test_language_models_speak_of_perplexity() -> None:
    """Tokens and perplexity in place of examples and accuracy; no split of a variance that they do not have."""
    rng = np.random.default_rng(0)
    logprob, chosen = -rng.random((4, 30)), rng.integers(5, size=(4, 30))
    m = measure_language(logprob, chosen, rng.normal(size=(4, 30, 5)), rng.integers(5, size=30))
    said = said_of({"init": m}, text=True).text
    assert "of the test tokens, in their most probable next word, when init varies." in said
    assert "Perplexity has an SD of" in said
    assert "ccuracy" not in said
    both = said_of({"bit": m, "all": m}, text=True)
    assert "of the test tokens" in both.text
    assert "variance" not in both.text + both.caution
