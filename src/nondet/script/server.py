"""A process that has imported what a script imports, and forks for each run: `python -P -m nondet.script.server`.

It reads one JSON object per line. The first names the modules to import. Each other one is a run: the script and its
arguments, the folder to run it in, its log, and its environment variables. The answers are lines too: "ready", or
"unsafe" if a fork would lose running threads; then, for each run, its process ID and its wait status.
"""

from __future__ import annotations

import atexit
import importlib
import json
import multiprocessing.process
import os
import sys
import threading
import traceback
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

from nondet.script.begin import begin


def main() -> int:
    answers = os.fdopen(os.dup(1), "w")
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 1)
    for name in json.loads(sys.stdin.readline()):
        with suppress(BaseException):  # imports that work in the script's order may fail in this one
            importlib.import_module(name)
    print("ready" if threading.active_count() == 1 else "unsafe", file=answers, flush=True)
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            answers.close()
            os._exit(_run(json.loads(line)))
        print(pid, file=answers, flush=True)
        print(os.waitpid(pid, 0)[1], file=answers, flush=True)
    return 0


def _run(job: Mapping[str, Any]) -> int:
    """Run a script to its end, as `python script.py` does, and return its exit status."""
    os.setsid()
    log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w", buffering=1), open(2, "w", buffering=1)  # noqa: SIM115
    os.environ.clear()
    os.environ.update(job["environment"])
    os.chdir(job["folder"])
    setattr(multiprocessing.process, "ORIGINAL_DIR", str(Path.cwd()))  # noqa: B010 - where processes that it starts look
    script = os.path.abspath(job["script"])  # noqa: PTH100 - as Python does
    sys.argv = [str(job["script"]), *job["arguments"]]
    sys.path.insert(0, os.path.dirname(os.path.realpath(script)))  # noqa: PTH120
    status = 1
    try:
        begin(job["environment"]["NONDET_RUN"])
        module = ModuleType("__main__")
        module.__dict__.update(__file__=script, __builtins__=__builtins__)
        sys.modules["__main__"] = module
        exec(compile(Path(script).read_bytes(), script, "exec"), module.__dict__)
        status = 0
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
        if not isinstance(error.code, int | None):
            print(error.code, file=sys.stderr)
    except BaseException as error:
        own = error.__traceback__.tb_next if error.__traceback__ else None
        traceback.print_exception(error.with_traceback(own))
    threading._shutdown()  # pyright: ignore[reportAttributeAccessIssue]
    atexit._run_exitfuncs()  # pyright: ignore[reportPrivateUsage]
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    return status


if __name__ == "__main__":
    sys.exit(main())
