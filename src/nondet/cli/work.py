"""Work on a study, and report its progress."""

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
    """Train the runs that a study still lacks and nobody else is training, then exit.

    Any number of workers may train one study, on all machines that share its folder. Start them with anything that runs
    a command on a machine, such as Slurm, Kubernetes or ssh.

    Parameters
    ----------
    study
        The folder of a study that `nondet run` has begun.
    data
        The folder of the task's official files on this machine, if the study names another.
    device
        auto, cpu, cuda or cuda:N.
    stacks
        Exit after this many stacks of runs; if left out, when nothing is missing.
    run_task
        Allow running the task's file or the command that the study names, because it is code.
    """
    import nondet

    made = nondet.work(study, data=data, device=device, stacks=stacks, run_task=run_task, say=note)
    found = nondet.status(study)
    tell(
        f"Trained {made} runs here; {found.done} of {found.planned} are done, and others are training {found.in_hand}."
    )
    return 0


def status(study: Path, /, *, json: Flag = False) -> int:
    """Report a study's progress: runs planned, done, failed and in hand, by condition and machine.

    Parameters
    ----------
    study
        The study's folder.
    json
        Print JSON, for scripts.
    """
    import nondet

    return answer(nondet.status(study), Form(json=json))
