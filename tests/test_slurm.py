"""A real Slurm on this machine: jobs that are preempted, and jobs that come to their time limit."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import slurm_here
from gated import CHANGES, asked, epochs_of, reached, until

import nondet as nd

pytestmark = [
    pytest.mark.slow,
    pytest.mark.slurm,
    pytest.mark.skipif(bool(slurm_here.lacking()), reason=slurm_here.lacking()),
]

DESIGN = ("--runs", "5", "--vary", "init", "--vary", "all", "--stack", "3")


def blobs(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "runs").glob("*.safetensors")}


@dataclass
class Here:
    """A Slurm, and a task whose jobs wait for `gate/open` in the middle of their training."""

    at: Path
    task: Path
    folder: Path
    gate: Path
    stack: ExitStack

    @property
    def log(self) -> str:
        return (self.at / "slurmctld.log").read_text()

    @property
    def snapshots(self) -> list[Path]:
        return list((self.folder / "partial").glob("*.snapshot"))

    def run(self, options: str) -> subprocess.Popen[str]:
        words = ["run", str(self.task), *DESIGN, "--study", str(self.folder), "--on", f"slurm:{options}"]
        command = [sys.executable, "-m", "nondet", *words]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.stack.callback(child.communicate)
        self.stack.callback(child.kill)
        return child

    def right(self) -> dict[str, bytes]:
        """What one process makes, for which there is no gate."""
        alone = self.folder.with_name("alone")
        nd.run(self.task, runs=5, vary=["init", "all"], folder=alone, executor="local", stack=3)
        return blobs(alone)


@pytest.fixture
def here(tmp_path: Path, task_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Here]:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
    with ExitStack() as stack:
        found = Here(tmp_path / "slurm", task_file(*CHANGES), tmp_path / "s", tmp_path / "gate", stack)
        found.gate.mkdir()
        monkeypatch.setenv("SLURM_CONF", str(stack.enter_context(slurm_here.slurm(found.at))))
        monkeypatch.setenv("GATE", str(found.gate))
        yield found


def end(command: subprocess.Popen[str]) -> None:
    """Until the command ends by itself. Slurm lets jobs that it queued again wait for two minutes: here for ten s."""
    for job in asked("squeue", "-h", "--partition=main", "--states=PENDING", "--format=%A").split():
        asked("scontrol", "update", f"JobId={job}", "StartTime=now+10")
    until(lambda: command.poll() is not None, "all runs are there")
    assert command.returncode == 0, command.communicate()


def test_a_preempted_job_leaves_a_snapshot_and_is_queued_again(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two jobs in the middle of their stacks give way to one that is urgent, and go on where they were."""
    command = here.run("partition=main,time=10,workers=2")
    until(lambda: reached(here.gate) == 2, "both jobs train")
    wait = f"until [ -e {here.gate}/done ]; do sleep 0.1; done"
    asked("sbatch", "--partition=urgent", "--ntasks=2", "--time=5", "--output=/dev/null", f"--wrap={wait}")
    until(lambda: asked("squeue", "-h", "--partition=urgent", "--states=RUNNING"), "the urgent job runs")
    assert here.log.count("preempted JobId") == 2, here.log
    left = epochs_of(here.snapshots)
    assert len(left) == 2
    assert min(left) > 0
    (here.gate / "open").touch()
    (here.gate / "done").touch()
    end(command)
    monkeypatch.delenv("GATE")
    assert blobs(here.folder) == here.right()


def test_a_job_at_its_time_limit_leaves_a_snapshot_and_queues_itself(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is warned a minute before the limit, and goes on in a second job of the same number."""
    command = here.run("partition=main,time=2,workers=1")
    until(lambda: here.snapshots, "the job is warned and stops")
    (left,) = epochs_of(here.snapshots)
    assert left > 0
    until(lambda: asked("squeue", "-h", "--states=PENDING", "--format=%r").strip(), "the job waits to begin again")
    (here.gate / "open").touch()
    end(command)
    assert "TIMEOUT" not in here.log
    monkeypatch.delenv("GATE")
    assert blobs(here.folder) == here.right()
