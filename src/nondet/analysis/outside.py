"""Runs that no study made, ready for a page and its plots: arms of outputs or of scores, each measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from nondet.analysis.arm import Arm
from nondet.analysis.given import arms_given
from nondet.analysis.independence import without_copies
from nondet.analysis.options import PLAIN, Options
from nondet.analysis.scored import mean_and_sd
from nondet.errors import BadInput
from nondet.io.nearest import did_you_mean
from nondet.kinds import Kind
from nondet.measures.measured import Measures
from nondet.records import Record, stacked


@dataclass(frozen=True, repr=False)
class Outside(Record):
    """Arms by name, in order, with all measures of each. name: what they were read from."""

    name: str
    arms: dict[str, Arm]
    measures: dict[str, Measures]

    @property
    def kind(self) -> Kind:
        """The kind of all arms."""
        return next(iter(self.arms.values())).runs.kind

    @property
    def notes(self) -> list[str]:
        """What a reader must know, a sentence each."""
        return [note for arm in self.arms.values() for note in arm.notes]

    def chosen(self, name: str) -> Arm:
        """Return the arm of this name, or the first if no name is given; BadInput if there is no such arm."""
        if name and name not in self.arms:
            near = did_you_mean(name, self.arms)
            raise BadInput(f"there is no arm {name!r} in {self.name}{near}; choose from {', '.join(self.arms)}")
        return self.arms[name or next(iter(self.arms))]

    def to_dict(self) -> dict[str, Any]:
        """The arms, each as in `nondet measure --json`."""
        return {"name": self.name, "arms": [{"name": name, **m.as_condition()} for name, m in self.measures.items()]}

    def tidy(self) -> dict[str, list[Any]]:
        """A row for each measure of each arm."""
        return stacked("arm", ((name, measures.tidy()) for name, measures in self.measures.items()))


def read_outside(names: Sequence[Any], how: Options = PLAIN) -> Outside:
    """Read and measure the arms that `names` stand for, see `arms_given`; copies of a run count once."""
    read = arms_given(names, replace(how, compared=False))
    arms: dict[str, Arm] = {}
    for arm in map(without_copies, read):
        arms[arm.name if arm.name not in arms else f"{arm.name} ({len(arms) + 1})"] = arm
    return Outside(str(names[0]), arms, {name: _measured(arm) for name, arm in arms.items()})


def _measured(arm: Arm) -> Measures:
    found = replace(arm.runs, name=arm.name).measure()
    if len(arm.runs.labels):
        return found
    mean, sd = mean_and_sd(arm.values)  # for scores, as in `nondet measure`
    name = arm.metric.name.replace(".", "_")
    return replace(found, estimates={**found.estimates, f"{name}.mean": mean, f"{name}.sd": sd})
