"""`nondet alike` and `nondet examples` on finished studies."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from measuring import disagreement, measure
from PIL import Image

from nondet.analysis import unstable
from nondet.analysis.alike import alike as all_tests
from nondet.analysis.reader import Reader
from nondet.errors import BadInput
from nondet.measures.language import sample_tokens
from nondet.reporting.alike import sentences
from nondet.stats.equivalence import omnibus, pairs
from nondet.study import record as studies
from nondet.study.design import Condition
from nondet.study.study import Study

Nondet = Callable[..., Any]


LATE = (Condition("shuffle@1", ("shuffle",), 6, 1), Condition("init+shuffle@1", ("init", "shuffle"), 6, 1))
SIX = (
    Condition("shuffle", ("shuffle",), 6),
    Condition("init+shuffle", ("init", "shuffle"), 6),
    Condition("bit", ("bit",), 6),
    *LATE,
    Condition("bit@1", ("bit",), 6, 1),
)
THREE = (Condition("init", ("init",), 3), Condition("all", ("init", "shuffle"), 3))
Arrays = dict[str, np.ndarray]


def made(folder: Path, conditions: tuple[Condition, ...], arrays: Callable[[int], Arrays], text: bool = False) -> Path:
    """A finished study without any training: each run has the arrays of its own seed, the control's repeats of one."""
    study = Study(
        folder=folder,
        identity={"name": "made", "recipe": {"bptt": 4} if text else {}},
        sources=("init", "shuffle", "bit"),
        environment={"stack": 20},
        labels=np.random.default_rng(0).integers(0, 3, 300 if text else 20),
        command=("nondet", "run", "made"),
        conditions=conditions,
    )
    record = {"failed": None, "environment": dict(study.environment)}
    for seed, (key, spec) in enumerate(study.planned().items()):
        study.store.put(key, arrays(0 if spec.repeat else seed), record | {"run": spec.as_dict()})
    studies._save(study)
    return folder


def logits_of(seed: int) -> Arrays:
    shared = np.random.default_rng(1000).normal(size=(20, 3))
    return {"outputs": (shared + np.random.default_rng(seed).normal(size=(20, 3))).astype(np.float32)}


def tokens_of(seed: int) -> Arrays:
    logits = np.random.default_rng(seed).normal(size=(300, 9))
    return {
        "logprob": -np.abs(logits).mean(axis=1).astype(np.float32),
        "prediction": logits.argmax(axis=1).astype(np.int32),
        "sample.logits": logits[sample_tokens(300)].astype(np.float32),
    }


@pytest.fixture
def six(tmp_path: Path) -> Path:
    """Six runs of three conditions from the start, and of three from epoch 1 on, two of which are the same runs."""
    return made(tmp_path / "six", SIX, logits_of)


@pytest.fixture
def three(tmp_path: Path) -> Path:
    """Three runs of two conditions."""
    return made(tmp_path / "three", THREE, logits_of)


@pytest.fixture
def text_study(tmp_path: Path) -> Path:
    """Six runs of two conditions of a language model of 9 words, on 300 tokens."""
    return made(tmp_path / "text", (SIX[0], SIX[2]), tokens_of, text=True)


def test_alike_json(nondet: Nondet, six: Path) -> None:
    """The contract's fields are there for every metric and pair, with one onset's conditions never beside another's."""
    ran = nondet("alike", six, "--json")
    assert (ran.code, ran.err) == (0, "")
    found = ran.json
    assert (found["margin"], found["level"]) == (1.25, 0.05)
    assert {(p["a"], p["b"], p["onset"]) for p in found["pairs"]} == {
        ("shuffle", "init+shuffle", 0),
        ("shuffle", "bit", 0),
        ("init+shuffle", "bit", 0),
        ("shuffle@1", "bit@1", 1),
    }
    metrics = [test["metric"] for test in found["omnibus"] if test["onset"] == 0]
    assert metrics == [
        "accuracy.sd",
        "cross_entropy.sd",
        "disagreement",
        "correlation.pearson",
        "ensemble_delta.accuracy",
        "ensemble_delta.cross_entropy",
    ]
    for pair in found["pairs"]:
        assert {"ratio", "low", "high", "p_value", "p_holm", "verdict"} <= pair.keys()
        assert pair["verdict"] in ("equivalent", "different", "undecided")
    assert found["left_out"] == [
        {
            "condition": "init+shuffle@1",
            "reason": "0 sound runs of its own besides the reference run, but 5 are needed",
        }
    ]
    assert set(found["runs"].values()) == {5}
    assert "at a margin of 1.25" in found["sentence"]


