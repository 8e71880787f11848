"""The finding of every record: a short headline with one number and its interval, few sentences, caveats apart."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nondet as nd
from nondet.analysis.reproduce.audit import Audit, Row
from nondet.analysis.reproduce.causes import BY_KIND
from nondet.analysis.reproduce.diverge import Diverged
from nondet.analysis.reproduce.ladder import Origin
from nondet.analysis.reproduce.parting import Parting
from nondet.analysis.reproduce.resume import Difference, Resumed
from nondet.reporting.finding import Finding, named

seeds = st.integers(0, 10_000)
NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?")


def check(found: Any, interval: bool = True) -> Finding:
    """The form of a finding. interval: whether its number has one."""
    said: Finding = found.finding
    bare = re.sub(r"\[[^]]*\]", "[]", said.headline)
    assert len(said.headline.split()) <= 25
    assert len(NUMBER.findall(bare)) == 1
    assert said.headline.count("[") == interval
    assert len(said.sentences) <= 3
    assert all(text.endswith(".") for text in (said.headline, *said.sentences, *said.caveats))
    assert not any("  " in text or "nan" in text.split() for text in (said.headline, *said.sentences, *said.caveats))
    assert list(found.to_dict())[-1] == "finding"
    assert found.to_dict()["finding"] == said.to_dict()
    assert json.dumps(found.to_dict(), allow_nan=False)
    return said


def scores(rng: np.random.Generator, shift: float = 0.0, scale: float = 1.0, runs: int | None = None) -> list[float]:
    """One number for each of a few runs."""
    values = rng.normal(90 + shift, scale, size=runs or int(rng.integers(3, 12)))
    return np.asarray(values, dtype=float).tolist()


@settings(max_examples=40, deadline=None)
@given(seed=seeds, shift=st.sampled_from([0.0, 0.3, -2.0, 30.0]), margin=st.sampled_from([None, 0.5, 5.0]))
def test_of_a_comparison(seed: int, shift: float, margin: float | None) -> None:
    """Whatever the verdict, the headline has it, and the difference with its interval."""
    rng = np.random.default_rng(seed)
    found = nd.compare({"base": scores(rng), "aug": scores(rng, shift)}, margin=margin)
    said = check(found)
    words = {"undecided": "is undecided", "alike": "are alike"}.get(found.verdict, f"aug is {found.verdict} than base")
    assert words in said.headline
    assert "Brackets show 95 % intervals." in said.caveats
    assert found.to_dict()["sentence"] == said.text


@settings(max_examples=20, deadline=None)
@given(seed=seeds, chance=st.sampled_from([0.6, 0.75]))
def test_of_a_comparison_by_chance(seed: int, chance: float) -> None:
    """A verdict that goes by the chance has that in its headline."""
    rng = np.random.default_rng(seed)
    check(nd.compare({"base": scores(rng), "aug": scores(rng, rng.normal())}, chance=chance))


@settings(max_examples=15, deadline=None)
@given(seed=seeds)
def test_of_several_comparisons(seed: int) -> None:
    """The clearest one is the headline's, and the first sentence counts all."""
    rng = np.random.default_rng(seed)
    arms = {name: scores(rng, shift) for name, shift in (("base", 0.0), ("b", 0.1), ("c", 5.0), ("d", 0.0))}
    said = check(nd.compare(arms))
    assert said.sentences[0].startswith("Of the 3 compared with base, ")
    assert len(said.caveats) == len(set(said.caveats))
    assert said.caveats[-1] == "Brackets show 95 % intervals."


@settings(max_examples=40, deadline=None)
@given(seed=seeds, effect=st.sampled_from([0.1, 1.0, 20.0]), looks=st.integers(1, 3), runs=st.integers(3, 30))
def test_of_a_plan(seed: int, effect: float, looks: int, runs: int) -> None:
    """The runs of each arm, with the range that the SD's interval leaves where there is one."""
    found = nd.plan(effect, pilot=scores(np.random.default_rng(seed), runs=runs), looks=looks)
    said = check(found, interval=found.high is not None and found.low != found.high)
    assert said.headline.startswith(f"Each arm needs {found.runs_per_arm:,} runs")
    check(nd.plan(effect, sd=1.0, looks=looks), interval=False)


@settings(max_examples=20, deadline=None)
@given(seed=seeds, new=st.integers(1, 3), runs=st.integers(2, 20))
def test_of_a_floor(seed: int, new: int, runs: int) -> None:
    """The prediction interval is the headline's, and what is noise a sentence."""
    said = check(nd.floor(scores(np.random.default_rng(seed), runs=runs), new))
    assert re.match(r"A difference of less than .* is noise\.", said.sentences[0])


@settings(max_examples=15, deadline=None)
@given(seed=seeds, shift=st.sampled_from([-4.0, 0.0, 4.0]))
def test_of_a_gate(tmp_path_factory: pytest.TempPathFactory, seed: int, shift: float) -> None:
    """What to do is the first word; evidence has no interval."""
    rng = np.random.default_rng(seed)
    ledger = tmp_path_factory.mktemp("gate") / "ledger.jsonl"
    found = nd.gate(scores(rng, runs=8), scores(rng, shift, runs=6), ledger)
    said = check(found, interval=False)
    assert said.headline.split()[0].lower() == found.verdict.split()[0]


