"""Prove that a process trains as the study's runs were trained: repeat a control run, and compare it to the last bit.

The recorded environment names what is known to change a result. If something else differs, such as a variable, a driver
or a file, runs of two kinds would be pooled silently. A repeated run shows that, whatever the cause is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nondet.errors import BadInput
from nondet.study.spec import Outcome

if TYPE_CHECKING:
    from nondet.study.study import Study


class Unproved(BadInput):
    """This process does not train as the study's runs were trained."""


@dataclass
class Proof:
    """One process's proof, given once it has trained the reference run itself, or repeated the stored one exactly."""

    given: bool = False

    def needed(self, study: Study, repeats: bool) -> bool:
        """Whether the study has runs that this process has not shown it can repeat, and its runs do repeat."""
        if self.given or not repeats:
            return False
        control = [key for key in study.control_specs() if study.store.record_path(key).exists()]
        known = {study.store.record(key)["blob"]["sha256"] for key in control}
        return study.reference.key in control and len(known) == 1  # a control that differs within itself shows nothing

    def take(self, study: Study, outcome: Outcome) -> None:
        """Compare the reference run that this process trained with the stored one; BadInput if they differ."""
        self.given = study.store.equals(study.reference.key, outcome)
        if not self.given:
            raise Unproved(
                f"a study must keep to one environment, but a control run trained here differs from that of "
                f"{study.folder}, though no recorded field does (the cause may be a variable, a library's setting, the "
                "machine, or a task that changes by itself); nothing was added: find the cause, or start a new study "
                "with <<folder>>"
            )
