"""Write the figures of a study, or of runs made elsewhere, as files."""

from __future__ import annotations

from pathlib import Path

from nondet.cli.console import Flag, Words, print_json
from nondet.errors import BadInput
from nondet.io.signals import undisturbed
from nondet.io.streams import say, tell, warn
from nondet.reporting.targets import require_outside_studies, require_plain


def figures(
    study: str,
    /,
    *others: str,
    format: str = "pdf",
    out: Path | None = None,
    labels: Path | None = None,
    columns: Words = None,
    metric: str | None = None,
    arm: str = "",
    seed: str = "",
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
    labels, columns
        For outputs made elsewhere, as for `nondet compare`.
    metric, arm, seed
        For scores, as for `nondet compare`.
    json
        Print as JSON what was written: each file, and what it shows.
    """
    import nondet
    from nondet.analysis.outside import read_outside
    from nondet.api.shared import is_study
    from nondet.io.files import write_file
    from nondet.io.roles import Asked
    from nondet.reporting import prose
    from nondet.reporting.plots import outside, sections
    from nondet.reporting.plots.style import FORMATS, content

    if format not in FORMATS:
        raise BadInput(f"--format must be one of {', '.join(FORMATS)} (got {format!r}); choose one")
    asked = Asked(arm=arm, seed=seed)
    brought = bool(others or labels or columns or metric or arm or seed) or not is_study(study)
    folder = out or (Path() if brought else Path(study)) / "figures"
    if folder.exists() and not folder.is_dir():
        raise BadInput(f"--out must name a folder (got {folder}, a file); name another")
    require_outside_studies(folder / f"any.{format}", "--out")
    if brought:
        found = None
        drawn = outside.sections(read_outside([study, *others], labels, metric, columns or (), asked, say))
    else:
        found = nondet.show(study)
        drawn = sections(found)
    drawings = [drawing for section in drawn for drawing in section.drawings]
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
    if found is None:
        return 0
    broken = found.control.identical is False
    if broken:
        warn(prose.control_words(found))
    if found.missing:
        say(prose.unfinished(found))
    return 3 if broken else 0
