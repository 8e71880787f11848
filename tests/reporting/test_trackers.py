"""A study in MLflow, Weights & Biases and TensorBoard: what is written is read again by each of them."""

from __future__ import annotations

import importlib
import math
import struct
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import nondet as nd

Nondet = Callable[..., Any]


def _expected(finished: Path) -> dict[str, dict[str, float]]:
    """Every number of the tidy table, by condition, as the trackers name it."""
    table = nd.show(finished).tidy()
    found: dict[str, dict[str, float]] = {}
    for place, condition in enumerate(table["condition"]):
        for side, ending in (("value", ""), ("error", ".error"), ("low", ".low"), ("high", ".high")):
            number = table[side][place]
            if number is not None:
                found.setdefault(condition, {})[f"{table['figure'][place]}{ending}"] = number
    return found


@pytest.mark.filterwarnings("ignore")  # those of MLflow and what it loads
def test_mlflow(finished: Path, tmp_path: Path) -> None:
    """A run for each condition, with its parameters and every number of its row; a second call adds to them."""
    mlflow: Any = pytest.importorskip("mlflow", reason="needs mlflow")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    ids = nd.to_mlflow(finished, uri=uri)
    expected = _expected(finished)
    assert len(ids) == len(expected) > 3
    client = mlflow.MlflowClient(tracking_uri=uri)
    for run in map(client.get_run, ids):
        params, metrics = run.data.params, run.data.metrics
        assert params["task"] == "tiny"
        assert params["recipe.epochs"] == str(nd.open(finished).study.epochs)
        assert run.info.status == "FINISHED"
        assert metrics == pytest.approx(expected[params["condition"]])
    last = client.get_run(ids[-1]).data.params
    assert last["vary"] == "+".join(nd.open(finished).study.conditions[-1].vary)
    again = nd.to_mlflow(nd.show(finished), uri=uri)
    assert {client.get_run(i).info.experiment_id for i in (*ids, *again)} == {client.get_run(ids[0]).info.experiment_id}


@pytest.mark.filterwarnings("ignore")  # those of wandb and what it loads
def test_wandb(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Offline, a run for each condition, whose files hold its parameters and its numbers; nothing is printed."""
    pytest.importorskip("wandb", reason="needs wandb")
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "cache"))
    ids = nd.to_wandb(nd.open(finished), folder=tmp_path / "here")
    expected = _expected(finished)
    assert len(ids) == len(expected)
    for number, condition in zip(ids, expected, strict=True):
        (file,) = (tmp_path / "here" / "wandb").glob(f"offline-run-*-{number}/run-{number}.wandb")
        name, summary = _offline(file)
        assert name == condition
        assert summary == pytest.approx(expected[condition])


def _offline(file: Path) -> tuple[str, dict[str, float]]:
    """The name and the summary in a file that wandb wrote offline, its records parsed by wandb's own protocol."""
    record: Any = importlib.import_module("wandb.proto.wandb_internal_pb2").Record
    name, summary = "", dict[str, float]()
    for data in _records(file.read_bytes()):
        one = record()
        one.ParseFromString(data)
        name = one.run.display_name or name
        for item in one.summary.update:
            key = item.key or ".".join(item.nested_key)
            if not key.startswith("_"):
                summary[key] = float(item.value_json)
    return name, summary


def _records(content: bytes) -> Generator[bytes]:
    """The records of a log of LevelDB: blocks of 32 KiB with fragments, each behind a checksum, a length and a type."""
    at, whole = 7, b""  # behind wandb's own head
    while at + 7 <= len(content):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        length, kind = struct.unpack_from("<HB", content, at + 4)
        whole += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last of several
            yield whole
            whole = b""


@pytest.mark.filterwarnings("ignore")  # those of tensorboard and what it loads
def test_tensorboard(finished: Path, tmp_path: Path) -> None:
    """A folder for each condition, with its hyperparameters, and a scalar for every number."""
    pytest.importorskip("tensorboard", reason="needs tensorboard")
    reader: Any = importlib.import_module("tensorboard.backend.event_processing.event_accumulator").EventAccumulator
    folders = nd.to_tensorboard(finished, tmp_path / "runs")
    expected = _expected(finished)
    assert [folder.name for folder in folders] == list(expected)
    for folder in folders:
        events = reader(str(folder))
        events.Reload()
        scalars = {tag: events.Scalars(tag)[-1].value for tag in events.Tags()["scalars"]}
        wanted = expected[folder.name]
        assert scalars.keys() == wanted.keys()
        assert all(math.isclose(scalars[tag], wanted[tag], rel_tol=1e-6, abs_tol=1e-30) for tag in wanted)
        assert "_hparams_/session_start_info" in events.summary_metadata


@pytest.mark.parametrize("name", ["mlflow", "wandb", "tensorboard"])
def test_a_tracker_that_is_missing(finished: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """One sentence says what to install."""
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(nd.BadInput, match=f"{name} must be installed .* pip install {name}"):
        getattr(nd, f"to_{name}")(finished)


def test_a_study_without_numbers(
    nondet: Nondet, task_file: Nondet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where all runs failed nothing is written, and a sentence says why."""
    ran = nondet("run", task_file(), "--runs", 2, "--vary", "init", "--set", "lr=1e30", "--study", tmp_path / "s")
    assert ran.code == 0, ran.err
    monkeypatch.setitem(sys.modules, "tensorboard", ModuleType("tensorboard"))  # which is not reached
    with pytest.raises(nd.BadInput, match="has none yet"):
        nd.to_tensorboard(tmp_path / "s", tmp_path / "runs")
    assert not (tmp_path / "runs").exists()
