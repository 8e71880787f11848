"""A place to make runs: one contract for all, and one that another package brings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import nondet as nd

Nondet = Callable[..., Any]

MODULE = '''
"""Makes runs in this process, and writes down that it was asked."""

from pathlib import Path

from nondet.running.executors.base import local


def noted(work, watch):
    (Path(work.study.folder).parent / "noted").write_text(work.study.identity["name"])
    local(work, watch)
'''


def blobs(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "runs").glob("*.safetensors")}


@pytest.mark.parametrize("executor", ["local", "processes"])
class TestContract:
    """What every executor promises."""

    def test_all_runs_are_there_and_are_those_of_any_other(
        self, executor: str, nondet: Nondet, tiny: Path, tmp_path: Path
    ) -> None:
        words = ("run", tiny, "--runs", 6, "--vary", "all", "--vary", "bit", "--onset", 0, "--onset", 1)
        for folder, chosen in (("here", "local"), ("there", executor)):
            ran = nondet(*words, "--executor", chosen, "--workers", 2, "--study", tmp_path / folder)
            assert ran.code == 0, ran.err
        assert blobs(tmp_path / "here") == blobs(tmp_path / "there")
        assert not (tmp_path / "there" / "partial").exists()

    def test_what_is_there_is_not_made_again(self, executor: str, tiny: Path, tmp_path: Path) -> None:
        nd.run(tiny, runs=3, vary="init", folder=tmp_path / "s", executor=executor)
        before = {p: p.stat().st_mtime_ns for p in (tmp_path / "s" / "runs").iterdir()}
        nd.run(tiny, runs=5, vary="init", folder=tmp_path / "s", executor=executor)
        after = {p: p.stat().st_mtime_ns for p in (tmp_path / "s" / "runs").iterdir()}
        assert before.items() <= after.items()
        assert len(after) == len(before) + 4

    def test_a_training_that_fails_is_a_sentence(self, executor: str, task_file: Any, tmp_path: Path) -> None:
        broken = task_file(("epochs=2,", "epochs=2, schedule=lambda epoch, n: 1.0 if epoch < 1.4 else 1 / 0,"))
        with pytest.raises(nd.BadInput, match="ZeroDivisionError"):
            nd.run(broken, runs=3, vary="init", folder=tmp_path / "s", executor=executor)


def test_one_of_another_package(nondet: Nondet, install: Any, tiny: Path, tmp_path: Path) -> None:
    """It is named in a command and in the API, and the list of a wrong name has it."""
    install("elsewhere", MODULE, ("nondet.executors", "noted", "noted"))
    ran = nondet("run", tiny, "--runs", 3, "--vary", "init", "--executor", "noted", "--study", tmp_path / "s")
    assert ran.code == 0, ran.err
    assert (tmp_path / "noted").read_text() == "tiny"
    nd.run(tiny, runs=4, vary="init", folder=tmp_path / "s", executor="noted")
    wrong = nondet("run", tiny, "--executor", "nowhere", "--study", tmp_path / "s")
    assert wrong.code == 2
    assert "unknown executor 'nowhere'; choose from local, processes, ray, slurm, noted" in wrong.err
