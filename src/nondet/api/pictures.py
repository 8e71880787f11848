"""Things to look at: pages, plots, examples that flip."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from nondet.api.shared import is_study, quiet, spoken, study_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike

    from nondet.analysis.given import AnyGiven
    from nondet.analysis.outside import Outside
    from nondet.analysis.runs import Runs
    from nondet.analysis.unstable import Unstable
    from nondet.api.shared import StudyGiven
    from nondet.tasks.task import Task


def report(
    study: StudyGiven | AnyGiven,
    path: str | Path | None = None,
    *,
    condition: str = "",
    data: str | None = None,
    run_task: bool = False,
    task: Task | None = None,
    others: Sequence[AnyGiven] = (),
    labels: str | Path | ArrayLike | None = None,
    columns: Sequence[str] = (),
    metric: str | None = None,
    arm: str = "",
    seed: str = "",
    say: Callable[[str], None] | None = None,
) -> Path:
    """Write a study's page, one HTML file with its table and pictures, which needs no network, and return its path.

    Args:
        study: a study; or outputs or scores, as for `compare`. others: more outputs or scores; each is an arm.
        path: the file to write; if left out, `report.html` in the study's folder, or in the current one without a
            study.
        labels, columns, metric, arm, seed: for outputs and scores, as for `compare`.
        condition: the one whose most unstable examples are shown. data: the folder of the task's data, for their
            pictures.
        run_task: whether to run your own task file, which reads the pictures. task: as for `stabilize`.
        say: called with the reason if the page has no pictures.
    """
    from nondet.analysis.results import read_results
    from nondet.reporting.page import page, write_page
    from nondet.reporting.targets import page_to_write

    if given := _outside(study, others, labels, metric, columns, arm, seed, say):
        from nondet.reporting import outside

        file = Path("report.html" if path is None else path)
        write_page(page_to_write(file, "path"), outside.page(given, condition))
        return file
    opened = study_of(cast("StudyGiven", study))
    file = opened.folder / "report.html" if path is None else Path(path)
    results, target = read_results(opened.study), page_to_write(file, "path")
    task = task or opened.task
    write_page(target, page(results, condition, data, run_task=run_task, task=task, say=spoken(say)))
    return file


def plots(
    study: StudyGiven | AnyGiven,
    *,
    others: Sequence[AnyGiven] = (),
    labels: str | Path | ArrayLike | None = None,
    columns: Sequence[str] = (),
    metric: str | None = None,
    arm: str = "",
    seed: str = "",
    say: Callable[[str], None] | None = None,
) -> dict[str, Figure]:
    """Return a study's plots by name, such as "disagreement", as matplotlib figures.

    Args:
        study: a study; or outputs or scores. All arguments are as for `report`.
    """
    from nondet.analysis.results import read_results
    from nondet.reporting.plots import sections, sections_outside

    if given := _outside(study, others, labels, metric, columns, arm, seed, say):
        found = sections_outside(given)
    else:
        found = sections(read_results(study_of(cast("StudyGiven", study)).study))
    return {drawing.name: drawing.figure for section in found for drawing in section.drawings}


def unstable(
    runs: Runs | StudyGiven | AnyGiven,
    top: int = 20,
    *,
    labels: str | Path | ArrayLike | None = None,
    columns: Sequence[str] = (),
    say: Callable[[str], None] = quiet,
) -> Unstable:
    """Find the test examples on which runs disagree most, and the churn of each class.

    Args:
        runs: a condition's runs, such as `study["all"]`; a study, for its condition `all` or its only one; or outputs,
            as for `compare`.
        top: how many examples. labels, columns: for outputs, as for `compare`.
    """
    from nondet.analysis.given import arms_given
    from nondet.analysis.independence import without_copies
    from nondet.analysis.options import Options
    from nondet.analysis.runs import Runs
    from nondet.analysis.unstable import unstable as find
    from nondet.reporting.unstable import sentence

    if isinstance(runs, Runs):
        chosen = runs
    elif labels is None and not columns and is_study(runs):
        chosen = study_of(cast("StudyGiven", runs))[""]
    else:
        how = Options(labels, columns, compared=False, say=spoken(say))
        arm = without_copies(arms_given([runs], how)[0])
        for note in arm.notes:
            spoken(say)(note)
        chosen = arm.runs
    task = chosen.study.identity["name"] if chosen.study else chosen.name
    found = find(chosen, task, top)
    return replace(found, sentence=sentence(found))


def _outside(
    study: Any,
    others: Sequence[Any],
    labels: Any,
    metric: str | None,
    columns: Sequence[str],
    arm: str,
    seed: str,
    say: Callable[[str], None] | None,
) -> Outside | None:
    """Read runs that no study made; None for a study without options for others."""
    from nondet.analysis.options import Options
    from nondet.analysis.outside import read_outside

    given = (others, str(labels) if isinstance(labels, Path) else labels, columns, metric, arm, seed)
    if is_study(study) and all(value is None or len(value) == 0 for value in given):
        return None
    return read_outside([study, *others], Options(labels, columns, metric, arm, seed, say=spoken(say)))
