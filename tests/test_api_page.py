"""docs/api.md is one program: every block is run, in order, and prints what stands under it."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path
from typing import Any

import matplotlib
import pytest
import torch

import nondet as nd

PAGE = Path(__file__).parents[1] / "docs" / "api.md"


def test_every_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder of its own, without a window, on one thread."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("nondet.io.extensions._REGISTERED", {})
    matplotlib.use("agg")
    torch.set_num_threads(1)
    blocks = re.findall(r"^```(python|text)\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert len(blocks) > 20
    names: dict[str, Any] = {"__name__": "__main__"}
    printed = ""
    for language, block in blocks:
        if language == "text":
            assert printed == block
            continue
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(compile(block, PAGE.name, "exec"), names)
        printed = out.getvalue()


def test_every_public_name_is_there() -> None:
    """The page names each function and class of the package that a user calls."""
    text = PAGE.read_text()
    assert [name for name in nd.__all__ if not re.search(rf"\b{name}\b", text)] == []
