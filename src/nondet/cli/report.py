"""A page and figures of a study."""

from __future__ import annotations

from pathlib import Path

from nondet.cli.console import Flag, print_json
from nondet.io.streams import say, tell
from nondet.reporting.targets import page_to_write


def report(
    study: Path,
    /,
    *,
    out: Path | None = None,
    data: str | None = None,
    condition: str = "",
    run_task: Flag = False,
    json: Flag = False,
) -> int:
    """Write a study's page: one HTML file with its table and figures, which needs no network.

    Parameters
    ----------
    study
        The study's folder.
    out
        The file to write; report.html in the study's folder if left out.
    data
        The folder of the task's official files, for pictures of test examples; as for `nondet run`.
    condition
        The condition whose most unstable examples are shown; `all` if left out, or the last.
    run_task
        If the task is a file of your own: run it, for the pictures are read by it.
    json
        Say as JSON what was written.
    """
    from nondet import api
    from nondet.reporting import prose
    from nondet.reporting.page import findings, write_page

    file = out or study / "report.html"
    page_to_write(file, "--out")
    found = api.show(study)
    notes: list[str] = []
    size = write_page(found, file, condition, data, run_task=run_task, option="--out", say=notes.append)
    broken = found.control.identical is False
    if broken:
        say(prose.control_words(found))
    said = "\n".join(findings(found)[: 1 + len(found.dead)])
    if json:
        print_json({"file": str(file), "bytes": size, "found": said})
    else:
        tell(f"Wrote {file}.", said, *notes)
    if found.missing:
        say(prose.unfinished(found))
    return 3 if broken else 0
