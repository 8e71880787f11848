"""Which columns of a table are outputs: names that leave no doubt are read, the rest is left out or refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv, parquet

Nondet = Callable[..., Any]

RUNS, EXAMPLES = 4, 40


def answers(share: float, seed: int = 0) -> Any:
    """Predicted classes (N, n) of which this share is right, and the labels (n,)."""
    rng = np.random.default_rng(seed)
    labels = np.arange(EXAMPLES) % 2
    return np.where(rng.random((RUNS, EXAMPLES)) < share, labels, 1 - labels), labels


PAIRS = [(f"{word}0", f"{word}1") for word in ("logit_", "prob_", "p", "c", "")]
PAIRS += [("a", "b"), ("cat", "dog"), ("prob_cat", "prob_dog")]
"""Columns of the logits, or probabilities, of two classes."""


def columns(share: float, names: Sequence[str], seed: int = 0) -> Any:
    """A table of these columns, each made as its name says."""
    predicted, labels = answers(share, seed)
    rng = np.random.default_rng(seed + 100)
    flat, size = predicted.ravel(), predicted.size
    score = np.round(0.5 + 0.5 * rng.random(size), 3)
    made = {
        "label": np.tile(labels, RUNS),
        "seed": np.repeat(np.arange(RUNS), EXAMPLES) + 17,
        "epoch": np.full(size, 5),
        "fold": np.arange(size) % 3,
        "correct": (flat == np.tile(labels, RUNS)).astype(int),
        "image": [f"{k}.png" for k in range(size)],
        "flag": flat == 0,
        **dict.fromkeys(("pred", "prediction", "y_pred", "guess", "class", "seen"), flat),
        **dict.fromkeys(("prob", "confidence", "max_prob", "prob_pred", "loss", "certainty", "foo"), score),
        **{name: np.where(flat == k, score, 1 - score) for pair in PAIRS for k, name in enumerate(pair)},
    }
    keys = {"run": np.repeat(np.arange(RUNS), EXAMPLES), "example": np.tile(np.arange(EXAMPLES), RUNS)}
    return pa.table(keys | {name: made[name] for name in ("label", *names)})


def write(path: Path, *names: str, share: float = 0.8, seed: int = 0) -> Path:
    """Such a table as a file."""
    rows = columns(share, names, seed)
    (parquet.write_table if path.suffix == ".parquet" else csv.write_csv)(rows, path)
    return path


def accuracy(share: float, seed: int = 0) -> float:
    predicted, labels = answers(share, seed)
    return 100 * float((predicted == labels).mean())


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize(
    ("names", "read", "left_out"),
    [
        (("pred", "prob"), ("pred",), "'prob'"),
        (("seed", "prediction"), ("prediction",), "'seed'"),
        (("y_pred", "epoch", "fold"), ("y_pred",), "'epoch', 'fold'"),
        (("correct", "pred"), ("pred",), "'correct'"),
        (("pred", "flag", "image"), ("pred",), "'flag', 'image'"),
        (("pred", "max_prob", "loss"), ("pred",), "'max_prob', 'loss'"),
        (("pred", "foo"), ("pred",), "'foo'"),
        (("class", "confidence"), ("class",), "'confidence'"),
        (("guess", "seed"), ("guess",), "'seed'"),
        (("logit_0", "logit_1", "seed"), ("logit_0", "logit_1"), "'seed'"),
        (("logit_1", "correct", "logit_0"), ("logit_0", "logit_1"), "'correct'"),
        (("logit_0", "logit_1", "prob_0", "prob_1"), ("logit_0", "logit_1"), "'prob_0', 'prob_1'"),
        (("pred", "logit_0", "logit_1"), ("logit_0", "logit_1"), ""),
    ],
)
def test_what_goes_with_the_outputs_is_left_out(
    nondet: Nondet, tmp_path: Path, kind: str, names: Sequence[str], read: Sequence[str], left_out: str
) -> None:
    """A probability, a seed, an epoch or a flag beside outputs becomes no logit, and a line says what was read."""
    ran = nondet("measure", write(tmp_path / f"o.{kind}", *names), "--json")
    assert ran.code == 0, ran.err
    assert ran.json["accuracy"]["mean"] == pytest.approx(accuracy(0.8))
    assert (ran.json["cross_entropy"]["mean"] is None) == (len(read) == 1)
    what = "predicted classes are" if len(read) == 1 else "logits are"
    listed = ", ".join(f"'{name}'" for name in read)
    line = f"o.{kind}: {what} read from {listed}" + (f"; left out: {left_out}" if left_out else "")
    assert line in ran.err.splitlines()[0]


@pytest.mark.parametrize(
    "names",
    [
        ("pred",),
        ("class",),
        ("logit_0", "logit_1"),
        ("prob_0", "prob_1"),
        ("p0", "p1"),
        ("c0", "c1"),
        ("0", "1"),
        ("a", "b"),
        ("prob_cat", "prob_dog"),
    ],
)
def test_names_that_leave_no_doubt_need_no_word(nondet: Nondet, tmp_path: Path, names: Sequence[str]) -> None:
    """Predictions alone, and a whole series of logits alone, are read without a line."""
    ran = nondet("measure", write(tmp_path / "o.csv", *names), "--json")
    assert ran.code == 0, ran.err
    assert ran.json["accuracy"]["mean"] == pytest.approx(accuracy(0.8))
    assert "are read from" not in ran.err


def test_one_column_is_classes_whatever_its_name(nondet: Nondet, tmp_path: Path) -> None:
    """A single column beside run, example and label can be nothing else; a line says so."""
    ran = nondet("measure", write(tmp_path / "o.csv", "seen"), "--json")
    assert ran.json["accuracy"]["mean"] == pytest.approx(accuracy(0.8))
    assert "o.csv: predicted classes are read from 'seen'" in ran.err


@pytest.mark.parametrize(
    ("names", "right"),
    [
        (("seen", "foo"), "seen"),
        (("cat", "dog"), "cat,dog"),
        (("pred", "y_pred"), "pred"),
        (("class", "guess"), "guess"),
        (("class", "foo"), "class"),
        (("logit_0", "logit_1", "foo"), "logit_0,logit_1"),
        (("prob_0", "prob_1", "p0", "p1"), "p0,p1"),
        (("seen", "seed"), "seen"),
    ],
)
def test_doubt_is_refused_and_the_way_out_works(
    nondet: Nondet, tmp_path: Path, names: Sequence[str], right: str
) -> None:
    """Where names leave a doubt the columns are named, and --columns decides."""
    path = write(tmp_path / "o.csv", *names)
    refused = nondet("measure", path)
    assert refused.code == 2
    assert "it is unclear which of" in refused.err
    assert "are outputs; rename them, or name the outputs with --columns" in refused.err
    ran = nondet("measure", path, "--columns", right, "--json")
    assert ran.code == 0, ran.err
    assert ran.json["accuracy"]["mean"] == pytest.approx(accuracy(0.8))


@pytest.mark.parametrize("names", [("seed",), ("correct", "epoch"), ("prob",), ("prob_1",), ("image", "flag")])
def test_tables_without_outputs(nondet: Nondet, tmp_path: Path, names: Sequence[str]) -> None:
    """A table that has only what goes with outputs is refused."""
    ran = nondet("measure", write(tmp_path / "o.csv", *names))
    assert ran.code == 2
    assert "must have columns run, example and one of classes or several of logits" in ran.err


def test_classes_that_contradict_the_logits_are_refused(nondet: Nondet, tmp_path: Path) -> None:
    """Predictions beside logits must be those of the largest logit; --columns chooses."""
    rows = columns(0.8, ("logit_0", "logit_1", "pred"))
    wrong = rows.set_column(5, "pred", pa.array(1 - rows["pred"].to_numpy()))
    csv.write_csv(wrong, tmp_path / "o.csv")
    ran = nondet("measure", tmp_path / "o.csv")
    assert ran.code == 2
    assert "must have the largest logit at the predicted class" in ran.err
    ran = nondet("measure", tmp_path / "o.csv", "--columns", "pred", "--json")
    assert ran.json["accuracy"]["mean"] == pytest.approx(100 - accuracy(0.8))


def test_better_is_not_called_worse(nondet: Nondet, tmp_path: Path) -> None:
    """`compare` of two tables with a probability beside the predictions is that of the predictions."""
    a, b = (
        write(tmp_path / "a.csv", "pred", "prob", share=0.6),
        write(tmp_path / "b.csv", "pred", "prob", share=0.95, seed=1),
    )
    ran = nondet("compare", a, b, "--json")
    assert ran.code == 0, ran.err
    assert ran.json["verdict"] == "better"
    assert ran.json["difference"]["estimate"] == pytest.approx(accuracy(0.95, 1) - accuracy(0.6))
    assert ran.err.count("predicted classes are read from 'pred'; left out: 'prob'") == 2


def test_compare_and_plan_take_columns(nondet: Nondet, tmp_path: Path) -> None:
    """They take the same option; with what is no table it is refused."""
    a, b = write(tmp_path / "a.csv", "seen", "foo"), write(tmp_path / "b.csv", "seen", "foo", share=0.9, seed=1)
    for command in (("compare", a, b), ("plan", "--effect", 1, "--study", a)):
        assert "it is unclear which of" in nondet(*command).err
        assert nondet(*command, "--columns", "seen").code == 0
    np.save(tmp_path / "o.npy", np.random.default_rng(0).normal(size=(3, 8, 2)))
    np.save(tmp_path / "l.npy", np.zeros(8, int))
    for command in (("measure",), ("compare", tmp_path / "o.npy")):
        ran = nondet(*command, tmp_path / "o.npy", "--labels", tmp_path / "l.npy", "--columns", "seen")
        assert ran.code == 2
        assert "--columns is for tables, .csv or .parquet" in ran.err
    assert "--columns is for the table of a pilot" in nondet("plan", "--effect", 1, "--sd", 1, "--columns", "x").err
    assert "must name columns of" in nondet("measure", a, "--columns", "label").err


def test_labels_are_the_column_of_that_name(nondet: Nondet, tmp_path: Path) -> None:
    """A table of labels may have other columns beside label and example."""
    _, labels = answers(0.8)
    csv.write_csv(
        pa.table({"example": np.arange(EXAMPLES), "weight": np.ones(EXAMPLES), "label": labels}), tmp_path / "l.csv"
    )
    ran = nondet("measure", write(tmp_path / "o.csv", "pred"), "--labels", tmp_path / "l.csv", "--json")
    assert ran.json["accuracy"]["mean"] == pytest.approx(accuracy(0.8))


def test_a_name_may_hold_a_comma(nondet: Nondet, tmp_path: Path) -> None:
    """--columns takes a name as it is before it is parted at commas; several words are as good as one."""
    rows = columns(0.8, ("cat", "dog"))
    csv.write_csv(rows.rename_columns([*rows.column_names[:3], "cat, wild", "dog"]), tmp_path / "o.csv")
    for words in (("cat, wild", "dog"), ("dog", "cat, wild")):
        ran = nondet("measure", tmp_path / "o.csv", *(part for word in words for part in ("--columns", word)))
        assert ran.code == 0
        assert f"logits are read from {words[0]!r}, {words[1]!r}" in ran.err
