"""Copies of a run are one run, in every command and in the API; and nothing stands twice in a file."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv

import nondet as package
from nondet.analysis.arms import read_arms
from nondet.analysis.independence import separated, without_copies
from nondet.errors import BadInput
from nondet.measures.copies import features, near_copies

Nondet = Callable[..., Any]

LABELS = np.random.default_rng(1).integers(0, 3, 30)


def logits(runs: int = 4, dtype: str = "float32") -> Any:
    return np.random.default_rng(0).normal(size=(runs, 30, 3)).astype(dtype)


def save(folder: Path, outputs: Any) -> tuple[Path, str, Path]:
    """Outputs and labels, as the words of a command."""
    np.save(folder / "o.npy", outputs)
    np.save(folder / "l.npy", LABELS)
    return folder / "o.npy", "--labels", folder / "l.npy"


def test_a_copy_counts_once(nondet: Nondet, tmp_path: Path) -> None:
    """`measure` gives the figures of the runs that differ, says which were left out, and lists them in the JSON."""
    outputs = logits()
    alone = nondet("measure", *save(tmp_path, outputs), "--json").json
    doubled = nondet("measure", *save(tmp_path, np.concatenate([outputs, outputs[1:3]])), "--json")
    assert doubled.code == 0
    assert doubled.json == alone | {"copies": [{"run": 5, "equal_to": 2}, {"run": 6, "equal_to": 3}]}
    assert "of outputs have exactly the outputs of an earlier run, and count once with it." in doubled.err
    assert doubled.err.startswith("warning: Runs 5 (equal to 2), 6 (equal to 3) of ")


def test_every_command_counts_alike(nondet: Nondet, tmp_path: Path) -> None:
    """`measure`, `plan` and `compare` see as many runs."""
    words = save(tmp_path, np.concatenate([logits(), logits()[:2]]))
    np.save(tmp_path / "b.npy", np.random.default_rng(5).normal(size=(3, 30, 3)))
    assert nondet("measure", *words, "--json").json["runs"] == 4
    assert nondet("plan", "--effect", 1, "--study", *words, "--json").json["pilot"]["runs"] == 4
    compared = nondet("compare", tmp_path / "b.npy", *words, "--json").json
    assert compared["runs"] == {"a": 3, "b": 4}


@pytest.mark.parametrize("command", [("measure",), ("plan", "--effect", 1, "--study"), ("compare", "o.npy")])
def test_copies_alone_are_refused(
    nondet: Nondet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[Any, ...]
) -> None:
    """Where all runs are equal there is one run, in every command, and one sentence says so."""
    monkeypatch.chdir(tmp_path)
    save(tmp_path, np.repeat(logits(1), 3, axis=0))
    ran = nondet(*command, "o.npy", "--labels", "l.npy")
    assert ran.code == 2
    assert "(all 3 of o.npy have equal outputs, and count as one run)" in ran.err
    assert len(ran.err.splitlines()) == 1


@pytest.mark.parametrize("command", [("measure",), ("plan", "--effect", 1, "--study")])
def test_equal_classes_count_once(nondet: Nondet, tmp_path: Path, command: tuple[Any, ...]) -> None:
    """Predicted classes that are equal are a copy where other runs differ in so much that chance makes none equal."""
    predicted = logits().argmax(-1)[[0, 1, 2, 0]]
    flat = {"run": np.repeat(np.arange(4), 30), "example": np.tile(np.arange(30), 4), "label": np.tile(LABELS, 4)}
    csv.write_csv(pa.table(flat | {"pred": predicted.ravel()}), tmp_path / "o.csv")
    ran = nondet(*command, tmp_path / "o.csv", "--json")
    assert ran.code == 0
    assert ran.json["copies"] == [{"run": 4, "equal_to": 1}]
    assert "un 4 (equal to 1) of" in nondet(*command, tmp_path / "o.csv").out + ran.err


def test_equal_classes_near_the_ceiling_are_data() -> None:
    """Where any two runs differ in few examples, two that differ in none are runs, and not copies."""
    rng = np.random.Generator(np.random.Philox(4))
    predicted = np.where(rng.random((20, 30)) < 0.03, (LABELS + 1) % 3, LABELS)
    assert len(np.unique(predicted, axis=0)) < 15
    assert package.measure(predicted, LABELS).runs == 20


def saved_often(rng: np.random.Generator, runs: int = 3, times: int = 10, noise: float = 1e-4) -> Any:
    """Logits of a few runs, each saved several times with a little noise."""
    saved = np.repeat(rng.normal(size=(runs, 30, 3)), times, axis=0)
    return saved + noise * rng.normal(size=saved.shape)


def test_near_copies_count_once(nondet: Nondet, tmp_path: Path) -> None:
    """Three runs that were saved ten times are three, in every command, and text and JSON say why."""
    rng = np.random.Generator(np.random.Philox(2))
    words = save(tmp_path, saved_often(rng))
    measured = nondet("measure", *words, "--json")
    assert measured.json["runs"] == 3
    assert measured.json["copies"][:2] == [{"run": 2, "near": 1}, {"run": 3, "near": 1}]
    assert len(measured.json["copies"]) == 27
    assert "nearly the outputs of an earlier run, far nearer than other runs are to each other" in measured.err
    planned = nondet("plan", "--effect", 1, "--study", *words, "--json").json
    assert (planned["pilot"]["runs"], len(planned["copies"])) == (3, 27)
    np.save(tmp_path / "b.npy", rng.normal(size=(5, 30, 3)))
    compared = nondet("compare", tmp_path / "b.npy", *words, "--json").json
    assert (compared["runs"], compared["copies"]["a"]) == ({"a": 5, "b": 3}, [])
    assert len(compared["copies"]["b"]) == 27
    np.save(tmp_path / "c.npy", saved_often(rng, 6, 2))
    alike = nondet("alike", tmp_path / "b.npy", tmp_path / "c.npy", *words[1:], "--json").json
    assert alike["runs"] == {str(tmp_path / "b.npy"): 5, str(tmp_path / "c.npy"): 6}
    assert len(alike["copies"][str(tmp_path / "c.npy")]) == 6


@pytest.mark.parametrize("shape", ["normal", "outlying", "collapsed", "alike", "float16"])
def test_runs_of_their_own_are_no_near_copies(shape: str) -> None:
    """Runs count where one is far off, where several collapse, where they hardly vary, and where they are rounded."""
    rng = np.random.Generator(np.random.Philox(3))
    outputs = 3 * rng.normal(size=(30, 3)) + rng.normal(size=(12, 30, 3))
    if shape == "outlying":
        outputs[:11] = outputs[0] + 0.01 * rng.normal(size=(11, 30, 3))
    if shape == "collapsed":
        outputs[:4] = [1.0, 0.5, 0.2] + 1e-4 * rng.normal(size=(4, 30, 3))
    if shape == "alike":
        outputs = outputs[0] + 1e-6 * rng.normal(size=(12, 30, 3))
    if shape == "float16":
        outputs = outputs.astype(np.float16)
    assert near_copies(features(outputs)) == {}


@pytest.mark.parametrize("form", ["noise", "float16", "log_probabilities"])
def test_near_copies_in_both_arms(form: str) -> None:
    """A run of one arm that is in the other one too, rounded or in another form, counts in one of them."""
    rng = np.random.Generator(np.random.Philox(5))
    a, b = rng.normal(size=(6, 30, 3)), rng.normal(size=(8, 30, 3))
    b[2] = {
        "noise": a[4] + 1e-4 * rng.normal(size=a[4].shape),
        "float16": a[4].astype(np.float16),
        "log_probabilities": a[4] - np.log(np.exp(a[4]).sum(-1, keepdims=True)),
    }[form]
    found = package.compare((a, LABELS), (b, LABELS))[0]
    assert found.runs == (6, 7)
    assert any("run 3 of outputs 2 is also in outputs 1" in note for note in found.notes)


def test_runs_that_seeds_prove_independent_are_data(study: Path) -> None:
    """Of a study, runs with seeds of their own count, whatever they come to: bits that do nothing are data."""
    opened = package.open(study)
    runs = opened["init"]
    arm = read_arms([runs])[0]
    outputs = runs.arrays["outputs"].copy()
    outputs[1] = outputs[0]
    same = replace(runs, arrays={**runs.arrays, "outputs": outputs}, made=(runs.made[0], *runs.made[1:]))
    found = read_arms([same])[0]
    assert len(without_copies(found)) == len(arm) == 3
    others = [replace(m, seeds={**m.seeds, "init": m.seeds["init"] + 9 * (m.number > 1)}) for m in same.made]
    other = read_arms([replace(same, name="other", made=tuple(others))])[0]
    left, right = separated(found, other)  # they share run 1, and not run 2, though its outputs are the same
    assert sorted([len(left), len(right)]) == [2, 3]


def test_a_run_that_differs_in_the_last_digit_is_near(nondet: Nondet, tmp_path: Path) -> None:
    """Equal means equal to the last bit of the file's own type, in every command; such a run is near the other one."""
    outputs = logits(4, "float64")
    outputs[1] = outputs[0]
    outputs[1, 0, 0] = np.nextafter(outputs[0, 0, 0], np.inf)
    words = save(tmp_path, outputs)
    for ran in (nondet("measure", *words, "--json"), nondet("plan", "--effect", 1, "--study", *words, "--json")):
        assert ran.json["copies"] == [{"run": 2, "near": 1}]


