"""The file in which a process records what it sees, under a name that is the same in two runs."""

from __future__ import annotations

import atexit
import json
import multiprocessing
import os
import sys
from os import getpid
from pathlib import Path
from typing import Any, TextIO


class Writer:
    """Writes lines of JSON to this process's own file; a forked process continues in another file.

    Main is the process that was started first. Others are named by what they are, and workers by their number.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.main = folder, getpid()
        self.forks = 0
        self.role = "main" if _first(folder) else _started()
        self.file: TextIO | None = None
        self.quiet = False
        os.register_at_fork(
            before=self._before_fork, after_in_child=self._forked, after_in_parent=lambda: setattr(self, "quiet", False)
        )
        atexit.register(self.flush)

    @property
    def is_main(self) -> bool:
        return self.role == "main"

    def write(self, record: list[Any]) -> None:
        if self.quiet:
            return
        if self.file is None:
            buffering = -1 if self.is_main else 1  # others may be killed
            self.file = (self.folder / f"{self.role}.jsonl").open("a", buffering, encoding="utf-8")
        self.file.write(json.dumps(record, separators=(",", ":")) + "\n")

    def flush(self) -> None:
        if self.file is not None and not self.file.closed:
            self.file.flush()

    def _before_fork(self) -> None:
        self.quiet = True
        self.flush()
        self.forks += 1

    def _forked(self) -> None:
        """Begin a new file in a forked process, which ends without Python's normal exit."""
        self.role, self.file, self.quiet, self.forks = f"{self.role}.{self.forks}", None, False, 0
        from multiprocessing import util

        util.Finalize(None, self.flush, exitpriority=100)


def _first(folder: Path) -> bool:
    try:
        (folder / "began").touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def _started() -> str:
    """Name a process that the script has started: a worker of a loader or a pool, or a command."""
    words = [Path(word).name for word in sys.orig_argv[1:]]
    if any("multiprocessing" in word for word in words):
        return f"worker-{multiprocessing.current_process().name}-{getpid()}"
    return "started-" + "-".join(word for word in words if word.endswith(".py"))[:40] + f"-{getpid()}"
