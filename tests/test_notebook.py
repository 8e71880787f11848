"""The notebook of the docs runs as it stands, and records read well in it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rich.console

import nondet as nd

NOTEBOOK = Path(__file__).parents[1] / "docs" / "notebook.ipynb"
CELLS = [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]


def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its code, as one program in an empty folder; shortened, since it is trained again below."""
    monkeypatch.chdir(tmp_path)
    code = "\n".join("".join(cell["source"]) for cell in CELLS)
    code = code.replace("epochs=8", "epochs=1").replace("runs=20", "runs=3")
    scope: dict[str, Any] = {}
    exec(code, scope)
    assert (tmp_path / "studies" / "notebook" / "report.html").is_file()
    assert scope["found"].finding.headline.startswith("Two runs disagree")


@pytest.mark.slow
def test_the_notebook_is_what_it_prints(tmp_path: Path) -> None:
    """Executed by Jupyter: every cell's last value is one output, as the page has it, and nothing else is shown."""
    pytest.importorskip("nbconvert")
    pytest.importorskip("ipykernel")
    out = tmp_path / "out.ipynb"
    words = ["-m", "nbconvert", "--to", "notebook", "--execute", "--output", str(out), str(NOTEBOOK)]
    subprocess.run([sys.executable, *words], check=True, cwd=tmp_path, capture_output=True)
    executed = [cell for cell in json.loads(out.read_text())["cells"] if cell["cell_type"] == "code"]
    for cell, shown in zip(executed, CELLS, strict=True):
        kinds = [output["output_type"] for output in cell["outputs"]]
        assert set(kinds) <= {"stream", "execute_result"}
        assert [set(o["data"]) for o in cell["outputs"] if "data" in o] == [
            set(o["data"]) for o in shown["outputs"] if "data" in o
        ]


def test_a_record_shows_itself_once(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """In a notebook its text is text: nothing is displayed beside it, and no colours are in it."""
    monkeypatch.setattr(rich.console, "_is_jupyter", lambda: True)
    rng = np.random.default_rng(0)
    found = nd.measure(rng.normal(size=(3, 20, 2)), rng.integers(0, 2, 20))
    text = repr(found)
    assert "accuracy (%)" in text
    assert "\x1b" not in text
    assert capsys.readouterr() == ("", "")
