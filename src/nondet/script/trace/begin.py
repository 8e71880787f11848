"""Begin a process that records what it does."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from os import getpid
from pathlib import Path
from typing import Any

from nondet.script import left, machine
from nondet.script.trace import places
from nondet.script.trace.clock import take_clock, take_process
from nondet.script.trace.habits import Habits
from nondet.script.trace.left import at_the_end, take_sklearn
from nondet.script.trace.lines import Lines
from nondet.script.trace.memory import take_numpy_memory, take_torch_memory
from nondet.script.trace.modules import Modules
from nondet.script.trace.operations import Operations
from nondet.script.trace.order import take_cores, take_listing, take_threads
from nondet.script.trace.outside import Outside
from nondet.script.trace.randoms import take_numpy, take_python, take_torch, take_urandom
from nondet.script.trace.states import States
from nondet.script.trace.told import Told
from nondet.script.trace.training import Training
from nondet.script.trace.writer import Writer


def begin(order: dict[str, Any], after_import: Callable[[dict[str, Callable[[], None]]], None]) -> None:
    """Record what this process does.

    order: `folder` is where the records go; `rung` is steps, modules, lines or operations; `until` is the last step to
    watch, and `window` the steps whose operations to watch; `nudged` are lines whose passes without a gradient return
    slightly more; `deterministic` is torch's own switch; `pins` and `sites` are as for `Outside`.
    """
    writer = Writer(Path(order["folder"]))
    places.stands_for(order["here"])
    pid = getpid()

    def end() -> None:
        writer.write(["machine", machine.seen()])
        for process in left.PROCESS:
            process.end()
        writer.flush()

    outside = Outside(order["pins"], order["sites"], writer.write)
    training = Training(writer.write, order["until"], end, lambda: not writer.is_main or getpid() != pid)
    training.nudged = order["nudged"]
    habits = Habits(writer.write, outside.made)
    told = Told(writer.write)
    lines = Lines(writer.write, lambda: training.step)

    def torch() -> None:
        if order["deterministic"]:
            module = sys.modules["torch"]
            module.use_deterministic_algorithms(True, warn_only=True)
            module.backends.cudnn.benchmark = False
        take_torch_memory(outside)
        take_torch(outside)
        training.take_over()
        habits.torch()
        told.torch()
        if order["rung"] == "states":
            States(writer.write, training).take_over()
        elif order["rung"] == "modules":
            Modules(writer, training).take_over()
        elif order["rung"] == "operations":
            Operations(writer, training, order["window"], writer.folder, order["again"]).begin()

    if order["rung"] == "lines":
        lines.begin()
    for take in (take_clock, take_process, take_urandom, take_python, take_listing, take_cores, take_threads):
        take(outside)
    outside.on_seed = habits.seeded
    numpy, randoms = (lambda: take_numpy_memory(outside)), (lambda: take_numpy(outside))
    sklearn = functools.partial(take_sklearn, writer.write, lambda: training.step)
    after_import({"torch": torch, "numpy": numpy, "numpy.random": randoms, "sklearn.base": sklearn})
    if writer.is_main:
        told.take_over()
        at_the_end(writer, lines, [training.settle, told.settle], lambda: training.step)
