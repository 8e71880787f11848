"""Copies of a run are one run, in every command and in the API; and nothing stands twice in a file."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv

import nondet as package
from nondet.errors import BadInput

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
    assert "o.npy have exactly the outputs of an earlier run, and count once with it." in doubled.err
    assert doubled.err.startswith("Runs 5 (equal to 2), 6 (equal to 3) of ")


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
def test_equal_classes_are_refused(nondet: Nondet, tmp_path: Path, command: tuple[Any, ...]) -> None:
    """By predicted classes alone a copy cannot be told from a run that answers alike, in any command."""
    predicted = logits().argmax(-1)[[0, 1, 2, 0]]
    flat = {"run": np.repeat(np.arange(4), 30), "example": np.tile(np.arange(30), 4), "label": np.tile(LABELS, 4)}
    csv.write_csv(pa.table(flat | {"pred": predicted.ravel()}), tmp_path / "o.csv")
    ran = nondet(*command, tmp_path / "o.csv")
    assert ran.code == 2
    assert "run 4 (equal to 1) of" in ran.err
    assert "leave copies out, or give logits" in ran.err


def test_runs_that_differ_in_the_last_digit_are_no_copies(nondet: Nondet, tmp_path: Path) -> None:
    """Equal means equal to the last bit of the file's own type, in every command."""
    outputs = logits(4, "float64")
    outputs[1] = outputs[0]
    outputs[1, 0, 0] = np.nextafter(outputs[0, 0, 0], np.inf)
    words = save(tmp_path, outputs)
    assert nondet("measure", *words, "--json").json["runs"] == 4
    assert nondet("plan", "--effect", 1, "--study", *words, "--json").json["pilot"]["runs"] == 4


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
    assert "must hold each name once (got 'outputs.npy' twice)" in ran.err


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
    assert f"must hold each name once (got '{twice}' twice)" in ran.err


def test_one_run_in_two_formats_is_refused(nondet: Nondet, tmp_path: Path) -> None:
    """In a folder, two files of one name with different endings are one run or two: nobody knows."""
    for number, run in enumerate(logits()):
        np.save(tmp_path / f"{number}.npy", run)
    np.savez(tmp_path / "1.npz", logits()[1])
    np.save(tmp_path / "labels.npy", LABELS)
    ran = nondet("measure", tmp_path)
    assert ran.code == 2
    assert "must hold one file for each run (got '1.npy' and '1.npz')" in ran.err
