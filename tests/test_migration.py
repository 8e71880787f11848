"""What docs/migration.md says of studies of 0.1 is so: its commands are run on them."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Nondet = Callable[..., Any]

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "migration.md").read_text()


def commands(language: str) -> list[list[str]]:
    """The words after `nondet` of every command in blocks of a language."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    return [shlex.split(line)[1:] for block in blocks for line in block.splitlines()]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The studies of 0.1, copied, as the folder of the command."""
    there = Path(shutil.copytree(ROOT / "tests" / "fixtures" / "0.1", tmp_path / "0.1"))
    monkeypatch.chdir(there)
    return there


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_is_read(nondet: Nondet, folder: Path) -> None:
    """Each command works, and changes no file of a study."""
    before, given = content(folder / "kept"), commands("bash")
    assert {words[0] for words in given} == {"verify", "show", "compare", "report"}
    for words in given:
        ran = nondet(*words)
        assert ran.code == 0, ran.err
        assert ran.out
    assert (folder / "page.html").is_file()
    assert content(folder / "kept") == before


def test_what_is_refused_and_the_way_out(nondet: Nondet, folder: Path) -> None:
    """No run is added; a new study beside it is compared with the old one."""
    before = content(folder / "kept")
    refused, new, both = commands("text")
    ran = nondet(*refused)
    assert ran.code == 2
    assert "made by nondet 0.1.0" in ran.err
    assert nondet(*new, "--runs", 3, "--vary", "all").code == 0
    ran = nondet(*both)
    assert ran.code in (0, 3), ran.err
    assert "verdict" in ran.out
    assert content(folder / "kept") == before
