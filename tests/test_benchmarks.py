"""The benchmarks are programs of today's package: each can be imported, and some run, when small."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

FOLDER = Path(__file__).parents[1] / "benchmarks"
NAMES = sorted(path.stem for path in FOLDER.glob("*.py"))


@pytest.fixture(autouse=True)
def beside(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when one of them is started: its folder is on the path."""
    monkeypatch.syspath_prepend(FOLDER)
    torch.set_num_threads(1)


def program(name: str) -> Any:
    return importlib.import_module(name)


@pytest.mark.parametrize("name", NAMES)
def test_it_can_be_imported(name: str) -> None:
    assert program(name).__doc__


@pytest.mark.slow
def test_bookkeeping(tmp_path: Path) -> None:
    """A study of made-up runs, shown; and one that is trained, of which the training is a part of the time."""
    bookkeeping = program("bookkeeping")
    found = bookkeeping.measured("make", tmp_path / "a", 20)
    runs = found["found"]
    assert found["fsyncs"] > runs >= 20
    assert bookkeeping.measured("make", tmp_path / "a", 20)["fsyncs"] < found["fsyncs"]
    assert bookkeeping.measured("show", tmp_path / "a")["opened"] == runs  # each blob once
    trained = bookkeeping.measured("train", tmp_path / "b", 9, 1)
    assert 0 < trained["found"]["training"] < trained["seconds"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("measure", ["--runs", "4", "--examples", "30", "--rounds", "1"]),
        ("scale", ["3", "--examples", "30"]),
        ("tta", ["--runs", "2", "--stack", "2", "--examples", "10", "--rounds", "1"]),
    ],
)
def test_measuring(
    name: str, words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [name, *words])
    program(name).main()
    assert len(capsys.readouterr().out.splitlines()) > 3


def test_simulations() -> None:
    """Intervals and their truths, on few studies: as many cells as tables have."""
    coverage, decisions = program("coverage"), program("decisions")
    for fixed in (True, False):
        rng = np.random.Generator(np.random.Philox(0))
        (outputs, labels), *_ = coverage.studies(rng, "noise of two sizes", 6, 3, fixed)
        found = list(coverage.estimates(outputs, labels, fixed))
        assert len(found) == 3
        assert all(e.low <= e.high for one in found for e in one.values())
    rng = np.random.Generator(np.random.Philox(0))
    decisions.spread_coverage(rng, 20)
    decisions.churn_coverage(rng, 2, 30)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="it forks, and its children end with it by prctl")
def test_the_crash_campaign(tmp_path: Path) -> None:
    """A few kills of the smallest kind, in a process of its own: nothing lost."""
    words = [sys.executable, str(FOLDER / "crash.py"), "--kills", "3", "--kinds", "plain", "--folder", str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].endswith("| 0 | 0 | 0 | 0 |")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="it forks, and its children end with it by prctl")
@pytest.mark.parametrize("place", ["folder", "objects"])
def test_the_campaign_of_workers(place: str) -> None:
    """A few workers are killed at a folder and at a bucket: nothing lost, damaged or otherwise than by one process."""
    if place == "objects":
        for package in ("moto", "boto3", "obstore"):
            pytest.importorskip(package)
    words = [sys.executable, str(FOLDER / "cluster.py"), "--place", place, "--workers", "3"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    cells = [cell.strip() for cell in done.stdout.splitlines()[-1].strip("|").split("|")]
    assert cells[0] == place
    assert int(cells[1]) >= 3
    assert [cells[4], cells[5], cells[7]] == ["0", "0", "0"]
