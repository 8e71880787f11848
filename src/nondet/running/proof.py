"""Whether a process trains as the study's runs were trained: a control run is repeated, and compared to the last bit.

The recorded environment names what is known to change a result. A variable, a driver or a file that it does not name
would let runs of two kinds be pooled in silence; a repeated run shows it, whatever it is.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nondet.errors import BadInput
from nondet.study.spec import Outcome
from nondet.study.store import blob_content

if TYPE_CHECKING:
    from nondet.study.study import Study


class Unproved(BadInput):
    """The study's runs were trained as this process does not train."""


@dataclass
class Proof:
    """One process's proof: given once it has trained the reference run itself, or the same as the stored one."""

    given: bool = False

    def needed(self, study: Study, repeats: bool) -> bool:
        """Whether runs are there that this process has not shown to repeat, and the task can be asked to."""
        if self.given or not repeats:
            return False
        control = [key for key in study.control_specs() if study.store.record_path(key).exists()]
        known = {study.store.record(key)["blob"]["sha256"] for key in control}
        return study.reference.key in control and len(known) == 1  # a control that differs by itself can show nothing

    def take(self, study: Study, outcome: Outcome) -> None:
        """Compare the reference run as this process trained it with the stored one; BadInput if it is another."""
        record = study.store.record(study.reference.key)
        digest = hashlib.sha256(blob_content(outcome.arrays)).hexdigest()
        self.given = (outcome.failed, digest) == (record["failed"], record["blob"]["sha256"])
        if not self.given:
            raise Unproved(
                f"a study must keep to one environment, and a control run trained here is not that of {study.folder} "
                "to the last bit, though no recorded field differs (unknown: a variable, a library's setting, a "
                "machine or a task that changes by itself); nothing was added, so find the cause, or start a new "
                "study with <<folder>>"
            )
