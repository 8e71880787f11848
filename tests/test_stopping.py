"""A command that is told to stop ends with one line and 128 plus the signal's number, whatever it is doing."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Nondet = Callable[..., Any]

AT_IMPORT = """
import os, runpy, sys

class Stop:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), {number})

sys.meta_path.insert(0, Stop())
sys.argv = ["nondet", *{words!r}]
runpy.run_module("nondet", run_name="__main__", alter_sys=True)
"""

IN_TRAINING = (
    "task = nondet.Task(",
    "import os, signal\n\n\n"
    "def stop(epoch, epochs):\n"
    "    if abs(epoch - 5 / 3) < 1e-9:\n"
    "        try:\n"
    "            os.kill(os.getpid(), signal.SIGNAL)\n"
    "        finally:\n"
    "            os.kill(os.getpid(), signal.SIGNAL)\n"
    "    return 1.0\n\n\n"
    "task = nondet.Task(",
)
"""A schedule that sends two signals at a step of the second epoch, the second while the first is on its way out."""


def stopped_at(module: str, number: int, *words: object) -> subprocess.CompletedProcess[str]:
    """A command of its own that gets a signal when it begins to import a module."""
    code = AT_IMPORT.format(module=module, number=int(number), words=[str(word) for word in words])
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    "module",
    [
        "nondet.io.streams",
        "numpy",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("cyclopts", "rich.table", "scipy", "matplotlib", "jinja2")
        ),
    ],
)
def test_ctrl_c_while_libraries_are_loaded(module: str, finished: Path, tmp_path: Path) -> None:
    """Ctrl-C in the first seconds is one line and 130, at whatever import it comes."""
    done = stopped_at(module, signal.SIGINT, "report", finished, "--out", tmp_path / "page.html")
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "Stopped.\n")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_other_signals_end_as_cleanly(number: int, status: int, finished: Path) -> None:
    """SIGTERM and a closed terminal are answered as Ctrl-C is, each with its own status."""
    done = stopped_at("numpy", number, "show", finished)
    assert (done.returncode, done.stdout, done.stderr) == (status, "", "Stopped.\n")


def test_a_signal_that_the_parent_ignores_stays_ignored(finished: Path) -> None:
    """`nohup nondet ...` outlives its terminal."""
    code = AT_IMPORT.format(module="numpy", number=int(signal.SIGHUP), words=["show", str(finished)])
    command = ["nohup", sys.executable, "-c", code]
    assert subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=60).returncode == 0


@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_stop_in_training_says_what_is_safe(
    process: Nondet, task_file: Nondet, tmp_path: Path, name: str, status: int
) -> None:
    """The runs that are done are counted, a second signal changes nothing, and nothing half-written is left."""
    old, new = IN_TRAINING
    file = task_file((old, new.replace("SIGNAL", name)), ("lr=0.1)", "lr=0.1, schedule=stop)"))
    ran = process("run", file, "--runs", 2, "--study", tmp_path / "s", "--workers", 1)
    assert ran.code == status
    assert ran.out == ""
    _, said = ran.err.splitlines()
    assert said.startswith(f"Stopped. 0 of 7 runs are safe in {tmp_path / 's'}. Go on with: nondet run ")
    assert list((tmp_path / "s").rglob(".*")) == []


def test_a_stop_while_a_users_file_is_loaded(process: Nondet, task_file: Nondet, tmp_path: Path) -> None:
    """A stop while the user's file is loaded is one line too, though the file catches whatever is raised in it."""
    catch = "import os, signal\ntry:\n    os.kill(os.getpid(), signal.SIGINT)\nexcept BaseException:\n    pass\n"
    ran = process("run", task_file(("import nondet\n", f"{catch}import nondet\n")), "--study", tmp_path / "s")
    assert (ran.code, ran.out, ran.err) == (130, "", "Stopped.\n")
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("place", ["def model():\n", "return nn.Sequential("])
def test_a_task_that_ends_the_process(nondet: Nondet, task_file: Nondet, tmp_path: Path, place: str) -> None:
    """`sys.exit` in a user's model does not end a command with the status that it names."""
    leave = {"def model():\n": "def model():\n    raise SystemExit(0)\n", "return nn.Sequential(": "return Leaving("}
    forward = (
        "\n\nclass Leaving(nn.Sequential):\n    def forward(self, x):\n        raise SystemExit(0)\n\n\ndef model():\n"
    )
    changes = [(place, leave[place])] + ([("\n\ndef model():\n", forward)] if "return" in place else [])
    ran = nondet("run", task_file(*changes), "--study", tmp_path / "s")
    assert ran.code == 2
    assert len(ran.err.splitlines()) == 1
