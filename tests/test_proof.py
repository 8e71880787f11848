"""A study that is added to repeats a control run, so that a cause that no recorded field names is caught too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch.nn.functional as F

Nondet = Callable[..., Any]

UNSEEN = [
    ("def model():\n", "def model():\n    torch.nn.functional.relu = relu\n"),
    (
        "task =",
        "import os\n\nRELU = torch.nn.functional.relu\n\n\n"
        "def relu(x, inplace=False):\n"
        "    wrong = 'UNSEEN' in os.environ and x.dtype == torch.float32\n"
        "    return RELU(x, inplace) * (1 + 1e-6 if wrong else 1)\n\n\ntask =",
    ),
]
"""A function that a variable changes, in the recipe's precision alone, so that no trial in float64 tells."""


def files(folder: Path) -> dict[str, bytes]:
    """Every file of a study but the claims, by its path."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def run(nondet: Nondet, task_file: Any, monkeypatch: pytest.MonkeyPatch) -> Nondet:
    """`nondet run` of a task whose function an unseen variable changes."""
    path, relu = task_file(*UNSEEN), F.relu
    monkeypatch.setattr(F, "relu", relu)  # put back after the test

    def give(*options: object, unseen: bool = False) -> Any:
        F.relu = relu
        with monkeypatch.context() as patch:
            if unseen:
                patch.setenv("UNSEEN", "1")
            return nondet("run", path, "--workers", 1, *options)

    return give


@pytest.mark.parametrize(
    ("first", "more"),
    [
        (("--runs", 3, "--vary", "init"), ("--runs", 6, "--vary", "init")),
        (("--runs", 3, "--vary", "init"), ("--runs", 3, "--vary", "init", "--vary", "shuffle")),
        (("--runs", 3, "--vary", "init"), ("--runs", 3, "--vary", "shuffle", "--onset", 1)),
        (("--runs", 3, "--vary", "init", "--stack", 1), ("--runs", 4, "--vary", "init")),
        (("--design", "crossed", "--levels", 2), ("--design", "crossed", "--levels", 3)),
    ],
)
def test_an_unknown_cause_is_caught(run: Any, tmp_path: Path, first: Any, more: Any) -> None:
    """Nothing is added, not a byte of the study is changed, and the same command under the old conditions goes on."""
    study = tmp_path / "s"
    assert run(*first, "--study", study).code == 0
    before = files(study)
    refused = run(*more, "--study", study, unseen=True)
    assert refused.code == 2
    assert "the cause may be" in " ".join(refused.err.split())
    assert {name: content for name, content in files(study).items() if name != "partial/claims"} == before
    assert run(*more, "--study", study).code == 0
    assert before.keys() < files(study).keys()


LATE = (
    "return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))",
    """class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
            self.register_buffer("steps", torch.zeros(()))

        def forward(self, x):
            if self.training:
                self.steps += 1
            return self.layers(x) * (1 + ("UNSEEN" in __import__("os").environ) * (self.steps > 4))

    return Net()""",
)
"""A model whose late steps depend on a variable: no trial of a few steps sees it."""


@pytest.mark.parametrize("more", [("--runs", 30, "--vary", "init"), ("--runs", 2, "--vary", "shuffle", "--onset", 1)])
def test_a_cause_that_shows_late_is_caught(
    nondet: Nondet, task_file: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: Any
) -> None:
    """Several stacks, or a trunk to be trained first: nothing of them is kept."""
    given = ("run", task_file(LATE), "--workers", 1, "--study", tmp_path / "s")
    assert nondet(*given, "--runs", 2, "--vary", "init").code == 0
    before = files(tmp_path / "s")
    with monkeypatch.context() as patch:
        patch.setenv("UNSEEN", "1")
        refused = nondet(*given, *more)
    assert (refused.code, "the cause may be" in " ".join(refused.err.split())) == (2, True)
    assert {name: content for name, content in files(tmp_path / "s").items() if name != "partial/claims"} == before
    assert nondet(*given, *more).code == 0


def test_a_study_that_grows_is_the_one_made_at_once(nondet: Nondet, tiny: Path, tmp_path: Path) -> None:
    """The repeated run takes a slot and leaves nothing else: blobs and keys are those of a study made in one go."""
    grown, whole = tmp_path / "grown", tmp_path / "whole"
    steps = [("--runs", 2, "--vary", "init"), ("--runs", 9, "--vary", "init"), ("--runs", 5, "--vary", "all")]
    for step in steps:
        assert nondet("run", tiny, *step, "--workers", 1, "--study", grown).code == 0
    assert nondet("run", tiny, "--runs", 9, "--vary", "init", "--workers", 1, "--study", whole).code == 0
    assert nondet("run", tiny, "--runs", 5, "--vary", "all", "--workers", 1, "--study", whole).code == 0
    blobs = [{p.name: p.read_bytes() for p in (s / "runs").glob("*.safetensors")} for s in (grown, whole)]
    assert blobs[0] == blobs[1]


def test_nothing_missing_trains_nothing(nondet: Nondet, tiny: Path, study: Path, tmp_path: Path) -> None:
    """The same command on a finished study repeats no run: its folder stays as it is."""
    given = ("run", tiny, "--runs", 3, "--workers", 1, "--study", study)
    assert nondet(*given).code == 0
    before = {name: content for name, content in files(study).items() if name.startswith("runs")}
    ran = nondet(*given)
    assert ran.code == 0
    assert {name: content for name, content in files(study).items() if name.startswith("runs")} == before
    assert "to train" not in ran.err
