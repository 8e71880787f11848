"""Faults: processes killed at any moment, bytes changed on disk, disks full, two processes at once.

Whatever happens, the same command completes the study: no finished run is trained again, none is lost, and the result
is the one of an uninterrupted study, byte for byte.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nondet.study.record import load

Nondet = Callable[..., Any]
Contents = Callable[[Path], dict[str, tuple[bytes, int]]]
Start = Callable[..., subprocess.Popen[str]]

RUNS = ["--runs", "3"]
EPOCHS = [*RUNS, "--set", "epochs=60"]
LONG = [*EPOCHS, "--vary", "init", "--vary", "shuffle"]
"""A fraction of a second a stack: long enough to be hit in the middle."""

DRIVER = """
import json, os, signal, sys
import nondet.training.snapshots
settings, words = json.loads(sys.argv[1]), sys.argv[2:]
nondet.training.snapshots.SECONDS = settings.get("snapshot_seconds", 30.0)
if "worth_seconds" in settings:
    import nondet.running.executors.processes
    nondet.running.executors.processes.WORTH_SECONDS = settings["worth_seconds"]
if "file_bytes" in settings:
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (settings["file_bytes"],) * 2)
import nondet.cli.main, nondet.training.train
if "no_python" in settings:
    sys.executable = "/no/such/python"

CALLS = ("fsync", "link", "unlink", "replace", "rename")

def killed_at(number):
    # Count the calls that change a disk, and die without a word just before this one.
    left = [number]
    def dying(call):
        def instead(*args, **kwargs):
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
            return call(*args, **kwargs)
        return instead
    for name in CALLS:
        setattr(os, name, dying(getattr(os, name)))

def forked(folder, number=None):
    child = os.fork()
    if child == 0:
        if number is not None:
            killed_at(number)
        sys.argv = ["nondet", *words, "--study", folder]
        os._exit(nondet.cli.main.main(sys.argv[1:]))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

if "folder" in settings:
    assert nondet.cli.main.main([*words, "--study", f"{settings['folder']}/warm"]) == 0  # torch loads once

if "kill_at" in settings:
    codes = [forked(f"{settings['folder']}/{n}", n) for n in settings["kill_at"]]
    print(json.dumps(codes))
elif "finish" in settings:
    print(json.dumps([forked(f"{settings['folder']}/{n}") for n in settings["finish"]]))
else:
    sys.argv = ["nondet", *words]
    sys.exit(nondet.cli.main.main(words))
"""
"""A program that runs the command with other settings, or many times in children that die at a chosen disk call."""


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def wait_for(condition: Callable[[], object], child: subprocess.Popen[str] | None = None, seconds: float = 60) -> bool:
    """Poll until the condition holds, or the child has ended, or the time is up; whether it held."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and (child is None or child.poll() is None):
        if condition():
            return True
        time.sleep(0.002)
    return bool(condition())


def records(folder: Path) -> list[Path]:
    return sorted((folder / "runs").glob("*.json"))


def finished_files(folder: Path) -> dict[str, tuple[bytes, int]]:
    """The files of runs that are done, with their bytes and times."""
    files = [p for r in records(folder) for p in (r, r.with_suffix(".safetensors")) if p.exists()]
    return {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in files}


def planned(folder: Path) -> int:
    return len(load(folder).planned())


def blobs(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in (folder / "runs").glob("*.safetensors")}


def assert_same_study(nondet: Nondet, folder: Path, reference: Path) -> None:
    """Two studies hold the same: shown, run for run, and every byte verified; nothing was set aside."""
    assert nondet("show", folder, "--json").out == nondet("show", reference, "--json").out
    assert blobs(folder) == blobs(reference)
    assert len(records(folder)) == len(records(reference))
    assert nondet("verify", folder).code == 0
    assert not (folder / "evidence").exists()
    assert not list((folder / "partial").glob("*.snapshot"))


def assert_one_clear_sentence(code: int, err: str) -> None:
    assert code == 1, err
    assert "Traceback" not in err
    sentences = [line for line in err.splitlines() if "runs to train" not in line]
    assert len(sentences) == 1, err
    assert sentences[0].startswith("nondet: ")


def leftovers(folder: Path) -> list[Path]:
    return list(folder.rglob(".writing-*"))
