"""Runs of a script whose process records what it does, either unchanged or with its inputs from outside pinned."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from nondet.errors import BadInput
from nondet.runners.machine import NO_CHANGE, Machine
from nondet.runners.process import Server, is_plain, last_lines, seeds_in_variables, started, with_nondet
from nondet.runners.script import Script
from nondet.runners.script_run import filled, ledger_of, link_here
from nondet.sources import FIXED_SEED
from nondet.study.provenance import CUBLAS_WORKSPACE

_SERVERS: dict[str, Server] = {}
"""Servers by their variables. They serve any script, and last as long as this process."""


@dataclass(frozen=True)
class How:
    """How one run is watched.

    rung: steps, modules, lines or operations. until: the last step to watch, from 0; None for all.
    window: the first and last step whose operations are recorded.
    pins: a number for each kind of input from outside (`nondet.script.trace.outside`); None pins nothing.
    sites: other numbers, by KIND@FILE:LINE. hash: Python's seed for hashes; None for a new one, as Python does.
    seeds: of the sources, if random numbers are sorted by source. variables: of the process, besides the user's own.
    keep: whether the run begins in the folder as the previous run left it.
    deterministic: whether torch must use deterministic algorithms only. fresh: never forked from another process, so
    that it has its own memory addresses. again: whether operations that may add in any order are repeated many times.
    machine: threads, versions and so on. nudged: lines whose passes without a gradient return slightly more than usual.
    """

    rung: str = "steps"
    until: int | None = None
    window: tuple[int, int] = (0, 0)
    pins: Mapping[str, int] | None = None
    sites: Mapping[str, int] = field(default_factory=dict[str, int])
    hash: int | None = None
    seeds: Mapping[str, int] | None = None
    variables: Mapping[str, str] = field(default_factory=dict[str, str])
    keep: bool = False
    deterministic: bool = False
    fresh: bool = False
    again: bool = False
    words: Mapping[str, int] = field(default_factory=dict[str, int])
    machine: Machine = NO_CHANGE
    nudged: Sequence[str] = ()


@dataclass(frozen=True)
class Trace:
    """What a run recorded: the records of each of its processes, those of the main one under "main".

    failure: why the run did not finish; empty if it did, or if it was ended after the last step to watch.
    folder: contains its records, and arrays of operations. last: the last lines that it printed.
    """

    records: Mapping[str, Sequence[Sequence[Any]]]
    failure: str
    folder: Path
    last: Sequence[str] = ()
    ledger: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def main(self) -> Sequence[Sequence[Any]]:
        return self.records.get("main", ())

    def of(self, *kinds: str) -> list[Sequence[Any]]:
        """Return the main process's records of these kinds."""
        return [record for record in self.main if record[0] in kinds]

    @property
    def steps(self) -> int:
        """How many training steps were done."""
        return len(self.of("weights"))

    @property
    def ended(self) -> bool:
        """Whether the script finished, rather than being ended after the last step to watch."""
        return bool(self.of("done"))

    @property
    def machine(self) -> Mapping[str, Any]:
        """What its process ran with: versions, threads, instructions."""
        found = self.of("machine")
        return found[-1][1] if found else {}


class Traced:
    """Makes runs of one script, each in the same folder as if it were the only run. `close` removes the folder."""

    def __init__(self, script: Script) -> None:
        script.check()
        if not script.is_python:
            raise BadInput(
                f"the training must be a Python script or module to be traced (got {script.words[0]!r}); give it as "
                "python train.py"
            )
        self.script = script
        self._temporary = tempfile.TemporaryDirectory(prefix="nondet-")
        self.folder = Path(self._temporary.name).resolve()
        self.place, self.numbers, self.runs = self.folder / "run", count(), 0
        self.modules: list[str] = []

    def run(self, how: How) -> Trace:
        """Make one run.

        Raises:
            BadInput: the script cannot be started.
        """
        kept = self.folder / f"seen-{next(self.numbers)}"
        kept.mkdir(parents=True)
        if not how.keep:
            self._clean()
            self.place.mkdir()
            link_here(self.place, self.folder, self.script)
        here = str(Path.cwd().resolve())
        names = ("rung", "until", "window", "deterministic", "again", "nudged", "pins", "sites")
        trace = {"folder": str(kept), "here": here, **{name: getattr(how, name) for name in names}}
        order: dict[str, Any] = {"trace": trace, "machine": dict(how.machine.told)}
        if how.seeds is not None:
            order |= {"seeds": dict(how.seeds), "record": "", "folder": str(kept), "bit": None, "here": here}
        (kept / "order").write_text(json.dumps(order), encoding="utf-8")
        log = kept / "log.txt"
        status = self._process(how, kept / "order", log)
        self.runs += 1
        return self._read(kept, status, log)

    def left(self) -> list[str]:
        """Return the files that the last run left in its folder."""
        return [
            name
            for folder, _, names in os.walk(self.place)
            for name in names
            if not Path(folder, name).is_symlink() and "__pycache__" not in folder
        ]

    def _clean(self) -> None:
        if self.place.exists():
            shutil.rmtree(self.place)

    def _process(self, how: How, order: Path, log: Path) -> int:
        words = how.machine.words([filled(word, how.words, self.place) for word in self.script.started])
        seeds = seeds_in_variables({**dict.fromkeys(self.script.asked, FIXED_SEED), **how.words})
        variables = {**os.environ, **seeds, **how.variables, **how.machine.variables}
        environment = with_nondet(variables, order, self.place)
        if how.deterministic:
            environment["CUBLAS_WORKSPACE_CONFIG"] = CUBLAS_WORKSPACE
        if how.hash is not None:
            environment["PYTHONHASHSEED"] = str(how.hash)
        server = self._server(how, words, environment)
        if server is not None:
            return server.run(words, self.place, log, environment)
        return started(words, self.place, log, environment)

    def _server(self, how: How, words: Sequence[str], environment: Mapping[str, str]) -> Server | None:
        """Return a process that forks runs in which everything is pinned, so that they differ only as asked."""
        held = how.hash is not None and how.pins is not None and not how.fresh
        if not held or not self.modules or not is_plain(words, environment):
            return None
        started = {n: value for n, value in environment.items() if not n.startswith("NONDET_")}
        key = json.dumps(started, sort_keys=True)
        if key not in _SERVERS:
            _SERVERS[key] = Server(started, self.modules)
        return _SERVERS[key] if _SERVERS[key].ready else None

    def _read(self, kept: Path, status: int, log: Path) -> Trace:
        text = log.read_bytes().decode("utf-8", "replace")
        last = last_lines(text)
        records: dict[str, list[Any]] = {}
        for path in sorted(kept.glob("*.jsonl")):
            found = records.setdefault(path.stem, [])
            for line in path.read_text(encoding="utf-8").splitlines():
                with suppress(ValueError):  # a process that was killed leaves half a line
                    found.append(json.loads(line))
        failure = ""
        if (kept / "refused").exists():
            failure = (kept / "refused").read_text(encoding="utf-8")
        elif status:
            failure = f"exit status {status}" if status > 0 else f"signal {-status}"
            failure += f": {last[-1]}" if last else ""
        trace = Trace(records, failure, kept, last, ledger_of(kept))
        if not self.modules and trace.of("imports") and not trace.of("threaded")[0][1]:
            self.modules = list(trace.of("imports")[0][1])
        return trace

    def close(self) -> None:
        """Remove its folder."""
        self._clean()
        self._temporary.cleanup()