def test_the_api_has_the_same_rule() -> None:
    """`nondet.measure` counts copies once, tells which, and refuses copies alone."""
    outputs = logits()
    found = package.measure(np.concatenate([outputs, outputs[:1]]), LABELS)
    assert dict(found.copies) == {5: 1}
    assert found.runs == 4
    assert found.to_dict()["disagreement"] == package.measure(outputs, LABELS)["disagreement"].value
    assert "copies" not in package.measure(outputs, LABELS).to_dict()
    with pytest.raises(BadInput, match="all 2 of these have equal outputs, and count as one run"):
        package.measure(outputs[[0, 0]], LABELS)


def npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def test_members_of_one_name_are_refused(nondet: Nondet, tmp_path: Path) -> None:
    """Which of two arrays of one name in an .npz is meant depends on who reads it."""
    with zipfile.ZipFile(tmp_path / "o.npz", "w") as archive:
        for name, array in (("outputs", logits()), ("0utputs", -logits()), ("labels", LABELS)):
            archive.writestr(f"{name}.npy", npy(array))
    content = (tmp_path / "o.npz").read_bytes()
    (tmp_path / "o.npz").write_bytes(content.replace(b"0utputs", b"outputs"))
    ran = nondet("measure", tmp_path / "o.npz")
    assert ran.code == 2
    assert "must contain each name once (got 'outputs.npy' twice)" in ran.err