@settings(max_examples=15, deadline=None)
@given(seed=seeds, arms=st.integers(1, 4))
def test_of_scores(seed: int, arms: int) -> None:
    """The spread of the first arm, and what the others' are."""
    rng = np.random.default_rng(seed)
    found = nd.measure({name: scores(rng) for name in "abcd"[:arms]})
    said = check(found)
    assert "has an SD of" in said.headline
    assert len(said.sentences) == 1 + (arms > 1)


def test_of_alike_has_the_differing_pair_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pair that differs is the headline, comes first in the table and in the sentence."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(1)
    for name, scale in (("quiet", 1.0), ("calm", 1.0), ("wild", 30.0)):
        Path(f"{name}.txt").write_text("\n".join(map(str, scores(rng, 0, scale, 40))))
    found = nd.alike("quiet.txt", others=["calm.txt", "wild.txt"])
    said = check(found)
    assert "wild.txt differ in " in said.headline
    assert said.sentences[0].startswith("Of the 3 pairs 2 (")
    lines = [line for line in str(found).splitlines() if " / " in line]
    assert "wild" in lines[0]
    assert "wild" in lines[1]
    assert "wild" not in lines[2]
    assert found.sentence.startswith("These pairs differ: ")


def test_of_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One run each: the difference over examples."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 200)
    for name, share in (("a", 0.5), ("b", 0.9)):
        right = rng.random(200) < share
        np.save(f"{name}.npy", np.where(right, labels, (labels + 1) % 3)[None])
    found = nd.compare("a.npy", "b.npy", labels=labels)
    said = check(found)
    assert any(text.startswith("This is about these two models") for text in said.caveats)


def test_a_long_name_leaves_the_headline_short() -> None:
    """A name of many words is cut in the headline, and whole in the table."""
    name = "a network whose name goes on and on and on"
    assert named(name) == "a network whose..."
    rng = np.random.default_rng(0)
    found = nd.compare({"base": scores(rng), name: scores(rng, 5)})
    check(found)
    assert name in str(found)


def test_of_outputs() -> None:
    """Two runs disagree on so many examples, whatever the outputs are."""
    rng = np.random.default_rng(0)
    for runs in (2, 3, 12):
        logits = rng.normal(size=(runs, 50, 4)) + 2 * np.eye(4)[rng.integers(0, 4, 50)]
        found = nd.measure(logits, rng.integers(0, 4, 50))
        said: Finding = found.finding
        assert re.match(r"Two runs disagree on [\d.]+ %", said.headline)
        assert list(found.to_dict())[-1] == "finding"


def audited(**more: Any) -> Audit:
    """What an audit of a script has shown."""
    given: dict[str, Any] = {"sources": (), "unexplained": None, "inconclusive": "", "whole": True, **more}
    return Audit(name="train.py", findings=(), steps=10, runs=6, **given)


ORIGIN = Origin(BY_KIND["clock"], "train.py:12", Parting("loss", 3, "train.py:12", 1))


def diverged(verdict: str, **more: Any) -> Diverged:
    """What two runs of a script with a long name of words have shown."""
    given: dict[str, Any] = {
        "script": "train.py --epochs three --name some thing",
        "step": 3,
        "what": "gradients",
        "origins": (ORIGIN,),
        "window": (0, 9),
        "whole": False,
        "evaluations": 0,
        "runs": 4,
    }
    return Diverged(verdict=verdict, **{**given, **more})


@pytest.mark.parametrize(
    ("found", "headline"),
    [
        (diverged("origin"), "Two runs of train.py --epochs three... diverge at step 3."),
        (diverged("none"), "Two runs of train.py --epochs three... are equal to the last bit."),
        (diverged("none", against="a folder of mine there", whole=True), "are equal to the last bit."),
        (diverged("inconclusive", why="the script takes no step"), "Inconclusive: "),
        (diverged("inconclusive", what="", origins=()), "leaves nothing to compare."),
        (diverged("inconclusive", origins=()), "diverge at step 3."),
        (Resumed("train.py", "resumes", (), 4), "train.py resumes to the last bit."),
        (Resumed("train.py", "inconclusive", (), 4, why="it writes nothing"), "Inconclusive: "),
        (
            Resumed("train.py", "differs", (Difference("optimizer", 4), Difference("weights", 5)), 4, "train.py:9"),
            "train.py does not resume: optimizer differs first, before step 4.",
        ),
        (audited(), "Clean: nothing was found in train.py."),
        (audited(inconclusive="it takes no step"), "Inconclusive: the audit of train.py shows nothing."),
        (audited(unexplained="repeats differ", whole=False), "1 finding in train.py."),
        (
            audited(sources=(Row("init", 4, False, (), "dead"), Row("shuffle", 4, True, ("init",), "leaks"))),
            "2 findings",
        ),
    ],
)
def test_of_trainings_that_do_not_reproduce(found: Any, headline: str) -> None:
    """The headline says what diverges, the sentences the cause and the fix, a caveat what was not looked at."""
    said: Finding = found.finding
    assert headline in said.headline
    assert len(said.headline.split()) <= 25
    assert len(said.sentences) <= 3
    assert all(text.endswith(".") for text in (said.headline, *said.sentences, *said.caveats))
    assert list(found.to_dict())[-1] == "finding"


def test_the_mend_is_a_sentence_of_its_own() -> None:
    """The cause, with its line, comes before it; and what was not looked at is a caveat."""
    said: Finding = diverged("origin").finding
    assert said.sentences == (
        "The cause: the clock is read (time), at train.py:12.",
        "The fix: use a fixed number instead.",
    )
    assert said.caveats == ("Nothing is known about what comes after the steps that were looked at.",)
