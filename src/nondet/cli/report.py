"""Write the page of a study, or of runs made elsewhere."""

from __future__ import annotations

from pathlib import Path

from nondet.cli.console import Flag, Words, print_json
from nondet.io.streams import say, tell, warn
from nondet.reporting.targets import page_to_write


def report(
    study: str,
    /,
    *others: str,
    out: Path | None = None,
    data: str | None = None,
    condition: str = "",
    run_task: Flag = False,
    labels: Path | None = None,
    columns: Words = None,
    metric: str | None = None,
    arm: str = "",
    seed: str = "",
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
    labels, columns
        For outputs made elsewhere, as for `nondet compare`.
    metric, arm, seed
        For scores, as for `nondet compare`.
    json
        Print as JSON what was written.
    """
    import nondet
    from nondet.analysis.outside import read_outside
    from nondet.api.shared import is_study
    from nondet.io.roles import Asked
    from nondet.reporting import outside, prose
    from nondet.reporting.hero import of_results
    from nondet.reporting.page import write_page

    asked = Asked(arm=arm, seed=seed)
    if others or labels or columns or metric or arm or seed or not is_study(study):
        found = read_outside([study, *others], labels, metric, columns or (), asked, say)
        file = out or Path("report.html")
        size = outside.write_page(found, file, condition, option="--out")
        return _said(file, size, outside.finding(found).headline, json=json)
    file = out or Path(study) / "report.html"
    page_to_write(file, "--out")
    found = nondet.show(study)
    notes: list[str] = []
    size = write_page(found, file, condition, data, run_task=run_task, option="--out", say=notes.append)
    broken = found.control.identical is False
    if broken:
        warn(prose.control_words(found))
    said = "\n".join(of_results(found).said)
    _said(file, size, said, *notes, json=json)
    if found.missing:
        say(prose.unfinished(found))
    return 3 if broken else 0


def _said(file: Path, size: int, said: str, *notes: str, json: bool) -> int:
    if json:
        print_json({"file": str(file), "bytes": size, "found": said})
    else:
        tell(f"Wrote {file}.", said, *notes)
    return 0
