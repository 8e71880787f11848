"""Begin a script's process under nondet: from then on, its random numbers are sorted by source."""

from __future__ import annotations

import atexit
import importlib.abc
import importlib.machinery
import importlib.util
import io
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from nondet.script import left
from nondet.script.files import Files
from nondet.script.inside import Inside, take_jax, take_numpy, take_python
from nondet.script.streams import numpy_of, python


def begin(order: str) -> None:
    """Take over this process's random numbers. order: the file that says how."""
    read: dict[str, Any] = json.loads(Path(order).read_text(encoding="utf-8"))
    if read.get("machine"):
        from nondet.script import machine

        machine.begin(read["machine"], _after_import)
    if "trace" in read:
        from nondet.script.trace.begin import begin as trace

        trace(read["trace"], _after_import)
        if "seeds" not in read:
            return
    if isinstance(sys.stdout, io.TextIOWrapper):  # so that output and errors are in order in one log
        sys.stdout.reconfigure(line_buffering=True)
    started = next((word for word in sys.orig_argv if word.startswith("from multiprocessing")), "")
    anew = "spawn" in started  # to read examples, or to train; others only watch processes
    here = Inside(read, worker=bool(started) and not anew)
    here.ledger["anew"] = anew
    here.refuse_ranks(os.environ.get("WORLD_SIZE", "1"))
    left.PROCESS.append(here)
    if not here.worker:
        Files(str(here.folder.parent), read.get("here", ""), here.ledger).watch(_after_import)
    here.streams.add(python())
    take_python(here)
    if importlib.util.find_spec("numpy") is not None:
        import numpy

        here.streams.add(numpy_of(numpy))
        take_numpy(here, numpy)
    _after_import({"torch": lambda: _torch(here), "jax": lambda: take_jax(here)})
    _at_the_very_end(here.end)


def _at_the_very_end(end: Callable[[], None]) -> None:
    """Call this before everything else at the end of the process, while what is to be kept still exists.

    IPython, for example, clears a notebook's names at its end.
    """
    register = atexit.register

    def registering(function: Callable[..., Any], *args: Any, **words: Any) -> Any:
        register(function, *args, **words)
        atexit.unregister(end)
        register(end)
        return function

    register(end)
    atexit.register = registering


def _torch(here: Inside) -> None:
    from nondet.script import torch_sources

    torch_sources.take_over(here, sys.modules["torch"])


def _after_import(then: Mapping[str, Callable[[], None]]) -> None:
    """Call each function once the module of its name is imported, or at once if it is already."""
    for name, call in then.items():
        if name in sys.modules:
            call()
    sys.meta_path.insert(0, _AfterImport({name: call for name, call in then.items() if name not in sys.modules}))


class _AfterImport(importlib.abc.MetaPathFinder):
    """Calls a function once the module of its name has been imported."""

    def __init__(self, then: Mapping[str, Callable[[], None]]) -> None:
        self.then = dict(then)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in self.then:
            return None
        then = self.then.pop(fullname)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            run = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                run(module)
                then()

            spec.loader.exec_module = exec_module
        return spec
