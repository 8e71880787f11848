"""Are the sources' effects the same?"""

from __future__ import annotations

from pathlib import Path

from nondet.cli.console import Flag, answer
from nondet.io.streams import say


def alike(study: Path, /, *, margin: float = 1.25, level: float = 0.05, json: Flag = False) -> int:
    """Test whether a study's sources have the same effect, and which pairs are alike within a margin.

    For each metric, one permutation test of all conditions; and for each pair of them the ratio of the two effects,
    with a test of equivalence. Conditions are compared with those that start to vary at the same epoch.

    Parameters
    ----------
    study
        The study's folder.
    margin
        The largest ratio of two effects that still counts as alike, above 1.
    level
        The share of false positives that is allowed.
    json
        As JSON: omnibus, pairs, margin, level, runs, left_out and sentence.
    """
    from nondet import api
    from nondet.running.advice import go_on

    found = api.alike(study, margin, level)
    status = answer(found, json=json, control=found.control)
    if found.missing:
        say(f"Not finished: {found.missing} runs are still to train. Go on with: {go_on(found.study)}")
    return status