def test_alike_table(nondet: Nondet, six: Path) -> None:
    """The table has a row for each pair, and says in words what was shown, of which runs, and what was left out."""
    ran = nondet("alike", six, "--margin", 2, "--level", 0.1)
    assert ran.code == 0
    for text in ("shuffle / bit", "shuffle@1 / bit@1", "80 % interval", "at a margin of 2", "Left out: init+shuffle@1"):
        assert text in " ".join(ran.out.split())
    lines = ran.out.splitlines()
    (place,) = (number for number, line in enumerate(lines) if line.startswith("shuffle / bit "))
    assert re.match(r"( +\S+ to \S+)+$", lines[place + 1]), "the ratios' intervals, in a row of their own"
    assert "\\n" not in ran.out


def test_effects_are_the_measures(six: Path) -> None:
    """The numbers by run give the table's figures of the same runs, the reference run left out."""
    opened = studies.load(six)
    groups = all_tests(opened).groups
    specs = opened.conditions[0].specs(opened.identity, opened.sources)
    outputs = np.stack([opened.store.get(spec.key).arrays["outputs"] for spec in specs[1:]])
    exact = measure(outputs, opened.labels)
    rows = {m.name: m.by_run["shuffle"] for m in groups[0].metrics}
    assert np.std(rows["accuracy.sd"]) == pytest.approx(exact["accuracy.sd"].value)
    assert np.std(rows["cross_entropy.sd"]) == pytest.approx(exact["cross_entropy.sd"].value)
    assert rows["disagreement"].mean() == pytest.approx(exact["disagreement"].value)
    assert rows["correlation.pearson"].mean() == pytest.approx(1 - exact["correlation.pearson"].value)
    assert rows["ensemble_delta.accuracy"].mean() == pytest.approx(exact["ensemble_delta.accuracy"].value)
    assert rows["ensemble_delta.cross_entropy"].mean() == pytest.approx(-exact["ensemble_delta.cross_entropy"].value)


def test_alike_refuses(nondet: Nondet, three: Path, six: Path, tmp_path: Path) -> None:
    """Too few runs, bad margins and levels, and folders that are no study: one sentence and status 2."""
    for words, rule in (
        ((three,), "must have at least 5 sound runs each besides the reference run"),
        ((six, "--margin", 1), "margin must be a ratio above 1"),
        ((six, "--margin", "nan"), "margin must be a ratio above 1"),
        ((six, "--level", 0.7), "level must be above 0 and below 0.5"),
        ((tmp_path,), "is not a study"),
    ):
        ran = nondet("alike", *words)
        assert (ran.code, ran.out) == (2, "")
        assert rule in ran.err
        assert ran.err.count("\n") == 1


def test_alike_with_equal_runs(six: Path) -> None:
    """A condition whose runs are all equal has no effect, is never called alike, and the sentence says so."""
    found = all_tests(studies.load(six))
    still = [
        replace(m, by_run={**m.by_run, "bit@1": np.full(5, 80.0 if m.spread else 0.0)}) for m in found.groups[1].metrics
    ]
    tested = tuple(pair for m in still for pair in pairs(m))
    group = replace(found.groups[1], metrics=tuple(still), omnibus=tuple(omnibus(still)), pairs=tested)
    assert {p.verdict for p in tested} <= {"different", "undecided"}
    assert {p.ratio for p in tested} == {None}
    assert "bit@1 has no effect at all." in sentences(replace(found, groups=(group,)))[0]


