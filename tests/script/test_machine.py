"""The machine as a source: threads, instructions, precision and versions vary where they are declared."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import nondet as nd
from nondet.runners import machine
from nondet.runners.machine import NO_CHANGE, Machine, declared, of_seeds, read_values, setting, values_of, written

Nondet = Callable[..., Any]

SHOWS = """
import os
import random
print("acc=%.6f" % (random.random() * 1e-3 + int(os.environ["OMP_NUM_THREADS"])))
"""


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The command of a script whose score is its number of threads and a little noise."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text(SHOWS)
    return ["--metric", "acc=([0-9.]+)", "--", sys.executable, "train.py"]


def test_threads_vary_beside_a_seed(words: list[str], nondet: Nondet) -> None:
    """Each of the declared values is a run, with its figure beside that of a seed; the study keeps the values."""
    ran = nondet("run", "--runs", 3, "--vary", "all", "--vary", "threads=2,1", "--study", "s", *words)
    assert ran.code == 0, ran.err
    shown = {one["name"]: one for one in nondet("show", "s", "--json").json["conditions"]}
    assert {name: one["runs"] for name, one in shown.items()} == {"all": 3, "threads": 2}
    study = nd.open("s")
    scores = {name: study[name].scores()["acc"] for name in study.conditions}
    assert [round(score) for score in scores["threads"]] == [2, 1]
    assert [round(score) for score in scores["all"]] == [2, 2, 2]
    assert nondet("run", "--runs", 3, "--vary", "threads", "--study", "s", *words).code == 0
    other = nondet("run", "--runs", 3, "--vary", "threads=1,2", "--study", "s", *words)
    assert (other.code, "a study must keep the machine values" in other.err) == (2, True)
    assert "--vary=threads=2,1" in json.loads(Path("s/study.json").read_text())["command"]


@pytest.mark.parametrize(
    ("vary", "said"),
    [
        ("threads=0,1", "threads must be a whole number of at least 1 (got '0')"),
        ("threads=2", "threads must have at least 2 values"),
        ("threads=2,2", "all different"),
        ("isa=mmx,avx2", "isa must be one of"),
        ("precision=low,high", "precision must be one of"),
        ("versions", "versions must name another environment's Python"),
        ("versions=nowhere", "versions must be paths of Pythons"),
        ("other=1,2", "only threads, isa, precision, versions can have values"),
    ],
)
def test_bad_values(words: list[str], nondet: Nondet, vary: str, said: str) -> None:
    """One sentence, exit status 2, and no study."""
    ran = nondet("run", "--runs", 2, "--vary", vary, "--study", "s", *words)
    assert ran.code == 2
    assert said in " ".join(ran.err.split())
    assert not Path("s").exists()


def test_until_and_a_task_have_no_values(words: list[str], nondet: Nondet, tiny: Path) -> None:
    """A rule adds runs, and values are so many; a task's runs are trained together in one process."""
    ran = nondet("run", "--runs", 2, "--vary", "threads=1,2", "--until", "acc.sd.error<10%", "--study", "s", *words)
    assert ran.code == 2
    task = nondet("run", tiny, "--vary", "threads", "--study", "t")
    assert (task.code, "has no threads to vary" in task.err) == (2, True)


def test_a_study_of_versions_names_them_again(words: list[str], nondet: Nondet, tmp_path: Path) -> None:
    """A received study runs no program that its reader has not named."""
    other = tmp_path / "python3"
    other.symlink_to(sys.executable)
    given = ("--runs", 2, "--vary", f"versions={other}", "--study", "s", *words)
    assert nondet("run", *given).code == 0
    again = nondet("run", "--runs", 2, "--vary", "other", "--study", "s", *words)
    assert (again.code, "other Pythons only if the command names them" in again.err) == (2, True)
    assert nondet("run", *given).code == 0


def test_what_a_value_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables of the process, and what torch is told; the values as text and back."""
    monkeypatch.setattr(machine, "_instructions", lambda: ("avx2", "baseline"))
    assert setting("threads", "3").variables["OMP_NUM_THREADS"] == "3"
    assert setting("precision", "medium") == Machine(told={"precision": "medium"})
    assert setting("isa", "baseline").variables["ATEN_CPU_CAPABILITY"] == "default"
    with pytest.raises(nd.BadInput, match="instructions that this processor has"):
        setting("isa", "avx512")
    assert values_of("isa", ()) == ("avx2", "baseline")
    assert of_seeds({"threads": ("1", "2"), "precision": ("highest", "high")}, {"threads": 2}).told == {
        "precision": "highest"
    }
    assert of_seeds({}, {"init": 3}) == NO_CHANGE
    values = {"threads": ("1", "2"), "isa": ("avx2", "baseline")}
    assert read_values(written(values)) == values
    assert declared(["init+threads=1,2", "isa"]) == (["init+threads", "isa"], {"threads": ("1", "2"), "isa": ()})
