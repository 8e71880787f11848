"""Whether what varies in a condition reaches the runs' outputs at all.

A run whose outputs are the reference run's to the last bit was reached by nothing that varied. Where that is so of all
runs of a condition, what its figures show is no effect of 0: its seed is dead. Weights and curves are not looked at:
a parameter that no output depends on may well differ.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nondet.study.design import Condition

if TYPE_CHECKING:
    from nondet.study.record import Study
    from nondet.study.store import Stored

OUTPUTS = ("outputs", "logprob", "prediction", "sample.logits")
"""The arrays of a run that figures are computed from: a classifier's, and a language model's."""

CAUSES = {
    "init": (
        "the model's constructor seeds the generators itself (torch.manual_seed), draws from a generator of its own, "
        "or loads fixed weights"
    ),
    "shuffle": "the learning rate is 0, or there is one training example",
    "augment": (
        "the augmentation draws from a generator of its own and not from the one it is given, it changes nothing (such "
        "as a crop without padding), or the learning rate is 0"
    ),
    "dropout": (
        "what the dropout layers change reaches no output, their probability is so small that nothing is dropped, or "
        "the learning rate is 0"
    ),
    "order": "a mini-batch is one example, its sums are exact in any order, or the learning rate is 0",
    "kernels": "no operation of this training has a nondeterministic kernel",
    "bit": (
        "the weights that are changed reach no output (--set bit=NAME chooses another parameter), or the change is "
        "rounded away"
    ),
}
"""Why a source may reach nothing."""


@dataclass(frozen=True)
class Reach:
    """What is known of a condition.

    runs: its sound runs besides the reference run. unreached: those of them whose outputs equal the reference run's;
        None while there is no sound reference run.
    distinct: how many outputs all its sound runs have between them that differ.
    dead: whether all of them do; None where that cannot be known: a run is not there yet, the reference run failed, the
        control is not zero, or nothing is left that could vary.
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


def reach_of(study: Study, condition: Condition, stored: Mapping[str, Stored], identical: bool | None) -> Reach:
    """How far a condition's sources reach.

    stored: runs by key, with their outputs; runs that are not in it count as not there.
    identical: whether the control's runs are equal to the last bit.
    """
    reference = next(iter(study.specs()))
    own = [s.key for s in condition.specs(study.identity, study.sources) if s.key != reference]
    past = not own or condition.onset >= study.identity["recipe"]["epochs"]
    there = [stored[key] for key in own if key in stored]
    digests = [outputs_digest(run) for run in there if run.record["failed"] is None]
    first = stored.get(reference)
    if first is None or first.record["failed"] is not None:
        return Reach(len(digests), distinct=len(set(digests)), past=past)
    digest = outputs_digest(first)
    unreached = digests.count(digest)
    dead: bool | None = None
    if identical is not False and not past:
        if unreached < len(there):  # a run that fails where the reference run does not is another one
            dead = False if identical else None
        elif len(there) == len(own):
            dead = True
    return Reach(len(digests), unreached, len({digest, *digests}), dead, past)


def outputs_digest(run: Stored) -> bytes:
    """The SHA-256 of a run's outputs: equal to the last bit, equal digests."""
    found = hashlib.sha256()
    for name in OUTPUTS:
        if name in run.arrays:
            array = run.arrays[name]
            found.update(f"{name} {array.dtype} {array.shape} ".encode())
            found.update(np.ascontiguousarray(array).data)
    return found.digest()
