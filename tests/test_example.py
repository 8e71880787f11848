"""The example of a user's own task: it runs as the docs say."""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nondet as nd
from nondet.cli.main import main

EXAMPLE = Path(__file__).parents[1] / "examples" / "my_task.py"
SCRIPT = EXAMPLE.with_name("train.py")


def test_example_runs_and_reports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`nondet run` trains the example, dropout among its sources, and `show --json` reads what it left."""
    study = str(tmp_path / "study")
    options = ["--runs", "3", "--stack", "4", "--set", "epochs=2", "--device", "cpu"]

    assert main(["run", str(EXAMPLE), *options, "--study", study]) == 0
    capsys.readouterr()
    assert main(["show", study, "--json"]) == 0

    shown = json.loads(capsys.readouterr().out)
    assert shown["task"] == "my_task"
    assert shown["recipe"]["optimizer"] == "AdamW"
    assert shown["recipe"]["epochs"] == 2
    assert shown["control"]["identical"] is True
    assert [c["name"] for c in shown["conditions"]] == ["init", "shuffle", "dropout", "order", "bit", "all"]
    assert all(c["runs"] == 3 and c["failed"] == 0 for c in shown["conditions"])
    by_name = {c["name"]: c for c in shown["conditions"]}
    assert by_name["init"]["cross_entropy"]["sd"] > 0
    assert by_name["dropout"]["cross_entropy"]["sd"] > 0


def test_a_script_as_the_docs_show_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`examples/train.py`, unchanged: every source that it draws from, and the bit, is one of the study's."""
    study = str(tmp_path / "study")
    words = ["--record", "outputs=logits, labels=labels", "--", sys.executable, str(SCRIPT), "--epochs", "1"]
    assert main(["run", "--runs", "2", "--vary", "all", "--workers", "1", "--study", study, *words]) == 0
    assert "It draws from augment (38), dropout (38), init (2), shuffle (1)." in capsys.readouterr().err
    assert main(["show", study, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["control"]["identical"] is True
    assert shown["conditions"][0]["vary"] == ["init", "shuffle", "augment", "dropout", "order"]
    assert shown["conditions"][0]["disagreement"] > 0


OTHERS = {
    "sklearn": (["--seed", "{seed}"], ["seed"]),
    "xgboost": (["--seed", "{seed}"], ["seed"]),
    "lightgbm": ([], ["rows", "columns"]),
    "jax": (["--init", "{init}", "--shuffle", "{shuffle}", "--dropout", "{dropout}"], ["init", "shuffle", "dropout"]),
    "tensorflow": ([], ["init", "shuffle", "dropout"]),
}


@pytest.mark.parametrize(
    "library", [name if name == "sklearn" else pytest.param(name, marks=pytest.mark.slow) for name in OTHERS]
)
def test_scripts_of_other_libraries(tmp_path: Path, library: str) -> None:
    """Each takes its seeds by placeholders or variables; equal ones give equal bits, each other one another model."""
    if library != "sklearn":
        pytest.importorskip(library)
    given, sources = OTHERS[library]
    script = nd.Script(SCRIPT.with_name(f"train_{library}.py"), given, record="outputs=logits, labels=labels")
    study = nd.run(script, runs=2, folder=tmp_path / "s", executor="local")
    assert study.study.sources == tuple(sources)
    assert nd.show(study).control.identical is True
    assert all(not np.array_equal(*study[name].outputs) for name in study.conditions)
    assert (study["all"].outputs.argmax(2) == study.labels).mean() > 0.8


@pytest.mark.slow
@pytest.mark.parametrize("library", ["timm", "transformers"])
def test_tasks_with_models_of_other_packages(nondet: Callable[..., Any], tmp_path: Path, library: str) -> None:
    """A model of a package, in a file as short as one of one's own."""
    pytest.importorskip(library)
    file = SCRIPT.with_name({"timm": "task_timm.py", "transformers": "task_hugging_face.py"}[library])
    short = ("--set", "epochs=1", "--runs", 2, "--vary", "init", "--study", tmp_path / "s")
    ran = nondet("run", file, *short)
    assert ran.code == 0, ran.err
    assert nondet("show", tmp_path / "s", "--json").json["control"]["identical"] is True


def test_the_function_of_the_docs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The block of the page runs as it stands."""
    page = (SCRIPT.parents[1] / "docs" / "your-training.md").read_text()
    block = next(b for b in re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE) if "def train" in b)
    monkeypatch.chdir(tmp_path)
    scope: dict[str, Any] = {}
    exec(block, scope)
    assert scope["study"].conditions == ["init", "shuffle", "all"]
    assert scope["study"]["all"].outputs.shape == (20, 100, 2)
