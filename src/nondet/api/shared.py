"""What the functions of the API have in common."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from nondet.errors import spelled

if TYPE_CHECKING:
    from nondet.analysis.runs import OpenStudy
    from nondet.measures.measured import Measures
    from nondet.study.study import Study

    StudyGiven = str | Path | OpenStudy


def quiet(sentence: str) -> None:
    """Say nothing."""


def spoken(say: Callable[[str], None] | None) -> Callable[[str], None]:
    """Say a sentence with its arguments as its reader gives them."""
    return lambda sentence: (say or quiet)(spelled(sentence))


def study_of(study: StudyGiven) -> OpenStudy:
    """The study that is open, or the one in this folder."""
    from nondet.analysis.runs import OpenStudy, open_study

    return study if isinstance(study, OpenStudy) else open_study(study)


def measured(study: Study, condition: Any) -> Measures | None:
    """What a stopping rule looks at; None of fewer than two runs."""
    from nondet.analysis.runs import OpenStudy

    runs = OpenStudy(study).reader.runs(condition)
    return runs.measure() if len(runs) > 1 else None


def brought(study: object, *given: object) -> bool:
    """Whether these are runs that no study made."""
    return any(value is not None and len(cast(Any, value)) > 0 for value in given) or not is_study(study)


def is_study(name: object) -> bool:
    """Whether this names a study, or a condition of one, and not outputs or scores of others."""
    from nondet.analysis.given import is_study as found

    folder, colon, _ = str(name).rpartition(":")
    return found(name) if not colon or not isinstance(name, str) or Path(name).exists() else found(folder)
