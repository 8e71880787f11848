"""Check a study's bytes."""

from __future__ import annotations

from pathlib import Path

from nondet.io.streams import say, tell


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
