"""Are the sources' effects the same?"""

from __future__ import annotations

from pathlib import Path

from nondet.cli.console import TEXT, Printed, Words, answer
from nondet.io.streams import say


def alike(
    study: str,
    /,
    *others: str,
    margin: float = 1.25,
    level: float = 0.05,
    labels: Path | None = None,
    columns: Words = None,
    metric: str | None = None,
    arm: str = "",
    seed: str = "",
    form: Printed = TEXT,
) -> int:
    """Test whether a study's sources have the same effect, and which pairs are alike within a margin.

    For each metric there is one permutation test of all conditions, and for each pair of conditions the ratio of their
    effects with an equivalence test. Only conditions that start to vary at the same epoch are compared.

    Parameters
    ----------
    study
        The study's folder. Or outputs or scores made elsewhere, as for `nondet compare`, to test whether the runs of
        several arms vary equally.
    others
        More outputs or scores; each is an arm.
    margin
        The largest ratio of two effects that still counts as alike, above 1.
    level
        The share of false positives to allow.
    labels, columns
        For outputs made elsewhere, as for `nondet compare`.
    metric, arm, seed
        For scores, as for `nondet compare`.
    form
        How it is printed.
    """
    import nondet
    from nondet.running.advice import go_on

    found = nondet.alike(
        study,
        margin,
        level,
        others=others,
        labels=labels,
        columns=columns or (),
        metric=metric,
        arm=arm,
        seed=seed,
        say=say,
    )
    status = answer(found, form, control=found.control)
    if found.study and found.missing:
        say(f"Not finished: {found.missing} runs still have to be trained. Go on with: {go_on(found.study)}")
    return status
