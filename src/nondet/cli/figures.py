"""A study's figures, each as a file."""

from __future__ import annotations

from pathlib import Path

from nondet.cli.console import Flag, print_json
from nondet.errors import BadInput
from nondet.io.signals import undisturbed
from nondet.io.streams import say, tell
from nondet.reporting.targets import require_outside_studies, require_plain


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
    from nondet import api
    from nondet.io.files import write_file
    from nondet.reporting import prose
    from nondet.reporting.plots import sections
    from nondet.reporting.plots.style import FORMATS, content

    if format not in FORMATS:
        raise BadInput(f"--format must be one of {', '.join(FORMATS)} (got {format!r}); choose one")
    folder = out or study / "figures"
    if folder.exists() and not folder.is_dir():
        raise BadInput(f"--out must name a folder, and {folder} is a file; name another")
    require_outside_studies(folder / f"any.{format}", "--out")
    found = api.show(study)
    drawings = [drawing for section in sections(found) for drawing in section.drawings]
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
        tell(*(str(path) for path, _ in written), f"Wrote {len(written)} figures to {folder}.")
    broken = found.control.identical is False
    for sentence in filter(None, [prose.control_words(found) if broken else "", prose.unfinished(found)]):
        say(sentence)
    return 3 if broken else 0