@pytest.mark.parametrize("twice", ["outputs", "shape"])
def test_keys_of_one_name_are_refused(nondet: Nondet, tmp_path: Path, twice: str) -> None:
    """Likewise in the header of a .safetensors file, at any depth."""
    data = logits().tobytes()
    entry = json.dumps({"dtype": "F32", "shape": [4, 30, 3], "data_offsets": [0, len(data)]})
    if twice == "shape":
        entry = entry.replace('"shape"', '"shape": [2, 60, 3], "shape"')
    header = f'{{"outputs": {entry}' + (f', "outputs": {entry}' if twice == "outputs" else "") + "}"
    (tmp_path / "o.safetensors").write_bytes(len(header).to_bytes(8, "little") + header.encode() + data)
    np.save(tmp_path / "l.npy", LABELS)
    ran = nondet("measure", tmp_path / "o.safetensors", "--labels", tmp_path / "l.npy")
    assert ran.code == 2
    assert f"must contain each name once (got '{twice}' twice)" in ran.err


def test_one_run_in_two_formats_is_refused(nondet: Nondet, tmp_path: Path) -> None:
    """In a folder, two files of one name with different endings are one run or two: nobody knows."""
    for number, run in enumerate(logits()):
        np.save(tmp_path / f"{number}.npy", run)
    np.savez(tmp_path / "1.npz", logits()[1])
    np.save(tmp_path / "labels.npy", LABELS)
    ran = nondet("measure", tmp_path)
    assert ran.code == 2
    assert "must contain one file for each run (got '1.npy' and '1.npz')" in ran.err
