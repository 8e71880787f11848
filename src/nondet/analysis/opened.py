"""An open study, whose conditions are found by name."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import numpy as np

from nondet.analysis.reader import Reader
from nondet.analysis.runs import Runs
from nondet.errors import BadInput
from nondet.io.nearest import did_you_mean
from nondet.study import record as studies
from nondet.study.design import Condition
from nondet.study.mirror import whole
from nondet.study.study import Study
from nondet.tasks.task import Task

DEFAULT = "all"
"""The condition that is used when none is named, if the study has it."""


def chosen_condition(study: Study, name: str = "") -> Condition:
    """Return the study's condition of this name; without a name `all`, or the only one. BadInput if there is none."""
    named = {c.name: c for c in study.conditions}
    by_source = {"+".join(c.vary) + (f"@{c.onset}" if c.onset else ""): c for c in study.conditions}
    if not named:
        raise BadInput(
            f"{study.folder} must have a condition (got none: the runs of a crossed design share seeds, and are not "
            "independent); add one with <<vary>>"
        )
    wanted = name or (DEFAULT if DEFAULT in named else next(iter(named)) if len(named) == 1 else "")
    if wanted in named or wanted in by_source:  # if only one source can vary, its condition is called all
        return named.get(wanted) or by_source[wanted]
    said = (
        f"has no condition {name!r}{did_you_mean(name, named)}"
        if name
        else f"has several conditions, and none is called {DEFAULT}"
    )
    raise BadInput(
        f"{study.folder} {said}; choose one of {', '.join(named)}, such as {study.folder}:{next(iter(named))}"
    )


class OpenStudy:
    """An open study: `study["all"]` gives the runs of a condition, `study.conditions` the conditions' names.

    folder: where it is. labels: of its test set. task: its task, if a program gave a `Task` to `run`.
    """

    def __init__(self, study: Study, task: Task | None = None) -> None:
        self.study = study
        self.task = task
        self.folder: Path = study.folder
        self._runs: dict[str, Runs] = {}

    @cached_property
    def reader(self) -> Reader:
        return Reader(self.study)

    @property
    def labels(self) -> np.ndarray:
        return self.study.labels

    @property
    def conditions(self) -> list[str]:
        """The names of its conditions, in order."""
        return [condition.name for condition in self.study.conditions]

    def __getitem__(self, name: str) -> Runs:
        """Return the runs of a condition, read on first use; BadInput if there is no such condition."""
        if name not in self._runs:
            self._runs[name] = self.reader.runs(chosen_condition(self.study, name))
        return self._runs[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.conditions)

    def __repr__(self) -> str:
        return f"<study {self.folder} of {self.study.identity['name']}: {', '.join(self.conditions)}>"


def open_study(folder: str | Path) -> OpenStudy:
    """Open the study in a folder; BadInput if there is none, Damaged if its file is not what was written."""
    return OpenStudy(studies.load(whole(folder)))
