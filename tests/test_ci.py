"""What CI runs: it fails where the tests do, and where they leave something in the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

needs = pytest.mark.skipif(not (shutil.which("git") and shutil.which("make")), reason="needs git and make")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository with CI's script in it, and nothing else."""
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci" / "run")
    (tmp_path / "Makefile").write_text("test:\n\t@true\n")
    (tmp_path / ".gitignore").write_text(".venv/\n")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org"]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "first"]):
        subprocess.run([*git, *words], cwd=tmp_path, check=True)
    return tmp_path


@needs
@pytest.mark.parametrize(
    ("recipe", "status", "said"),
    [
        ("@echo 3 passed in 1.00s", 0, ""),
        ("@echo 3 passed in 1.00s; mkdir .venv; touch .venv/installed", 0, ""),
        ("@echo 3 passed in 1.00s; mkdir grown; touch grown/study.json", 1, "?? grown/"),
        ("@echo 3 passed in 1.00s; echo changed >> .gitignore", 1, " M .gitignore"),
        ("@echo 1 failed in 1.00s; false", 2, ""),
        ("@echo 1 failed in 1.00s; touch litter; false", 2, "?? litter"),
    ],
)
def test_ci_fails_on_an_unclean_checkout(checkout: Path, recipe: str, status: int, said: str) -> None:
    """Files that the tests leave are named, and the tests' own output and status stay as they are."""
    (checkout / "Makefile").write_text(f"test:\n\t{recipe}\n")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run([*git, "commit", "-qam", "tests"], cwd=checkout, check=True)
    alone = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    done = subprocess.run([checkout / ".ci" / "run"], capture_output=True, text=True, cwd="/", env=alone, timeout=60)
    assert done.returncode == status
    assert "in 1.00s" in done.stdout.splitlines()[-1]
    assert said in done.stderr
    assert ("not clean" in done.stderr) == bool(said)
