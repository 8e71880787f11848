"""Whether what varies in a condition reaches the runs' answers at all.

A run whose answers are the reference run's to the last bit was reached by nothing that varied. Where that is so of all
runs of a condition, what its figures show is no effect of 0: its seed is dead. Weights and curves are not looked at: a
parameter that no output depends on may well differ.
"""

from __future__ import annotations

from dataclasses import dataclass

from nondet.analysis.runs import Runs
from nondet.study.study import Study


@dataclass(frozen=True)
class Reach:
    """What is known of a condition.

    runs: its sound runs besides the reference run. unreached: those of them whose answers equal the reference run's;
        None while there is no sound reference run.
    distinct: how many different answers all its sound runs have between them.
    dead: whether all of them equal the reference run; None where that cannot be known: a run is not there yet, the
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
"""Before any run is there."""


def reach_of(study: Study, runs: Runs, reference: bytes | None, identical: bool | None) -> Reach:
    """How far a condition's sources reach.

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
        if unreached < there:  # a run that fails where the reference run does not is another one
            dead = False if identical else None
        elif there == len(own):
            dead = True
    return Reach(len(digests), unreached, len({reference, *digests}), dead, past)
