"""A real Ray cluster of several nodes on this machine, whose workers, nodes, driver and head are killed."""

from __future__ import annotations

import os
import platform
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from gated import CHANGES, reached, until
from s3_here import s3

import nondet as nd

pytestmark = pytest.mark.slow

DESIGN = ("--runs", "5", "--vary", "init", "--vary", "all", "--stack", "3")
NODE = {"num_cpus": 1, "object_store_memory": 100_000_000}


def blobs(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "runs").glob("*.safetensors")}


@dataclass
class Here:
    """A cluster, and a task whose trainings wait for `gate/open`."""

    cluster: Any
    task: Path
    folder: Path
    gate: Path
    stack: ExitStack

    def run(self, study: str = "") -> subprocess.Popen[str]:
        where = ["--study", study or str(self.folder), "--on", f"ray:{self.cluster.address}"]
        words = ["run", str(self.task), *DESIGN, *where]
        command = [sys.executable, "-m", "nondet", *words]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.stack.callback(child.communicate)
        self.stack.callback(child.kill)
        return child

    def workers(self) -> list[int]:
        """The processes that stand at the gate, or have stood there."""
        return [int(path.name.partition("-")[2]) for path in self.gate.glob("reached-*")]

    def open(self) -> None:
        (self.gate / "open").touch()

    def right(self) -> dict[str, bytes]:
        """What one process makes, for which the gate is open."""
        self.open()
        alone = self.folder.with_name("alone")
        nd.run(self.task, runs=5, vary=["init", "all"], folder=alone, executor="local", stack=3)
        return blobs(alone)


def end(command: subprocess.Popen[str]) -> None:
    until(lambda: command.poll() is not None, "all runs are there")
    assert command.returncode == 0, command.communicate()


def started(stack: ExitStack) -> Any:
    """A cluster whose head trains nothing."""
    cluster_utils = pytest.importorskip("ray.cluster_utils", reason="needs ray")
    head = {**NODE, "num_cpus": 0, "include_dashboard": False}
    cluster = cluster_utils.Cluster(initialize_head=True, head_node_args=head)
    stack.callback(cluster.shutdown)
    return cluster


@pytest.fixture
def here(tmp_path: Path, task_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Here]:
    gate = tmp_path / "gate"
    gate.mkdir()
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
    monkeypatch.setenv("GATE", str(gate))
    with ExitStack() as stack:
        yield Here(started(stack), task_file(*CHANGES), tmp_path / "s", gate, stack)


def test_a_killed_worker_and_a_killed_node_are_made_up_for(here: Here) -> None:
    """Ray gives their stacks to other workers and nodes; no run is lost, none is another."""
    import psutil

    nodes = [here.cluster.add_node(**NODE) for _ in range(2)]
    command = here.run()
    until(lambda: reached(here.gate) == 2, "both nodes train")
    one, other = here.workers()
    os.kill(one, signal.SIGKILL)
    raylet = {node.all_processes["raylet"][0].process.pid: node for node in nodes}
    lost = next(raylet[parent.pid] for parent in psutil.Process(other).parents() if parent.pid in raylet)
    here.cluster.remove_node(lost, allow_graceful=False)
    until(lambda: reached(here.gate) == 3, "the worker has a successor")
    here.open()
    end(command)
    assert blobs(here.folder) == here.right()


def test_a_killed_driver_goes_on(here: Here) -> None:
    """The same command goes on where it was."""
    here.cluster.add_node(**NODE)
    first = here.run()
    until(lambda: reached(here.gate) == 1, "a node trains")
    first.kill()
    first.communicate()
    here.open()
    end(here.run())
    assert blobs(here.folder) == here.right()


def test_a_killed_head_is_said_and_another_cluster_goes_on(here: Here) -> None:
    """One sentence, and the same command at another cluster."""
    here.cluster.add_node(**NODE)
    command = here.run()
    until(lambda: reached(here.gate) == 1, "a node trains")
    here.cluster.remove_node(here.cluster.head_node, allow_graceful=False)
    until(lambda: command.poll() is not None, "the driver ends")
    _, said = command.communicate()
    assert command.returncode == 2, said
    assert "give the same command again" in said.splitlines()[-1]
    here.cluster = started(here.stack)
    here.cluster.add_node(**NODE)
    here.open()
    end(here.run())
    assert blobs(here.folder) == here.right()


def test_nodes_that_share_nothing_but_a_bucket(here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has a cache of its own; what they are told is the bucket's address, and they have their own credentials."""
    here.open()
    right = here.right()
    with s3(tmp_path / "moto") as address:
        words = {"AWS_ACCESS_KEY_ID": "AKIANAMEOFNOBODY", "AWS_SECRET_ACCESS_KEY": "b", "AWS_ENDPOINT_URL": address}
        for name, value in words.items():
            monkeypatch.setenv(name, value)
        for number in range(2):
            monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / f"node{number}"))
            here.cluster.add_node(**NODE)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "driver"))
        end(here.run("s3://studies/ray"))
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "reader"))
        nd.pull("s3://studies/ray", here.folder)
    assert blobs(here.folder) == right
    made = {path.name for path in tmp_path.glob("node[01]/nondet/places/*/runs/*.safetensors")}
    assert made == set(right)


def test_a_node_of_another_version_is_refused(here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each worker compares its environment with the study's, and what differs is named."""
    other = tmp_path / "other"
    shutil.copytree(Path(nd.__file__).parent, other / "nondet", ignore=shutil.ignore_patterns("__pycache__"))
    version = other / "nondet" / "version.py"
    version.write_text(version.read_text().replace(nd.__version__, "9.9.9"))
    with monkeypatch.context() as patched:
        patched.setenv("PYTHONPATH", os.pathsep.join([str(other), os.environ["PYTHONPATH"]]))
        here.cluster.add_node(**NODE)
    here.open()
    command = here.run()
    until(lambda: command.poll() is not None, "the driver ends")
    _, said = command.communicate()
    assert command.returncode == 2, said
    refused = said.splitlines()[-1]
    assert f"was made by nondet {nd.__version__}; this is nondet 9.9.9" in refused
    assert f"on node {platform.node()}: " in refused
    assert refused.endswith("start a new study with --study")
    assert blobs(here.folder) == {}
