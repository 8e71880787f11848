"""A tiny task, a finished study of it, and two ways to run the command: in this process and in a separate one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import settings
from numpy.typing import NDArray

from nondet.cli import main as cli

os.environ.pop("COLUMNS", None)  # so that it does not change the width of tables
os.environ.setdefault("MKL_CBWR", "AUTO")  # what the command sets; read once, at the first product

torch.set_num_threads(1)  # also for fixtures of a module, which are made before `one_thread`

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")  # read when a kernel is defined

settings.register_profile("nondet", deadline=None, derandomize=True)  # no test depends on time or chance
settings.load_profile("nondet")

TINY = """
import numpy as np
import torch
from torch import nn

import nondet

rng = np.random.default_rng(0)
inputs = torch.from_numpy(rng.standard_normal((60, 6), dtype=np.float32))
labels = torch.from_numpy((rng.standard_normal(60) + inputs[:, 0].numpy() > 0).astype(np.int64))


def model():
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))


task = nondet.Task(
    model=model,
    train=(inputs[:40], labels[:40]),
    test=(inputs[40:], labels[40:]),
    recipe=nondet.Recipe(epochs=2, batch_size=16, lr=0.1),
    stack=4,
)
"""
"""A user's file: a two-layer network, 40 training and 20 test points. Tests replace parts of it."""


@dataclass(frozen=True)
class Ran:
    """What a command left: its exit status, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The output as JSON; NaN and Infinity, which JSON does not have, are refused."""

        def refuse(token: str) -> None:
            raise ValueError(f"not JSON: {token}")

        return json.loads(self.out, parse_constant=refuse)


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    """Use one thread in every process, since environments differ if threads do, and restore what a command sets."""
    threads = torch.get_num_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what the command sets; removed after the test
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def nondet(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    """Run the command in this process."""

    def give(*arguments: object) -> Ran:
        words = [str(a) for a in arguments]
        monkeypatch.setattr(sys, "argv", ["nondet", *words])
        capsys.readouterr()
        code = cli.main(words)
        printed = capsys.readouterr()
        return Ran(code, printed.out, printed.err)

    return give


@pytest.fixture(scope="session")
def process() -> Callable[..., Ran]:
    """Run the command in a separate process."""

    def give(*arguments: object, timeout: float = 120, **options: Any) -> Ran:
        done = subprocess.run(
            [sys.executable, "-m", "nondet", *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=timeout,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            **options,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    return give


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny task's file."""
    path = tmp_path_factory.mktemp("tasks") / "tiny.py"
    path.write_text(TINY)
    return path


@pytest.fixture
def task_file(tmp_path: Path) -> Callable[..., Path]:
    """Write the tiny task with parts of its text replaced, given as (old, new) pairs, to the file `name`."""

    def write(*changes: tuple[str, str], name: str = "mine") -> Path:
        text = TINY
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / f"{name}.py"
        path.write_text(text)
        return path

    return write


@pytest.fixture(scope="session")
def finished(tiny: Path, tmp_path_factory: pytest.TempPathFactory, process: Callable[..., Ran]) -> Path:
    """A finished study of the tiny task: the default conditions, 3 runs each. Only read it; `study` is a copy."""
    folder = tmp_path_factory.mktemp("studies") / "tiny"
    ran = process("run", tiny, "--runs", 3, "--study", folder)
    assert ran.code == 0, ran.err
    return folder


@pytest.fixture
def study(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished study that a test may change."""
    return Path(shutil.copytree(finished, tmp_path / "study"))


@pytest.fixture
def contents() -> Callable[[Path], dict[str, tuple[bytes, int]]]:
    """Return every file of a study's runs, with its bytes and the time at which it was written."""

    def read(folder: Path) -> dict[str, tuple[bytes, int]]:
        return {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in sorted((folder / "runs").iterdir())}

    return read


Sample = tuple[NDArray[Any], NDArray[np.int64]]


@pytest.fixture
def sample() -> Callable[..., Sample]:
    """Make seeded outputs `(N, n, c)` and labels `(n,)`: a signal that the runs share, plus noise of each run."""

    def make(runs: int = 5, examples: int = 60, classes: int = 4, dtype: str = "float64", seed: int = 0) -> Sample:
        rng = np.random.default_rng(seed)
        labels = rng.integers(0, classes, examples)
        shared = rng.normal(size=(examples, classes)) + 2.0 * np.eye(classes)[labels]
        outputs = shared + rng.normal(size=(runs, examples, classes))
        if np.dtype(dtype).kind in "iu":
            outputs = np.clip(np.round(outputs), 0, 100)  # small whole numbers, so that most examples tie somewhere
        return outputs.astype(dtype), labels

    return make
