"""The example of a user's own task: it runs as the docs say."""

import json
from pathlib import Path

import pytest

from nondet.cli.main import main

EXAMPLE = Path(__file__).parents[1] / "examples" / "my_task.py"


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