def test_alike_of_an_unfinished_study(nondet: Nondet, six: Path) -> None:
    """What is there is compared; what is missing is said on standard error, with the way to go on."""
    opened = studies.load(six)
    last = opened.conditions[0].specs(opened.identity, opened.sources)[-1].key
    for path in (six / "runs").glob(f"{last}*"):
        path.unlink()
    ran = nondet("alike", six, "--json")
    assert ran.code == 0
    assert ran.json["runs"].keys() == {"init+shuffle", "bit", "shuffle@1", "bit@1"}
    assert "4 sound runs of its own" in ran.json["left_out"][0]["reason"]
    assert "Not finished: 1 runs still have to be trained. Go on with:" in ran.err


def test_examples_json(nondet: Nondet, six: Path) -> None:
    """The record has the condition's disagreement, its most unstable examples in order, and each class's churn."""
    ran = nondet("examples", f"{six}:shuffle", "--json", "--top", 3)
    assert (ran.code, ran.err) == (0, "")
    found = ran.json
    opened = studies.load(six)
    specs = opened.conditions[0].specs(opened.identity, opened.sources)
    outputs = np.stack([opened.store.get(spec.key).arrays["outputs"] for spec in specs])
    assert (found["condition"], found["runs"], found["examples"]) == ("shuffle", 6, 20)
    assert found["disagreement"] == pytest.approx(disagreement(outputs))
    assert found["unanimous"]["all"] == pytest.approx(
        found["unanimous"]["right"] + found["unanimous"]["wrong"], abs=1e-9
    )
    assert [e["disagreement"] for e in found["top"]] == sorted((e["disagreement"] for e in found["top"]), reverse=True)
    first = found["top"][0]
    votes = np.bincount(outputs[:, first["index"]].argmax(axis=1), minlength=3)
    assert {v["class"]: v["runs"] for v in first["votes"]} == {k: v for k, v in enumerate(votes.tolist()) if v}
    assert first["label"] == opened.labels[first["index"]]
    churn = sum(c["churn"] * c["examples"] for c in found["classes"]) / 20
    assert churn == pytest.approx(found["disagreement"])


def test_examples_are_deterministic(nondet: Nondet, six: Path) -> None:
    """The same study gives the same output, ties in the order of the examples."""
    first, again = (nondet("examples", f"{six}:bit", "--json").out for _ in range(2))
    assert first == again
    top = json.loads(first)["top"]
    assert top == sorted(top, key=lambda e: (-e["disagreement"], e["index"]))


def test_examples_in_words(nondet: Nondet, three: Path) -> None:
    """Without a condition it is `all`; the sentence says how many examples carry the disagreement."""
    ran = nondet("examples", three, "--top", 2)
    assert ran.code == 0
    text = " ".join(ran.out.split())
    assert "all 3 runs agree (condition all; " in text
    assert "the 10 % that flip most" in text
    assert "churn (%)" in text


def test_examples_refuses(nondet: Nondet, six: Path, tmp_path: Path) -> None:
    """A condition that has to be chosen, or is not there, --top of 0, no study: one sentence and status 2."""
    for words, rule in (
        ((six,), "has several conditions, and none is called all; choose one of shuffle, init+shuffle, bit"),
        ((f"{six}:none",), "has no condition 'none'; choose one of shuffle"),
        ((f"{six}:bit", "--top", 0), "top must be at least 1 (got 0)"),
        ((tmp_path / "gone",), "is not a study"),
    ):
        ran = nondet("examples", *words)
        assert (ran.code, ran.out) == (2, "")
        assert rule in ran.err
        assert ran.err.count("\n") == 1


def test_folder_with_a_colon(nondet: Nondet, three: Path, tmp_path: Path) -> None:
    """A folder may have a colon in its own name, with and without a condition after it."""
    folder = three.rename(tmp_path / "a:b")
    assert nondet("examples", folder, "--json").json["condition"] == "all"
    assert nondet("examples", f"{folder}:init", "--json").json["condition"] == "init"


def test_examples_without_pictures(nondet: Nondet, finished: Path, tmp_path: Path) -> None:
    """Where the inputs are no pictures it says so, writes nothing, and the rest is there."""
    ran = nondet("examples", finished, "--pictures", tmp_path / "p", "--run-task")
    assert ran.code == 0
    assert "No pictures: the inputs of this task are not pictures" in ran.out
    assert not (tmp_path / "p").exists()


