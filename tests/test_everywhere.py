"""One study by one process, by local processes, by Ray, by Slurm and from an S3 server: equal blobs, byte for byte."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slurm_here
from s3_here import s3

import nondet as nd

pytestmark = pytest.mark.slow

Start = Callable[..., subprocess.Popen[str]]

WORDS = ("--runs", "6", "--vary", "init", "--vary", "all", "--stack", "3")
SECRETS = {"AWS_ACCESS_KEY_ID": "AKIANAMEOFNOBODY", "AWS_SECRET_ACCESS_KEY": "nobodymayreadthis"}


def blobs(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "runs").glob("*.safetensors")}


def start(*words: object, **variables: str) -> subprocess.Popen[str]:
    """The command in a process of its own."""
    given = [sys.executable, "-m", "nondet", *map(str, words)]
    environment = {**os.environ, **variables}
    return subprocess.Popen(given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def end(*children: subprocess.Popen[str]) -> None:
    for child in children:
        said = child.communicate(timeout=300)
        assert child.returncode == 0, said


@pytest.fixture(scope="module")
def one(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What one process makes."""
    folder = tmp_path_factory.mktemp("one") / "s"
    end(start("run", tiny, *WORDS, "--workers", 1, "--study", folder, OMP_NUM_THREADS="1"))
    found = blobs(folder)
    assert len(found) == 12
    return found


@pytest.fixture(autouse=True)
def paths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))


def test_by_local_processes(tiny: Path, tmp_path: Path, one: dict[str, bytes]) -> None:
    end(*(start("run", tiny, *WORDS, "--study", tmp_path / "s") for _ in range(3)))
    assert blobs(tmp_path / "s") == one


def test_by_ray(tiny: Path, tmp_path: Path, one: dict[str, bytes]) -> None:
    pytest.importorskip("ray")
    end(start("run", tiny, *WORDS, "--study", tmp_path / "s", "--on", "ray"))
    assert blobs(tmp_path / "s") == one


@pytest.mark.slurm
@pytest.mark.skipif(bool(slurm_here.lacking()), reason=slurm_here.lacking())
def test_by_slurm(tiny: Path, tmp_path: Path, one: dict[str, bytes]) -> None:
    words = ("run", tiny, *WORDS, "--study", tmp_path / "s", "--on", "slurm:partition=main,time=10,workers=2")
    with slurm_here.slurm(tmp_path / "slurm") as conf:
        end(start(*words, SLURM_CONF=str(conf)))
    assert blobs(tmp_path / "s") == one


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    with s3(tmp_path / "moto") as address:
        yield address


def test_from_an_s3_server(tiny: Path, tmp_path: Path, one: dict[str, bytes], server: str) -> None:
    """By two machines, each with a cache of its own."""

    def machine(name: str) -> dict[str, str]:
        return {**SECRETS, "AWS_ENDPOINT_URL": server, "XDG_CACHE_HOME": str(tmp_path / name)}

    end(*(start("run", tiny, *WORDS, "--study", "s3://studies/here", **machine(name)) for name in "ab"))
    end(start("pull", "s3://studies/here", tmp_path / "copy", **machine("c")))
    assert blobs(tmp_path / "copy") == one


def test_functions_and_scripts_by_ray(tmp_path: Path) -> None:
    """What has no task's file runs there as well."""
    pytest.importorskip("ray")
    made = tmp_path / "made.py"
    made.write_text(SCRIPT)
    script = nd.Script(str(made), ["{init}"], record="outputs=outputs, labels=labels")
    for kind, runner in (("function", nd.Function(trained)), ("script", script)):
        folders = [tmp_path / f"{kind}-{name}" for name in ("here", "ray")]
        for folder, executor in zip(folders, ("local", "ray"), strict=True):
            nd.run(runner, runs=3, vary=["init"], folder=folder, executor=executor)
        here, there = (blobs(folder) for folder in folders)
        assert len(here) > 3
        assert here == there


def trained(seeds: Any) -> tuple[np.ndarray, np.ndarray]:
    """A function that draws its outputs."""
    return seeds.numpy("init").standard_normal((20, 3)), np.arange(20) % 3


SCRIPT = """
import sys

import numpy as np

rng = np.random.default_rng(int(sys.argv[1]))
outputs, labels = rng.standard_normal((20, 3)), np.arange(20) % 3
"""
