"""Every command of the docs runs as it is written, page by page, but for the number of runs, which is small here."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
PAGES = [page for page in [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))] if "```bash" in page.read_text()]
BLOCK = re.compile(r"^```(bash|python)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
MAKES_FILES = {"outputs.md", "scores.md", "json.md"}
"""Pages whose first block of Python makes the files of the commands below it."""
ELSEWHERE = re.compile(r"make |\. \.venv|python benchmarks/|.*train_(jax|tensorflow|xgboost|lightgbm)\.py")
"""What is no command of nondet's, or has a test of its own that skips where a library is missing."""
FOUND = {"gate": (0, 1, 4), "diverge": (0, 1, 4), "audit": (0, 1, 4), "resume-check": (0, 1, 4)}
"""Exit statuses of commands that answer by them."""
TRAIN = """
import argparse, os
import torch

parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, default=6)
parser.add_argument("--resume", action="store_true")
given = parser.parse_args()
torch.manual_seed(0)
model = torch.nn.Linear(4, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
data = torch.randn(32, 4)
start = 0
if given.resume and os.path.exists("state.pt"):
    state = torch.load("state.pt")
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    start = state["step"]
for step in range(start, given.steps):
    optimizer.zero_grad()
    model(data[step % 4 :: 4]).square().mean().backward()
    optimizer.step()
torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": given.steps}, "state.pt")
"""


def for_compare(folder: Path) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=90)
    np.save(folder / "y.npy", labels)
    for name in ("one", "other"):
        np.save(folder / f"{name}.npy", 2 * np.eye(3)[labels] + rng.normal(size=(1, 90, 3)))
    for name in ("a", "b"):
        rows = [f'{{"doc_id": {n}, "acc": {rng.integers(2)}, "subject": "s{n % 9}"}}\n' for n in range(90)]
        (folder / f"samples_{name}.jsonl").write_text("".join(rows))


def for_gate(folder: Path) -> None:
    (folder / "base.txt").write_text("90.51\n90.63\n90.34\n90.80\n90.42\n90.58\n90.47\n90.71\n")
    (folder / "wider.txt").write_text("91.9\n92.1\n91.8\n92.3\n")


def for_report(folder: Path) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=60)
    np.save(folder / "y.npy", labels)
    for arm in ("base", "aug"):
        (folder / arm).mkdir()
        for run in range(3):
            np.save(folder / arm / f"run-{run}.npy", 2 * np.eye(3)[labels] + rng.normal(size=(60, 3)))
    rows = [f"{arm},{seed},{90 + rng.normal():.2f}" for arm in ("base", "aug") for seed in range(5)]
    (folder / "scores.csv").write_text("\n".join(["method,seed,accuracy", *rows]) + "\n")


def for_why(folder: Path) -> None:
    (folder / "train.py").write_text(TRAIN)


def for_migration(folder: Path) -> None:
    shutil.copytree(ROOT / "tests" / "fixtures" / "0.1" / "kept", folder / "kept")


NEEDED: dict[str, Callable[[Path], None]] = {
    "compare.md": for_compare,
    "gate.md": for_gate,
    "report.md": for_report,
    "why.md": for_why,
    "migration.md": for_migration,
}


def short(command: str) -> str:
    """The same command with few runs: enough for what is asked of them."""
    fewer = re.sub(r"--runs \d+", "--runs 3", command)
    if (
        re.match(r"nondet run (digits|examples)", fewer)
        and "--runs" not in fewer
        and not re.search("--until|--design", fewer)
    ):
        fewer = fewer.replace("nondet run ", "nondet run --runs 7 ", 1)
    return (
        fewer if "--runs" in fewer or " -- " not in fewer else fewer.replace("nondet run ", "nondet run --runs 2 ", 1)
    )


def shell(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-c", command], cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True
    )


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default study, with few runs of one epoch."""
    folder = tmp_path_factory.mktemp("digits")
    ran = shell("nondet run digits --runs 7", folder)
    assert ran.returncode == 0, ran.stderr
    return folder / "studies"


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_of_a_page_run(page: Path, digits: Path, tmp_path: Path) -> None:
    """In their order, in a folder that holds the examples and the default study."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    shutil.copytree(digits, tmp_path / "studies")
    NEEDED.get(page.name, lambda folder: None)(tmp_path)
    blocks = BLOCK.findall(page.read_text())
    if page.name in MAKES_FILES:
        made = next(text for language, text in blocks if language == "python")
        assert shell(f"python - <<'END'\n{made}\nEND", tmp_path).returncode == 0
    for line in [line for language, text in blocks if language == "bash" for line in text.splitlines()]:
        command = line.partition("  #")[0].strip()
        if not command or ELSEWHERE.match(command):
            continue
        ran = shell(short(command), tmp_path)
        allowed = FOUND.get(command.split()[1], (0,)) if command.startswith("nondet ") else (0,)
        assert ran.returncode in allowed, (command, ran.stderr[-2000:])
