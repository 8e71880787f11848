"""Executors: each makes runs in one kind of place. Packages add others as entry points of `nondet.executors`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from nondet.errors import BadInput
from nondet.runners.base import Runner
from nondet.running.progress import Watch
from nondet.running.proof import Proof
from nondet.running.scheduler import make_missing
from nondet.study.study import Study


@dataclass(frozen=True)
class Work:
    """The work to be done: everything that a study lacks. proof: this process's, see `nondet.running.proof`.

    Other processes may work on the same study, because claims keep them apart. So an executor may start as many as it
    likes, wherever they share the study's folder. Each needs `runner.order` to make the runner there.
    """

    study: Study
    runner: Runner
    proof: Proof = field(default_factory=Proof)


def require_order(work: Work) -> None:
    """Raise BadInput if another machine cannot make these runs."""
    if not work.runner.order:
        raise BadInput(
            "what is trained elsewhere must be a task with a name or a file, or a command whose runs share no file "
            f"(got {work.runner.name}, which is neither); train it here, with <<executor=local>>"
        )


class Executor(Protocol):
    """Makes every missing run of a study, in this process or elsewhere, and returns when all are there."""

    def __call__(self, work: Work, watch: Watch) -> None: ...


def local(work: Work, watch: Watch) -> None:
    """Make the runs in this process alone."""
    make_missing(work.study, work.runner, watch.watcher, work.proof)
