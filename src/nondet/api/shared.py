"""What the functions of the API share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nondet.errors import spelled

if TYPE_CHECKING:
    from nondet.analysis.opened import OpenStudy
    from nondet.measures.measured import Measures
    from nondet.study.study import Study

    StudyGiven = str | Path | OpenStudy


def quiet(sentence: str) -> None:
    """Say nothing."""


def spoken(say: Callable[[str], None] | None) -> Callable[[str], None]:
    """Return a `say` that spells arguments the way the sentence's reader gives them."""
    return lambda sentence: (say or quiet)(spelled(sentence))


def study_of(study: StudyGiven) -> OpenStudy:
    """Return the study, opened if it is a folder."""
    from nondet.analysis.opened import OpenStudy, open_study

    return study if isinstance(study, OpenStudy) else open_study(study)


def measured(study: Study, condition: Any) -> Measures | None:
    """Measure a condition's runs for a stopping rule; None if there are fewer than two."""
    from nondet.analysis.opened import OpenStudy

    runs = OpenStudy(study).reader.runs(condition)
    return runs.measure() if len(runs) > 1 else None


def is_study(name: object) -> bool:
    """Whether this names a study or one of its conditions, and not outputs or scores made elsewhere."""
    from nondet.analysis.given import is_study as found

    folder, colon, _ = str(name).rpartition(":")
    return found(name) if not colon or not isinstance(name, str) or Path(name).exists() else found(folder)
