"""Check a study's bytes."""

from __future__ import annotations

from pathlib import Path

from nondet.streams import say, tell


def verify(study: Path, /) -> int:
    """Check every byte of a study's runs against the hashes written with them.

    Parameters
    ----------
    study
        The study's folder.
    """
    from nondet import study as studies
    from nondet.trained import retrain
    from nondet.trained import verify as check

    opened = studies.load(study)
    sound, problems = check(opened)
    trunks = studies.damaged_trunks(opened)
    for problem in (*problems, *(f"{path} is damaged: its content does not match its SHA-256" for path in trunks)):
        say(problem)
    if problems or trunks:
        beside = f" and {len(trunks)} trunks" if trunks else ""
        say(f"Damaged: {len(problems)} of {sound + len(problems)} runs{beside}; {retrain(opened)}")
        return 1
    done, planned = studies.count_done(opened)
    tell(f"{sound} runs are sound, every byte; {planned - done} of {planned} planned runs are still to train.")
    for path in sorted((study / "evidence").glob("*")):
        tell(f"note: kept as evidence, and used nowhere: {path}")
    return 0
