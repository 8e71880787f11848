"""The command in processes of its own, and a study made in one go."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fault_tools import DRIVER, LONG, Nondet, Start, environment


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("driver") / "driver.py"
    path.write_text(DRIVER)
    return path


@pytest.fixture
def start(driver: Path) -> Iterator[Start]:
    """Start the command in a process of its own, and go on; whatever still runs at the end is killed."""
    running: list[subprocess.Popen[str]] = []

    def begin(*words: object, **settings: object) -> subprocess.Popen[str]:
        command = [sys.executable, str(driver), json.dumps(settings), *map(str, words)]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment())
        running.append(child)
        return child

    yield begin
    for child in running:
        child.kill()
        child.communicate()


@pytest.fixture(scope="module")
def uninterrupted(tiny: Path, process: Nondet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study of LONG, made in one go. Read it only."""
    folder = tmp_path_factory.mktemp("uninterrupted") / "study"
    assert process("run", tiny, *LONG, "--study", folder).code == 0
    return folder
