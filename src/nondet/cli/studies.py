"""Show a study, work on it, report its progress, and check its bytes."""

from __future__ import annotations

from pathlib import Path

from nondet.cli.console import TEXT, USUAL, Flag, Form, Json, Printed, Volume, answer
from nondet.io.streams import note, say, tell, warn


def show(study: Path, /, *, examples: Flag = False, form: Printed = TEXT) -> int:
    """Print a study's table, the control first, and what it shows in words.

    Parameters
    ----------
    study
        The study's folder.
    examples
        Give errors and intervals that also hold for other test examples drawn in the same way.
    """
    import nondet
    from nondet.reporting import crossing, prose

    found = nondet.show(study, examples)
    broken = found.control.identical is False
    answer(found, form)
    if form.alone:
        crossed = crossing.dead_words(found.crossing) if found.crossing else []
        for sentence in [*[prose.control_words(found)] * broken, *prose.dead_words(found), *crossed]:
            warn(sentence)
    return 3 if broken else 0


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


def status(study: Path, /, *, json: Json = False) -> int:
    """Report a study's progress: runs planned, done, failed and in hand, by condition and machine.

    Parameters
    ----------
    study
        The study's folder.
    """
    import nondet

    return answer(nondet.status(study), Form(json=json))


def verify(study: Path, /) -> int:
    """Check every byte of a study's runs against the hashes written with them.

    Parameters
    ----------
    study
        The study's folder.
    """
    from nondet.running.advice import go_on
    from nondet.study import record as studies
    from nondet.study.checks import unsound_runs, wrong_beside
    from nondet.study.disk import left_by_killed
    from nondet.study.mirror import whole
    from nondet.study.names import linked_folders, own_files

    study = whole(study)
    opened = studies.load(study)
    keys = opened.store.keys() | opened.finished
    problems = [str(error) for _, error in unsound_runs(opened, keys)]
    beside, linked = wrong_beside(opened), linked_folders(study)
    for problem in (*problems, *beside):
        say(problem)
    for folder in linked:
        say(f"{folder} is a link to another folder, so a copy of the study would lack it; move the folder itself there")
    if problems or beside:
        others = f" and {len(beside)} files next to them" if beside else ""
        say(
            f"Damaged: {len(problems)} of {len(keys)} runs{others}; `{go_on(opened)}` sets them aside "
            "and trains them again"
        )
    if problems or beside or linked:
        return 1
    done, planned = studies.count_done(opened)
    tell(
        f"{len(keys)} runs are sound, every byte; {planned - done} of {planned} planned runs still have to be trained."
    )
    for path in opened.lacking_trunks().values():
        tell(f"note: runs fork from this trunk, which is missing: {path}")
    for path in own_files(study, "evidence"):
        tell(f"note: kept as evidence, and not used: {path}")
    for path in left_by_killed(study):
        tell(f"note: left half-written by a killed process; the next `nondet run` removes it: {path}")
    return 0
