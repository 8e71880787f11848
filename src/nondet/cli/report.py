"""A page and figures of a study."""

from __future__ import annotations

from pathlib import Path

from nondet.cli.console import Flag, print_json
from nondet.cli.targets import page_to_write
from nondet.errors import BadInput
from nondet.io.signals import undisturbed
from nondet.io.streams import say, tell


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
    from nondet.analysis.results import read_results
    from nondet.io.files import write_file
    from nondet.reporting import prose as words
    from nondet.reporting.page import findings, page
    from nondet.study import record as studies

    file = out or study / "report.html"
    if file.is_dir():
        raise BadInput(
            f"--out must name a file, and {file} is a folder; name one in it, such as {file / 'report.html'}"
        )
    target = page_to_write(file, "--out")
    results = read_results(studies.load(study))
    failed_control = results.control.identical is False
    text = page(results, condition, data, run_task=run_task)
    with undisturbed():
        write_file(target, text.encode(), replace=True)
    if failed_control:
        say(words.control_words(results))
    found = "\n".join(findings(results)[: 1 + len(results.dead)])
    if json:
        print_json({"file": str(file), "bytes": len(text.encode()), "found": found})
    else:
        tell(f"Wrote {file}.", found)
    if results.missing:
        say(words.unfinished(results))
    return 3 if failed_control else 0
