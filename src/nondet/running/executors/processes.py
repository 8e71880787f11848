"""This process and others on the same machine, each of which makes stacks of the same study.

On a CPU, a stack of small models is fastest on one core, and two processes with one core each beat one with two. A
helper is just another process on the same study; claims let them work side by side. The main process can do without
helpers: if one fails to start or is killed, its runs are free again, and the others train them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import IO, Any, Self

from nondet.errors import BadInput
from nondet.running.executors.base import Work, local
from nondet.running.progress import Watch
from nondet.running.scheduler import Watcher, make_missing
from nondet.study.record import count_done

WORTH_SECONDS = 8.0
"""Helpers need seconds to start, so none are started if less than this is left to train."""

SECONDS_TO_END = 5.0
"""How long a helper may take to put its files in order before it is killed."""


@dataclass(frozen=True)
class Processes:
    """This process, and up to `helpers` others."""

    helpers: int

    def __call__(self, work: Work, watch: Watch) -> None:
        done, planned = count_done(work.study)
        count = min(self.helpers, -(-(planned - done) // work.study.width) - 1) if work.runner.order else 0
        with Helpers(count, {**work.runner.order, "folder": str(work.study.folder)}) as helpers:
            watch.others, watch.when_long = helpers.in_hand, helpers.start
            local(work, watch)


@dataclass
class Helpers:
    """Up to `count` helper processes, started by `start` and ended with the block.

    order: what a helper must know, which is its runner (see `Runner.order`) and the study's folder.
    current: for each helper, the run-epochs done of its stack.
    """

    count: int
    order: Mapping[str, Any]
    begun: list[tuple[subprocess.Popen[str], threading.Thread]] = field(default_factory=list[Any])
    current: dict[int, int] = field(default_factory=dict[int, int])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        for process, _ in self.begun:
            process.terminate()
        for process, listener in self.begun:
            try:
                process.wait(SECONDS_TO_END)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            listener.join()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with suppress(OSError):  # what a dead helper did not read
                        pipe.close()

    def in_hand(self) -> int:
        """Return the run-epochs done of the helpers' stacks."""
        return sum(self.current.copy().values())

    def start(self, seconds_left: float) -> None:
        """Start the helpers, once, if what is left to train is worth it. A helper that cannot be started is skipped."""
        if self.begun or seconds_left < WORTH_SECONDS:
            return
        for number in range(self.count):
            with suppress(OSError):
                process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "nondet.running.executors.worker"],
                    stdin=subprocess.PIPE,  # held open: a helper ends when its main process does, however that ends
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,  # the main process can do without it, and reports problems itself
                    text=True,
                )
                listener = threading.Thread(target=self._listen, args=(number, process.stdout), daemon=True)
                self.begun.append((process, listener))
                listener.start()
                if process.stdin is not None:
                    process.stdin.write(json.dumps(self.order) + "\n")
                    process.stdin.flush()

    def _listen(self, number: int, lines: IO[str]) -> None:
        for line in lines:
            self.current[number] = int(line)
        self.current[number] = 0


def helper_main(read_line: Callable[[], str]) -> int:
    """Run a helper process: read its order, train what is free, and end when the main process does."""
    order = json.loads(read_line())
    threading.Thread(target=_end_with_main, args=(read_line,), daemon=True).start()
    tell = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a user's file prints must not mix with what this process reports

    from nondet.running.work import ordered
    from nondet.study.provenance import set_up_process

    set_up_process()
    try:
        study, runner = ordered(order)
    except BadInput:
        return 1
    make_missing(study, runner, Watcher(lambda done: print(done, file=tell, flush=True)))
    return 0


def _end_with_main(read_line: Callable[[], str]) -> None:
    while read_line():
        pass
    os._exit(1)