def test_pictures_need_a_folder(nondet: Nondet, finished: Path, tmp_path: Path) -> None:
    """A file where the folder of the pictures should be is bad input, and stays what it is."""
    (tmp_path / "p").write_text("x")
    ran = nondet("examples", finished, "--pictures", tmp_path / "p")
    assert (ran.code, ran.out) == (2, "")
    assert "--pictures must name a folder" in ran.err
    assert (tmp_path / "p").read_text() == "x"


def test_examples_writes_pictures(nondet: Nondet, task_file: Callable[..., Path], tmp_path: Path) -> None:
    """The pictures of a user's own task are PNG files named by number; the JSON says where they are."""
    task = task_file(
        ("rng.standard_normal((60, 6), dtype=np.float32)", "rng.standard_normal((60, 1, 8, 8), dtype=np.float32)"),
        ("inputs[:, 0].numpy()", "inputs[:, 0, 0, 0].numpy()"),
        ("nn.Sequential(nn.Linear(6, 8)", "nn.Sequential(nn.Flatten(), nn.Linear(64, 8)"),
    )
    assert nondet("run", task, "--runs", 2, "--vary", "bit", "--study", tmp_path / "s").code == 0
    ran = nondet("examples", tmp_path / "s", "--top", 3, "--pictures", tmp_path / "p", "--run-task", "--json")
    assert ran.code == 0
    names = [f"{e['index']}.png" for e in ran.json["top"]]
    assert ran.json["pictures"] == {"files": [str(tmp_path / "p" / name) for name in names], "reason": ""}
    assert sorted(path.name for path in (tmp_path / "p").iterdir()) == sorted(names)
    with Image.open(io.BytesIO((tmp_path / "p" / names[0]).read_bytes())) as image:
        assert image.size == (96, 96)


def test_two_runs_are_needed(three: Path) -> None:
    """A condition with one finished run has no disagreement; the sentence says how to go on."""
    opened = studies.load(three)
    alone = replace(opened.conditions[0], runs=1)
    with pytest.raises(BadInput, match=r"runs must be at least 2 to disagree \(got 1 of init"):
        unstable.unstable(Reader(opened).runs(alone), "any", 5)


def test_language_models(nondet: Nondet, text_study: Path) -> None:
    """A language model's effects are the SD of perplexity in place of accuracy's, and the rest as for classifiers."""
    found = nondet("alike", text_study, "--json")
    assert found.code == 0, found.err
    assert [test["metric"] for test in found.json["omnibus"]] == [
        "perplexity.sd",
        "cross_entropy.sd",
        "disagreement",
        "correlation.pearson",
        "ensemble_delta.cross_entropy",
    ]
    assert nondet("alike", text_study).out.lstrip().startswith("PPL SD")


def test_tokens_that_flip(nondet: Nondet, text_study: Path, tmp_path: Path) -> None:
    """An example of a language model is a token; entropy within is known where its logits were kept."""
    ran = nondet("examples", f"{text_study}:shuffle", "--top", 300, "--json", "--pictures", tmp_path / "p")
    assert ran.code == 0, ran.err
    within = {e["index"] for e in ran.json["top"] if e["entropy"]["within"] is not None}
    assert within == set(sample_tokens(300).tolist())
    assert ran.json["pictures"] == {"files": [], "reason": "a text has words, not pictures"}
    assert "test tokens" in ran.json["sentence"]
    lines = nondet("examples", f"{text_study}:bit", "--top", 2).out.splitlines()
    counts = [int(line.split()[1]) for line in lines[5:8]]
    assert counts == sorted(counts, reverse=True)


def test_control(nondet: Nondet, three: Path) -> None:
    """Where the control is not zero both commands say so on standard error, and exit with 3."""
    opened = studies.load(three)
    repeat = list(opened.control_specs())[-1]
    record = opened.store.record(repeat)
    for path in (three / "runs").glob(f"{repeat}*"):
        path.unlink()
    opened.store.put(repeat, logits_of(77), {name: record[name] for name in ("run", "environment", "failed")})
    ran = nondet("examples", three)
    assert (ran.code, "CONTROL IS NOT ZERO" in ran.err) == (3, True)
