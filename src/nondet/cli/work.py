"""A worker on a study, and how far it is."""

from __future__ import annotations

from pathlib import Path

from nondet.cli.console import USUAL, Flag, Form, Volume, answer
from nondet.io.streams import note, tell


def work(
    study: Path,
    /,
    *,
    data: Path | None = None,
    device: str = "auto",
    stacks: int | None = None,
    run_task: Flag = False,
    volume: Volume = USUAL,
) -> int:
    """Train what a study still misses and nobody else is training, then leave.

    Any number of workers may be at one study, on all machines that share its folder: whatever starts a command on a
    machine, such as Slurm, Kubernetes or ssh, runs a study.

    Parameters
    ----------
    study
        The folder of a study that `nondet run` has begun.
    data
        The folder of the task's official files here, where the study names another.
    device
        auto, cpu, cuda or cuda:N.
    stacks
        Leave after so many stacks of runs; after all that is missing if left out.
    run_task
        Run the task's file or the command that the study names: it is code.
    """
    from nondet import api

    made = api.work(study, data=data, device=device, stacks=stacks, run_task=run_task, say=note)
    found = api.status(study)
    tell(f"Made {made} runs here; {found.done} of {found.planned} are there, and {found.in_hand} in others' hands.")
    return 0


def status(study: Path, /, *, json: Flag = False) -> int:
    """Say how far a study is: runs planned, done, failed and in hand, by condition and machine.

    Parameters
    ----------
    study
        The study's folder.
    json
        As JSON, for scripts.
    """
    from nondet import api

    return answer(api.status(study), Form(json=json))
