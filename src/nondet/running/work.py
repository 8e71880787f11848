"""One worker on a study that somebody has begun: it makes what is missing, and leaves. Also a study's status."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from nondet.errors import BadInput, Damaged, Stopped
from nondet.io import signals as stopping
from nondet.records import Record
from nondet.runners.base import Runner
from nondet.runners.script import Script
from nondet.runners.script_runner import again
from nondet.running.advice import go_on, printable, request_in
from nondet.running.progress import Watch
from nondet.running.scheduler import make_missing, stacks_of
from nondet.study import claims
from nondet.study import record as studies
from nondet.study.design import Condition
from nondet.study.fit import require_fit
from nondet.study.mirror import folder_of, mirror_of
from nondet.study.provenance import set_up_process
from nondet.study.study import Study

_COLUMNS = ("runs", "done", "failed")


@dataclass(frozen=True, repr=False)
class Status(Record):
    """How far a study is.

    planned, done, failed: numbers of runs; failed ones count as done. in_hand: runs that a process on this machine, or
    one that shares its locks, is making; for a study in a bucket also all leased runs. conditions: each one's name, and
    how many of its runs are planned, done and failed; a run that several share counts in each. hosts: how many runs
    each machine has made.
    """

    study: Path
    planned: int
    done: int
    failed: int
    in_hand: int
    conditions: tuple[tuple[str, int, int, int], ...]
    hosts: Mapping[str, int]

    def to_dict(self) -> dict[str, Any]:
        return {
            "study": str(self.study),
            "planned": self.planned,
            "done": self.done,
            "failed": self.failed,
            "in_hand": self.in_hand,
            "missing": self.planned - self.done - self.in_hand,
            "conditions": [dict(zip(("name", *_COLUMNS), row, strict=True)) for row in self.conditions],
            "hosts": dict(self.hosts),
        }

    def tidy(self) -> dict[str, list[Any]]:
        columns = zip(*self.conditions, strict=True)
        return {name: list(column) for name, column in zip(("condition", *_COLUMNS), columns, strict=True)}


def status(study: Study) -> Status:
    """Return how far a study is, from the records of its runs, without their arrays."""
    planned = study.planned()
    there = study.store.keys() & planned.keys()
    failed, hosts = set[str](), Counter[str]()
    for key in there:
        try:
            record = study.store.record(key)
        except Damaged:
            continue
        hosts[str(record.get("host", ""))] += 1
        if record.get("failed") is not None:
            failed.add(key)
    own = {"control": list(study.control_specs())}
    own |= {
        design.name if isinstance(design, Condition) else "crossed": [spec.key for spec in study.specs_of(design)]
        for design in study.designs
    }
    rows = [(name, len(keys), len(there & set(keys)), len(failed & set(keys))) for name, keys in own.items()]
    missing = [key for key in planned if key not in there]
    held = {*claims.held(study.folder, missing), *_leased(study, missing)}
    return Status(
        study.folder, len(planned), len(there), len(failed), len(held), tuple(rows), dict(hosts.most_common())
    )


def _leased(study: Study, missing: Sequence[str]) -> list[str]:
    """Return which of these runs are leased, for a study in a bucket; a lease covers a run or its whole stack."""
    mirror = mirror_of(study.folder)
    if mirror is None or not missing:
        return []
    try:
        leases = mirror.place.leased(exact=True)
    except BadInput:  # without write access, nobody can ask for the bucket's time
        leases = mirror.place.leased()
    going, stack_of = {name for name, lease in leases.items() if not lease.done and not lease.ended}, stacks_of(study)
    return [key for key in missing if stack_of.get(key, key) in going]


def work(
    folder: Path,
    *,
    device: str = "auto",
    data: str | None = None,
    run_task: bool = False,
    stacks: int | None = None,
    say: Callable[[str], None] = print,
) -> int:
    """Make what a study lacks and nobody else is making, then leave. Return how many runs this process has made.

    Any number of workers may work on one study, on all machines that share its folder.

    Args:
        data: the folder of the task's files here. stacks: leave after this many.
        run_task: the user agrees to run or read what the study itself names.

    Raises:
        BadInput: this process would not train as the study's runs were trained; the message says what differs.
        Stopped: the user interrupted; the message says what is safe.
    """
    if stacks is not None and stacks < 1:
        raise BadInput(f"stacks must be at least 1 (got {stacks}); leave it out to make everything that is missing")
    study = studies.load(folder)
    set_up_process()
    try:
        with stopping.unwinding():
            runner = _runner(study, device, data, run_task, say)
            require_fit(study, runner, runner.environment(study.width))
            with Watch(study, runner.epochs) as watch:
                made = make_missing(study, runner, watch.watcher, stacks=stacks, wait=False)
            done, planned = studies.count_done(study)
            if done == planned and not study.lacking_trunks():
                studies.finish(study)
            return made
    except KeyboardInterrupt:
        done, planned = studies.count_done(study)
        raise Stopped(f"Stopped. {done} of {planned} runs are safe in {folder}. Go on with: {go_on(study)}") from None


def _runner(study: Study, device: str, data: str | None, run_task: bool, say: Callable[[str], None]) -> Runner:
    """Return the runner that a study itself asks for."""
    if "command" in study.request:
        script = Script.of(study.request)
        if not run_task:
            raise BadInput(
                f"{study.folder} is a study of the command {printable(shlex.join(script.words))}, which was not run; "
                "if you trust it, add <<run_task>>"
            )
        script.check()
        return again(script, study)
    request = request_in(study, data, run_task, way_out="run that program again")
    if device == "auto" and study.environment.get("device") == "cpu":
        device = "cpu"
    return replace(request, device=device).runner(say)


def ordered(order: Mapping[str, Any]) -> tuple[Study, Runner]:
    """Return the study and its runner, in a process that another one started; BadInput if it would train differently.

    order: see `Runner.order`; "folder" is the study's.
    """
    module, _, function = order["runner"].partition(":")
    return fitting(order["folder"], getattr(import_module(module), function)(**order["arguments"]))


def fitting(folder: str, runner: Runner) -> tuple[Study, Runner]:
    """Return the study in a folder or a bucket, and its runner here; BadInput if that would train differently."""
    study = studies.load(folder_of(folder))
    require_fit(study, runner, runner.environment(study.width))
    return study, runner
