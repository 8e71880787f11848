"""The tasks of the first hour: each command runs beside the examples, and prints what the page says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "first-hour.md").read_text()
TASKS = re.findall(r"^## (\d+\. .*?)\n.*?```bash\n(.*?)```\n\n```text\n(.*?)```", PAGE, re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"[-+\N{MINUS SIGN}]?\d[\d,.]*(e[-+]?\d+)?")


def shape(line: str) -> str:
    """A line without its numbers, which another processor may round otherwise, and without its widths."""
    return " ".join(NUMBER.sub("#", line).split())


def test_there_are_ten() -> None:
    """Each with a command and what it prints."""
    assert [title.partition(".")[0] for title, _, _ in TASKS] == [str(number) for number in range(1, 11)]
    assert PAGE.count("\n## ") == len(TASKS)


@pytest.mark.slow
def test_each_prints_what_the_page_says(tmp_path: Path) -> None:
    """In their order, from first to last."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for title, commands, said in TASKS:
        ran = subprocess.run(
            ["bash", "-ec", commands], cwd=tmp_path, env={**os.environ, "PATH": path}, capture_output=True, text=True
        )
        assert ran.returncode == 0, (title, ran.stderr)
        printed = {shape(line) for line in ran.stdout.splitlines()}
        table = [line for line in said.splitlines() if "  " in line.strip()]  # prose wraps where its numbers let it
        assert [line for line in table if shape(line) not in printed] == [], title
        assert shape(said.splitlines()[-1])[:30] in shape(ran.stdout), title
