"""Make runs in an array of Slurm jobs, each of which is the command `nondet work STUDY`.

A job needs only the study's folder, which must be shared: claims say what is free. Slurm requeues preempted jobs, and
jobs that reach their time limit requeue themselves. A stack that was begun continues from its last snapshot.
"""

from __future__ import annotations

import hashlib
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from nondet.errors import BadInput
from nondet.running.executors.base import Work, require_order
from nondet.running.progress import Watch
from nondet.study.mirror import shown
from nondet.study.record import count_done

WARNED_SECONDS = 60
"""How long before its time limit a job saves its work and asks to be queued again."""

LOOK_SECONDS = 5.0
"""The time between two looks at the queue."""

MOST = 64
"""The most jobs in an array, unless `workers` says otherwise."""

_SCRIPT = """#!/bin/bash
cd {here} || exit 2
{work} &
child=$!
trap 'kill -TERM $child; wait $child; exit 143' TERM
trap 'kill -TERM $child; wait $child; scontrol requeue "${{SLURM_ARRAY_JOB_ID}}_${{SLURM_ARRAY_TASK_ID}}"; exit' USR1
wait $child
"""


def on_slurm(options: str = "") -> Callable[[Work, Watch], None]:
    """Return an executor on Slurm.

    options: long options of `sbatch`, joined by commas; also `workers`, the number of jobs.
    """
    given = _options(options)
    workers = int(given.pop("workers", "0"))

    def executor(work: Work, watch: Watch) -> None:
        for program in ("sbatch", "squeue", "scancel"):
            if shutil.which(program) is None:
                raise BadInput(f"Slurm must be installed here (got no {program}); use a machine of the cluster")
        require_order(work)
        done, planned = count_done(work.study)
        stacks = -(-(planned - done) // work.study.width)
        if stacks or work.study.lacking_trunks():
            _array(work, watch, given, workers or min(MOST, max(1, stacks)))

    return executor


def _options(text: str) -> dict[str, str]:
    parts = [part.partition("=") for part in text.split(",") if part]
    sound = all(value and re.fullmatch(r"[a-z][a-z-]*", name) for name, _, value in parts)
    given = {name: value for name, _, value in parts}
    if not sound or not re.fullmatch(r"[1-9][0-9]*", given.get("workers", "1")):
        raise BadInput(
            f"Slurm's options must be long options of sbatch with values, and workers a number of at least 1 (got "
            f"{text!r}); try slurm:partition=main,time=60,workers=8"
        )
    return given


def _array(work: Work, watch: Watch, options: dict[str, str], workers: int) -> None:
    """Submit the array, unless one is already working on this study, and wait until all runs are there."""
    folder = work.study.folder.absolute()
    name = f"nondet-{hashlib.sha256(shown(folder).encode()).hexdigest()[:12]}"
    if not _queued(name):
        logs = folder / "logs"
        logs.mkdir(exist_ok=True)
        words = ["sbatch", "--parsable", f"--job-name={name}", f"--array=0-{workers - 1}", "--requeue"]
        words += [f"--signal=B:USR1@{WARNED_SECONDS}", "--open-mode=append", f"--output={logs}/slurm-%A_%a.log"]
        words += [f"--{option}={value}" for option, value in options.items()]
        command = [sys.executable, "-m", "nondet", "work", shown(folder), "--run-task"]
        request = work.study.request
        command += [f"--data={Path(request['data']).absolute()}"] if request.get("data") else []
        script = _SCRIPT.format(here=shlex.quote(str(Path.cwd())), work=shlex.join(command))
        submitted = subprocess.run(words, input=script, capture_output=True, text=True, check=False)
        if submitted.returncode:
            said = (submitted.stderr.strip().splitlines() or ["nothing"])[-1]
            raise BadInput(f"Slurm must accept the jobs (it says: {said}); fix the options, as in slurm:partition=NAME")
    try:
        _wait(work, watch, name)
    finally:  # jobs that are still queued have nothing left to do
        subprocess.run(["scancel", f"--name={name}", "--me"], capture_output=True, check=False)


def _wait(work: Work, watch: Watch, name: str) -> None:
    study, looked, watcher = work.study, time.monotonic(), watch.watcher
    while True:
        done, planned = count_done(study)
        if done == planned and not study.lacking_trunks():
            return
        watcher.on_epoch(0)
        if time.monotonic() - looked > LOOK_SECONDS:
            looked = time.monotonic()
            if not _queued(name) and count_done(study) == (done, planned):
                logs = sorted((study.folder / "logs").glob("slurm-*.log"), key=lambda path: path.stat().st_mtime)
                last = (logs[-1].read_text(errors="replace").strip().splitlines() or [""])[-1] if logs else ""
                raise BadInput(
                    f"Slurm's jobs must make all runs (they ended after {done} of {planned}, and the last one said: "
                    f"{last}); see {study.folder / 'logs'}, then give the same command again"
                )
        time.sleep(0.5)


def _queued(name: str) -> bool:
    """Whether jobs of this name are waiting or running."""
    found = subprocess.run(
        ["squeue", "--noheader", f"--name={name}", "--me", "--format=%T"], capture_output=True, text=True, check=False
    )
    return bool(found.stdout.strip()) or found.returncode != 0
