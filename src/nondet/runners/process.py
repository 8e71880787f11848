"""Run a script as a process: start a new one, or fork one that has already loaded the script's modules."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from nondet.io.streams import detail
from nondet.script.machine import VARIABLES
from nondet.sources import FIXED_SEED, SOURCES
from nondet.study.provenance import CUBLAS_WORKSPACE, MKL_BRANCH

CHOSEN = (*VARIABLES, "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")

_SITE = Path(__file__).resolve().parents[1] / "script" / "path"
"""The folder that, put first on Python's path, starts every process with nondet."""

_LAST_LINES = 5


class Process:
    """Runs the commands of one run after another, each in its own process.

    From the second run on, a Python script is forked from a server that has imported the same modules as the first run.
    This is done only where it is safe: no threads, the same Python, and no options for Python itself.
    """

    def __init__(self) -> None:
        self.modules: list[str] = []
        self.server: Server | None = None
        self.chosen: dict[str, str | None] = {}

    def learn(self, ledger: Mapping[str, Any]) -> None:
        """Note what a run has imported, for later runs."""
        if not self.modules and ledger.get("imports") and not ledger.get("threaded"):
            self.modules = list(ledger["imports"])

    def run(self, words: Sequence[str], place: Path, log: Path, environment: Mapping[str, str]) -> int:
        """Run a command to its end, with its output in the log, and return its exit status.

        If a signal ended it, the status is minus the signal's number.
        """
        detail(f"{shlex.join(words)} (in {place})")
        chosen = {name: environment.get(name) for name in CHOSEN}  # which libraries read only when they are loaded
        if self.modules and is_plain(words, environment):
            if self.server is None:
                self.server = Server({n: value for n, value in environment.items() if n != "NONDET_RUN"}, self.modules)
                self.chosen = chosen
            if self.server.ready and chosen == self.chosen:
                return self.server.run(words, place, log, environment)
        return started(words, place, log, environment)


class Server:
    """A process that forks runs (see `nondet.script.server`). It ends with this process."""

    def __init__(self, environment: Mapping[str, str], modules: Sequence[str]) -> None:
        words = [sys.executable, "-P", "-m", "nondet.script.server"]
        streams: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(words, env=dict(environment), text=True, **streams)
        try:
            self.ready = self.ask(modules) == "ready"
        except OSError:
            self.ready = False

    def ask(self, what: object = None) -> str:
        """Send it something, and return its answer."""
        if self.process.stdin is None or self.process.stdout is None:
            raise OSError("there are no pipes")
        if what is not None:
            self.process.stdin.write(json.dumps(what) + "\n")
            self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise OSError("the process that starts runs has ended")
        return line.strip()

    def run(self, words: Sequence[str], place: Path, log: Path, environment: Mapping[str, str]) -> int:
        """Run a script to its end; see `Process.run`."""
        job = {
            "script": words[1],
            "arguments": list(words[2:]),
            "folder": str(place.absolute()),
            "log": str(log.absolute()),
            "environment": dict(environment),
        }
        pid = int(self.ask(job))
        try:
            return os.waitstatus_to_exitcode(int(self.ask()))
        except BaseException:
            end(pid)
            raise

    def __del__(self) -> None:
        self.process.kill()
        self.process.communicate()


def started(words: Sequence[str], place: Path, log: Path, environment: Mapping[str, str]) -> int:
    """Run a command as a new process to its end; see `Process.run`."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            words,
            cwd=place,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            return process.wait()
        finally:
            if process.poll() is None:
                end(process.pid)
                process.wait()


def is_plain(words: Sequence[str], environment: Mapping[str, str]) -> bool:
    """Whether a command is this Python followed by a script."""
    if len(words) < 2 or not words[1].endswith(".py"):
        return False
    program = shutil.which(words[0], path=environment.get("PATH"))
    return program is not None and Path(program).absolute().parent == Path(sys.executable).parent


def end(pid: int) -> None:
    """End a process and everything that it has started."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        with suppress(OSError):
            os.killpg(pid, how)


def environment_of(seeds: Mapping[str, int], place: Path) -> dict[str, str]:
    """Return the environment variables for a run in this folder."""
    usual = {
        "PYTHONHASHSEED": "0",
        "OMP_NUM_THREADS": "1",
        "CUBLAS_WORKSPACE_CONFIG": CUBLAS_WORKSPACE,
        "MKL_CBWR": MKL_BRANCH,
    }
    return with_nondet({**usual, **os.environ}, place / ".nondet" / "order.json", place) | seeds_in_variables(seeds)


def with_nondet(variables: Mapping[str, str], order: Path, place: Path) -> dict[str, str]:
    """Return the variables that make Python start a process with nondet; the file `order` says what it has to do."""
    found = dict(variables)
    if not ({"VIRTUAL_ENV", "CONDA_PREFIX"} & {*found}):  # so that `python` is the one with nondet installed
        found["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), *filter(None, [found.get("PATH", "")])])
    found["PYTHONPATH"] = os.pathsep.join([str(_SITE), *filter(None, [found.get("PYTHONPATH", "")])])
    found["NONDET_RUN"], found["NONDET_OUT"] = str(order), str(place)
    return found


def last_lines(text: str) -> list[str]:
    """Return the last lines that a process printed."""
    return [line.rstrip() for line in text.splitlines() if line.strip()][-_LAST_LINES:]


def seeds_in_variables(seeds: Mapping[str, int]) -> dict[str, str]:
    """Return the variables with the seed of every source; a source without a seed gets the fixed one."""
    names = (*SOURCES, "seed", *seeds)
    return {f"NONDET_SEED_{name.upper()}": str(seeds.get(name, FIXED_SEED)) for name in names}
