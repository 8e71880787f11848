"""Make runs on a Ray cluster, one Ray task for each stack. Its nodes must share the study's folder.

The store and the claims say what is missing and who is working on it. So a task, a worker, a node or this process may
end at any time: Ray gives lost tasks to others, and the same command continues the study.
"""

from __future__ import annotations

import os
import platform
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Self

from nondet.errors import BadInput, spelling
from nondet.runners.function import Function, FunctionRunner, of_function
from nondet.running.executors.base import Work, require_order
from nondet.running.progress import Watch
from nondet.running.scheduler import make_missing
from nondet.study import choices
from nondet.study.mirror import shown
from nondet.study.record import count_done

RETRIES = 5
"""How often Ray restarts a task whose worker or node was lost."""


SILENT_SECONDS = 20.0
"""How long a cluster's head may be silent. Ray itself ends the process without a word after 60 seconds."""


def on_ray(address: str = "") -> Callable[[Work, Watch], None]:
    """Return an executor on the cluster at an address, or on this machine's own cluster, which ends with the work."""

    def executor(work: Work, watch: Watch) -> None:
        ray = _ray()
        if not isinstance(work.runner, FunctionRunner):  # Ray itself brings functions to its nodes
            require_order(work)
        begun_here = not ray.is_initialized()
        if begun_here:
            try:
                own = {} if address else {"include_dashboard": False}  # a running cluster has its own setting
                ray.init(address=address or "local", log_to_driver=False, logging_level="ERROR", **own)
            except (ConnectionError, ValueError) as error:
                said = (str(error).strip().splitlines() or [type(error).__name__])[0]
                raise BadInput(
                    f"a Ray cluster must accept this process (at {address} Ray says: {said}); "
                    "start one, give its token in the way Ray expects, or leave out the address to use this machine"
                ) from error
        try:
            _all_stacks(ray, work, watch)
        finally:
            if begun_here:
                ray.shutdown()

    return executor


def _ray() -> Any:
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # tasks without a GPU still see them
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        return import_module("ray")
    except ImportError:
        raise BadInput("Ray must be installed to train on it (got none); pip install 'nondet[ray]'") from None


def _all_stacks(ray: Any, work: Work, watch: Watch) -> None:
    """Keep as many tasks going as there are missing stacks and the cluster has room for, until all runs are there."""
    study, cuda = work.study, work.study.environment.get("device") == "cuda"
    order = {
        **work.runner.order,
        "folder": shown(study.folder.absolute()),
        "here": str(Path.cwd()),
        "variables": {name: os.environ[name] for name in _names(os.environ, cuda)},
        "cuda": cuda,
    }
    function = ray.put(work.runner.function if isinstance(work.runner, FunctionRunner) else None)
    threads = int(study.environment.get("threads", 1))
    resources = {"num_gpus": 1} if cuda else {"num_cpus": threads}
    task = ray.remote(max_retries=RETRIES, retry_exceptions=False, **resources)(make_stack)
    going: list[Any] = []
    watcher = watch.watcher
    with _Head(ray) as head:
        while True:
            done, planned = count_done(study)
            if done == planned and not study.lacking_trunks():
                break
            stacks = max(1, -(-(planned - done) // study.width))
            room = int(head.resources.get("GPU" if cuda else "CPU", 1)) // (1 if cuda else threads)
            while len(going) < min(stacks, max(1, room)):
                going.append(task.remote(order, function))
            ended, going = ray.wait(going, timeout=1.0)
            head.require()
            watcher.on_epoch(0)
            if ended and not sum(_answers(ray, ended)):
                time.sleep(0.5)  # others are making everything that is left
        _answers(ray, going)


@dataclass
class _Head:
    """A cluster's head. A thread keeps asking it what the cluster has, because it may never answer."""

    ray: Any
    resources: Mapping[str, float] = field(default_factory=dict[str, float])
    heard: float = field(default_factory=time.monotonic)
    left: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self.resources = self.ray.cluster_resources()
        threading.Thread(target=self._ask, daemon=True, name="head").start()
        return self

    def __exit__(self, *how: object) -> None:
        self.left.set()

    def _ask(self) -> None:
        while not self.left.wait(1.0):
            with suppress(Exception):  # whatever went wrong, the head has not answered
                self.resources, self.heard = self.ray.cluster_resources(), time.monotonic()

    def require(self) -> None:
        silent = time.monotonic() - self.heard
        if silent > SILENT_SECONDS:
            raise BadInput(
                f"the head of a Ray cluster must answer (it has been silent for {silent:.0f} s; finished runs are "
                "kept); start a cluster, and give the same command again"
            )


def _answers(ray: Any, tasks: list[Any]) -> list[int]:
    """Return how many runs each task has made; an error in a task is raised here too."""
    try:
        return ray.get(tasks)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, BadInput):
            raise BadInput(str(error.cause)) from None  # it names arguments as they are given here
        raise
    except ray.exceptions.RayError as error:
        first = str(error).strip().splitlines()[0]
        raise BadInput(
            f"a task on Ray must end by itself (got {type(error).__name__} {RETRIES + 1} times: {first}); check the "
            "nodes' memory and logs, then give the same command again"
        ) from error


_known: dict[str, Any] = {}
"""This worker's last order and what was made from it, kept because most tasks are of one study."""


def make_stack(order: Mapping[str, Any], function: Function | None = None) -> int:
    """In a Ray worker, make one stack of the study if one is free. Return how many runs that made.

    order: see `Runner.order`; also the study's folder, and the folder and variables of the command. function: what to
    train, if it is a function.

    Raises:
        BadInput: this node would not train as the study's runs were trained; the message says what differs.
    """
    with spelling(lambda name, value: f"<<{name}>>" if value is None else f"<<{name}={value}>>"):  # as received
        try:
            return _one_stack(order, function)
        except BadInput as error:
            raise BadInput(f"on node {platform.node()}: {error}") from None


def _one_stack(order: Mapping[str, Any], function: Function | None) -> int:
    if _known.get("order") != dict(order):
        for name in _names(os.environ, order["cuda"]):
            if name not in order["variables"]:
                del os.environ[name]
        os.environ |= order["variables"]
        os.chdir(order["here"])
        from nondet.running.proof import Proof
        from nondet.running.work import fitting, ordered
        from nondet.study.provenance import set_up_process

        set_up_process()
        _known.clear()
        work = ordered(order) if function is None else fitting(order["folder"], of_function(function))
        _known.update(order=dict(order), work=work, proof=Proof())
    study, runner = _known["work"]
    return make_missing(study, runner, proof=_known["proof"], stacks=1, wait=False)


def _names(environ: Mapping[str, str], cuda: bool) -> list[str]:
    """Return the variables that affect how a process trains; Ray sets one of them for its own use."""
    return [*choices.variables(cuda, environ), *(name for name in ("OMP_NUM_THREADS", "MKL_CBWR") if name in environ)]
