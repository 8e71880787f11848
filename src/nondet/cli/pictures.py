"""Things to look at: test examples that flip, figures, pages."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from nondet.cli.console import (
    NONE_GIVEN,
    TEXT,
    Elsewhere,
    Flag,
    Printed,
    Words,
    answer,
    answer_control,
    print_json,
    print_sentences,
    say_unfinished,
)
from nondet.errors import BadInput
from nondet.io.signals import undisturbed
from nondet.io.streams import say, tell, warn
from nondet.reporting.targets import page_to_write, require_outside_studies, require_plain

if TYPE_CHECKING:
    from nondet.analysis.results import Results


def examples(
    target: str,
    /,
    *,
    top: int = 20,
    labels: Path | None = None,
    columns: Words = None,
    form: Printed = TEXT,
    pictures: Path | None = None,
    data: str | None = None,
    run_task: Flag = False,
) -> int:
    """Show the test examples on which a condition's runs disagree most, and the churn of each class.

    Parameters
    ----------
    target
        The study's folder, or FOLDER:CONDITION; without a condition, `all` or the only one. Or outputs made elsewhere,
        as for `nondet measure`.
    top
        How many examples to show.
    labels
        For outputs made elsewhere, as for `nondet measure`.
    columns
        For outputs made elsewhere, as for `nondet measure`.
    pictures
        Write each of these examples to this folder as a PNG file, named by its number.
    data
        The folder of the task's data, as for `nondet run`, if --pictures does not find the data.
    run_task
        If the task is a file, run it: its code reads the pictures.
    """
    import nondet
    from nondet.analysis.pictures import pictures_of
    from nondet.analysis.reader import control_is_zero
    from nondet.api.shared import is_study
    from nondet.io.files import write_file

    if pictures and pictures.exists() and not pictures.is_dir():
        raise BadInput(f"--pictures must name a folder (got {pictures}, a file); name another")
    if pictures:
        require_outside_studies(pictures / "0.png", "--pictures")
    if not is_study(target) or labels or columns:
        if pictures:
            raise BadInput(
                f"--pictures needs a study, whose task has the pictures (got outputs, {target}); leave it out"
            )
        return answer(nondet.unstable(target, top, labels=labels, columns=columns or (), say=say), form)
    folder, name = _parts(target)
    opened = nondet.open(folder)
    found = nondet.unstable(opened[name], top)
    indices = [example.index for example in found.top] if pictures else []
    pngs, why = pictures_of(opened.study, indices, data, run_task=run_task) if pictures else ({}, "")
    files = {index: (pictures or folder) / f"{index}.png" for index in pngs}
    for path in files.values():
        require_plain(path, "--pictures")
    for index, path in files.items():
        with undisturbed():
            write_file(path, pngs[index], replace=True)
    control = control_is_zero(opened.study)
    if form.json and pictures:
        print_json({**found.to_dict(), "pictures": {"files": [str(path) for path in files.values()], "reason": why}})
        return answer_control(control)
    status = answer(found, form, control=control)
    if pictures and not form.alone:
        print_sentences(f"Wrote {len(files)} pictures to {pictures}." if files else f"No pictures: {why}.")
    return status


def _parts(target: str) -> tuple[Path, str]:
    """Split a target into a study's folder and a condition's name, empty if none; a folder's own name may contain a
    colon."""
    folder, colon, name = target.rpartition(":")
    return (Path(folder), name) if colon and folder and not Path(target).exists() else (Path(target), "")


def figures(
    study: str,
    /,
    *others: str,
    format: str = "pdf",
    out: Path | None = None,
    elsewhere: Elsewhere = NONE_GIVEN,
    json: Flag = False,
) -> int:
    """Write each figure of a study, of outputs or of scores as a file, one column wide, for a paper or a talk.

    Parameters
    ----------
    study
        The study's folder. Or outputs or scores made elsewhere, as for `nondet compare`.
    others
        More outputs or scores; each is an arm.
    format
        pdf, svg or png.
    out
        The folder to write to; if left out, `figures` in the study's folder, or in the current one if there is no
        study.
    json
        Print as JSON what was written: each file, and what it shows.
    """
    import nondet
    from nondet.io.files import write_file
    from nondet.reporting.plots import sections, sections_outside
    from nondet.reporting.plots.style import FORMATS, content

    if format not in FORMATS:
        raise BadInput(f"--format must be one of {', '.join(FORMATS)} (got {format!r}); choose one")
    brought = elsewhere.named(study, *others)
    folder = out or (Path() if brought else Path(study)) / "figures"
    if folder.exists() and not folder.is_dir():
        raise BadInput(f"--out must name a folder (got {folder}, a file); name another")
    require_outside_studies(folder / f"any.{format}", "--out")
    found = None if brought else nondet.show(study)
    drawn = sections(found) if found else sections_outside(elsewhere.read(study, *others))
    written = [(folder / f"{one.name}.{format}", one) for section in drawn for one in section.drawings]
    for path, _ in written:
        require_plain(path, "--out")
    for path, drawing in written:
        picture = content(drawing.figure, format)
        with undisturbed():
            write_file(path, picture, replace=True)
    if json:
        print_json([{"file": str(path), "shows": drawing.alternative} for path, drawing in written])
    else:
        tell(*(str(path) for path, _ in written), f"Wrote {len(written)} figures to {folder}.")
    if found is None:
        return 0
    status = _warned(found)
    say_unfinished(found)
    return status


def report(
    study: str,
    /,
    *others: str,
    out: Path | None = None,
    data: str | None = None,
    condition: str = "",
    run_task: Flag = False,
    elsewhere: Elsewhere = NONE_GIVEN,
    json: Flag = False,
) -> int:
    """Write the page of a study, of outputs or of scores: one HTML file with table and figures, which needs no network.

    Parameters
    ----------
    study
        The study's folder. Or outputs or scores made elsewhere, as for `nondet compare`.
    others
        More outputs or scores; each is an arm.
    out
        The file to write; if left out, report.html in the study's folder, or in the current one if there is no study.
    data
        The folder of the task's official files, for pictures of test examples; as for `nondet run`.
    condition
        The condition whose most unstable examples are shown; if left out, `all` or else the last. For outputs, the arm;
        if left out, the first.
    run_task
        If the task is your own file, run it: its code reads the pictures.
    json
        Print as JSON what was written.
    """
    import nondet
    from nondet.reporting import outside
    from nondet.reporting.page import of_results, page, write_page

    if elsewhere.named(study, *others):
        found, file = elsewhere.read(study, *others), out or Path("report.html")
        size = write_page(page_to_write(file, "--out"), outside.page(found, condition))
        _print_written(file, size, outside.finding(found).headline, json=json)
        return 0
    file = out or Path(study) / "report.html"
    target, found, notes = page_to_write(file, "--out"), nondet.show(study), list[str]()
    size = write_page(target, page(found, condition, data, run_task=run_task, say=notes.append))
    status = _warned(found)
    _print_written(file, size, "\n".join(of_results(found).said), *notes, json=json)
    say_unfinished(found)
    return status


def _print_written(file: Path, size: int, said: str, *notes: str, json: bool) -> None:
    if json:
        print_json({"file": str(file), "bytes": size, "found": said})
    else:
        tell(f"Wrote {file}.", said, *notes)


def _warned(found: Results) -> int:
    """Return the exit status for a study's control: 3, with a warning, if it is not zero."""
    from nondet.reporting.prose import control_words

    if found.control.identical is not False:
        return 0
    warn(control_words(found))
    return 3
