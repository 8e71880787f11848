"""Whether what varies in a condition reaches the runs' answers at all.

If a run's answers equal the reference run's to the last bit, nothing that varied reached it. If that is so for all runs
of a condition, its numbers do not show an effect of 0: its seed is dead. Weights and curves are not compared, since a
parameter that no output depends on may well differ.
"""

from __future__ import annotations

from dataclasses import dataclass

from nondet.analysis.runs import Runs
from nondet.study.study import Study


@dataclass(frozen=True)
class Reach:
    """What is known about a condition's reach.

    runs: its sound runs besides the reference run. unreached: how many of them have the reference run's answers;
        None while there is no sound reference run.
    distinct: how many different answers its sound runs have.
    dead: whether all of them equal the reference run; None if that cannot be known, since a run is not there yet, the
        reference run failed, the control is not zero, or nothing is left that could vary.
    past: whether nothing is left that could vary: init at a late onset, or anything at the end of the last epoch.
    """

    runs: int = 0
    unreached: int | None = None
    distinct: int = 0
    dead: bool | None = None
    past: bool = False

    @property
    def repeated(self) -> int:
        """How many runs equal an earlier one that is not the reference run."""
        return 0 if self.unreached is None else self.runs - self.unreached - (self.distinct - 1)


UNREAD = Reach()
"""The reach before any run is there."""


def reach_of(study: Study, runs: Runs, reference: bytes | None, identical: bool | None) -> Reach:
    """Find how far a condition's sources reach.

    Args:
        runs: the condition's. reference: the digest of the reference run's answers; None while there is no sound one.
        identical: whether the control's runs are equal to the last bit.
    """
    condition, first = runs.condition, study.reference.key
    if condition is None:
        return UNREAD
    own = [spec.key for spec in study.specs_of(condition) if spec.key != first]
    past = not own or getattr(condition, "onset", 0) >= study.epochs
    digests = [made.digest for made in runs.made if made.key != first]
    if reference is None:
        return Reach(len(digests), distinct=len(set(digests)), past=past)
    unreached, there = digests.count(reference), len(digests) + len(runs.failed)
    dead: bool | None = None
    if identical is not False and not past:
        if unreached < there:  # a run that fails when the reference run does not differs from it
            dead = False if identical else None
        elif there == len(own):
            dead = True
    return Reach(len(digests), unreached, len({reference, *digests}), dead, past)
