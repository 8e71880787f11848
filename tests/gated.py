"""A task whose training stands still in its middle until a gate is open or its process is told to stop."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

CALLS = 100
"""Forward passes before the gate: more than the trial steps make, and fewer than a training."""

CHANGES = (
    (
        "def model():",
        f"""
import os
import pathlib
import threading

from nondet.io import signals

calls = []


class Gate(nn.Module):
    def forward(self, x):
        calls.append(1)
        gate = os.environ.get("GATE")
        if gate and len(calls) > {CALLS}:
            pathlib.Path(gate, f"reached-{{os.getpid()}}").touch()
            while not pathlib.Path(gate, "open").exists() and not signals.stopped():
                threading.Event().wait(0.05)
        return x


def model():""",
    ),
    ("nn.ReLU(), ", "nn.ReLU(), Gate(), "),
    ("epochs=2,", "epochs=60,"),
)
"""Pieces of the tiny task's text that make it such a task, as the fixture `task_file` takes them."""


def until(happens: Callable[[], object], what: str, seconds: float = 500.0) -> None:
    """Wait for something that will happen, however fast the machine; the limit is only there to end a broken test."""
    end = time.monotonic() + seconds
    while not happens():
        if time.monotonic() > end:
            raise TimeoutError(what)
        threading.Event().wait(0.05)


def reached(gate: Path) -> int:
    """How many processes have come to the gate."""
    return len(list(gate.glob("reached-*")))


def epochs_of(snapshots: list[Path]) -> list[int]:
    """The epochs of snapshots, from their headers."""
    return [_header(path)["seal"]["epoch"] for path in snapshots]


def _header(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    begin = content.index(b'{"__metadata__"')
    found, _ = json.JSONDecoder().raw_decode(content[begin:].decode(errors="replace"))
    return json.loads(found["__metadata__"]["state"])


def asked(*words: str) -> str:
    """What a program answers."""
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout
