"""A study's figures, each as a file."""

from __future__ import annotations

from pathlib import Path

from nondet.commands.common import Flag, print_json
from nondet.commands.writing import require_outside_studies, require_plain
from nondet.errors import BadInput
from nondet.stopping import undisturbed
from nondet.streams import say, tell


def figures(study: Path, /, *, format: str = "pdf", out: Path | None = None, json: Flag = False) -> int:
    """Write each of a study's figures as a file, one column wide, for a paper or a talk.

    Parameters
    ----------
    study
        The study's folder.
    format
        pdf, svg or png.
    out
        The folder to write to; `figures` in the study's folder if left out.
    json
        Say as JSON what was written: each file, and what is to be seen in it.
    """
    from nondet import study as studies
    from nondet.files import write_file
    from nondet.report import words
    from nondet.report.figures import sections
    from nondet.report.figures.style import FORMATS, content
    from nondet.report.results import read_results

    if format not in FORMATS:
        raise BadInput(f"--format must be one of {', '.join(FORMATS)} (got {format!r}); choose one")
    folder = out or study / "figures"
    if folder.exists() and not folder.is_dir():
        raise BadInput(f"--out must name a folder, and {folder} is a file; name another")
    require_outside_studies(folder / f"any.{format}", "--out")
    results = read_results(studies.load(study))
    drawings = [drawing for section in sections(results) for drawing in section.drawings]
    written = [(folder / f"{drawing.name}.{format}", drawing) for drawing in drawings]
    for path, _ in written:
        require_plain(path, "--out")
    for path, drawing in written:
        drawn = content(drawing.figure, format)
        with undisturbed():
            write_file(path, drawn, replace=True)
    if json:
        print_json([{"file": str(path), "shows": drawing.alternative} for path, drawing in written])
    else:
        for path, _ in written:
            tell(str(path))
        tell(f"Wrote {len(written)} figures to {folder}.")
    failed_control = results.control.identical is False
    if failed_control:
        say(words.control_words(results))
    if results.missing:
        say(words.unfinished(results))
    return 3 if failed_control else 0
