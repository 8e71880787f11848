"""Find the executor that a name stands for."""

from __future__ import annotations

from importlib import import_module

from nondet.errors import BadInput
from nondet.io import extensions
from nondet.io.cores import available_cores
from nondet.io.nearest import did_you_mean
from nondet.running.executors.base import Executor, Work, local
from nondet.running.executors.processes import Processes

GROUP = "nondet.executors"

ENGINES = ("ray", "slurm")
"""Executors that start work on other machines; after a colon, they take an address or options."""


def executor_called(name: str | Executor | None, workers: int | None, work: Work) -> Executor:
    """Return the executor of this name. Without a name, that is this process, with helpers where they are worth it.

    Raises:
        BadInput: there is no executor of that name.
    """
    if name is not None and not isinstance(name, str):
        return name
    if name in (None, "processes"):
        environment = work.study.environment
        alone = environment.get("device") != "cpu" or "decoder" in environment  # decoders take the other cores
        usual = 1 if alone else available_cores() // int(environment.get("threads", 1))
        return Processes((workers or usual) - 1)
    if name == "local":
        return local
    kind, _, rest = name.partition(":")
    if kind in ENGINES:
        return getattr(import_module(f"nondet.running.executors.{kind}"), f"on_{kind}")(rest)
    if name not in extensions.names(GROUP):
        known = ["local", "processes", *ENGINES, *extensions.names(GROUP)]
        near = did_you_mean(name, known)
        raise BadInput(
            f"unknown executor {name!r}{near}; choose from {', '.join(known)}, or install the package that provides it"
        )
    return extensions.load(GROUP, name)
