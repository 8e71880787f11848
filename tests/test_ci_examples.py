"""The examples for CI: the workflow for GitHub is parsed, and every command in it is run, on a training of a line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"

TRAIN = """
import argparse

import torch

parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int)
torch.manual_seed(parser.parse_args().seed)
x, luck = torch.randn(64, 4), torch.randn(())
model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(5):
    optimizer.zero_grad()
    (model(x) - x.sum(1, keepdim=True)).pow(2).mean().backward()
    optimizer.step()
print("trained")
print(GAIN + 0.2 * luck.item())
"""


@pytest.fixture(scope="module")
def steps() -> list[dict[str, Any]]:
    """The steps of the workflow."""
    yaml: Any = pytest.importorskip("yaml", reason="needs PyYAML")
    workflow = yaml.safe_load((EXAMPLES / "github_action.yml").read_text())
    assert workflow["permissions"] == {"contents": "read"}
    assert "pull_request" in workflow[True]  # `on`, which YAML 1.1 takes for a truth value
    (job,) = workflow["jobs"].values()
    return job["steps"]


def _repository(folder: Path, gain: float) -> dict[str, str]:
    """What the workflow finds in a repository; and the environment of its steps, in which `nondet` is this one."""
    (folder / "train.py").write_text(TRAIN.replace("GAIN", str(90 + gain)))
    shutil.copy(EXAMPLES / "gate.sh", folder)
    base = [90 + 0.2 * x for x in (-1.2, -0.9, -0.5, -0.2, 0.0, 0.1, 0.4, 0.6, 0.9, 1.3)]
    (folder / "base.txt").write_text("\n".join(f"{x:.3f}" for x in base) + "\n")
    programs = folder / "bin"
    programs.mkdir()
    (programs / "nondet").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m nondet "$@"\n')
    (programs / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    for program in programs.iterdir():
        program.chmod(0o755)
    path = os.pathsep.join([str(programs), os.environ["PATH"]])
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT / "src"), "BRANCH": 'it\'s "$(touch owned)"'}


def _run(command: str, folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """A step as GitHub runs it."""
    words = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", command]
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize(("gain", "status", "verdict"), [(1.0, 0, "keep"), (-1.0, 1, "discard")])
def test_the_workflow_decides(
    steps: list[dict[str, Any]], tmp_path: Path, gain: float, status: int, verdict: str
) -> None:
    """A change that helps passes, one that harms fails; what is uploaded is there; a branch's name is no command."""
    environment = _repository(tmp_path, gain)
    commands = [step["run"] for step in steps if "run" in step]
    assert len(commands) == 4
    done = [_run(command, tmp_path, environment) for command in commands[2:]]
    assert [one.returncode for one in done] == [status, 0], [one.stderr for one in done]
    last = json.loads((tmp_path / "gate.jsonl").read_text().splitlines()[-1])
    assert verdict in last.values()
    (upload,) = [step["with"]["path"].split() for step in steps if "upload" in step.get("uses", "")]
    assert all((tmp_path / name).stat().st_size > 0 for name in upload)
    assert not (tmp_path / "owned").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("draws", "status"), [("torch.randn(())", 0), ("torch.tensor(random.random())", 1)])
def test_the_workflow_asks_whether_the_training_reproduces(
    steps: list[dict[str, Any]], tmp_path: Path, draws: str, status: int
) -> None:
    """A training that does passes; one that draws from a generator without a seed, and learns from it, fails."""
    environment = _repository(tmp_path, 0.0)
    install, reproduces = [step["run"] for step in steps if "run" in step][:2]
    assert install == "pip install nondet"
    changed = (tmp_path / "train.py").read_text().replace("torch.randn(())", draws).replace("x.sum(1", "luck + x.sum(1")
    (tmp_path / "train.py").write_text("import random\n" + changed)
    assert _run(reproduces, tmp_path, environment).returncode == status


def test_no_text_of_others_stands_in_a_command(steps: list[dict[str, Any]]) -> None:
    """What a pull request brings reaches a command by its environment alone, where it is text."""
    assert not [step["run"] for step in steps if "${{" in step.get("run", "")]
    assert [step["env"] for step in steps if "env" in step] == [{"BRANCH": "${{ github.head_ref }}"}]


def test_a_training_that_fails_is_not_gated(tmp_path: Path) -> None:
    """The plain script ends with status 2, and nothing is decided."""
    environment = _repository(tmp_path, 0.0)
    (tmp_path / "train.py").write_text("raise SystemExit(3)\n")
    done = _run("sh gate.sh", tmp_path, environment)
    assert done.returncode == 2
    assert not (tmp_path / "gate.jsonl").exists()


def test_the_page_shows_the_examples() -> None:
    """docs/gate.md has both, word for word."""
    page = (ROOT / "docs" / "gate.md").read_text()
    for name, language in (("gate.sh", "sh"), ("github_action.yml", "yaml")):
        assert f"```{language}\n{(EXAMPLES / name).read_text()}```" in page
