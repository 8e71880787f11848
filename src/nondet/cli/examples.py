"""Show which test examples flip."""

from __future__ import annotations

from pathlib import Path

from nondet.cli.console import TEXT, Flag, Printed, Words, answer, answer_control, print_json, print_sentences
from nondet.errors import BadInput
from nondet.io.signals import undisturbed
from nondet.io.streams import say
from nondet.reporting.targets import require_outside_studies, require_plain


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
    labels, columns
        For outputs made elsewhere, as for `nondet measure`.
    form
        How it is printed.
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
