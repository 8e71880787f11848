"""Read what trackers and trainers write about runs into tables with a row for each run: the last value of each metric.

These are W&B's exports of charts, TensorBoard's of scalars, Lightning's `metrics.csv`, Hugging Face's
`trainer_state.json`, MLflow's folder, TensorBoard's event files, and folders of trees in JSON.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from os.path import commonpath
from pathlib import Path
from typing import Any

from nondet.errors import BadInput
from nondet.io.foreign import reading
from nondet.io.names import ARMS, REPEATS, SEEDS, STEPS, called
from nondet.io.rows import ENDINGS, Cell, Rows, cell_of, is_failure, joined, read_rows, text_cell

PATH = "path"
"""The column that says which file a run is from."""

_CHART = re.compile(r"(?P<run>.+?) - (?P<metric>.+?)(?P<side>__MIN|__MAX)?")
_SCALARS = {"wall time", "step", "value"}
_TAGGED = re.compile(r"run-(?P<run>.+)-tag-(?P<tag>.+)")
_FOUND = ("trainer_state.json", "metrics.csv", "all_results.json", "eval_results.json", "report.json", "results.json")
"""Names of files that each run's folder may contain, in a folder of runs."""


def gathered(paths: Sequence[Path]) -> Rows:
    """Gather files and folders of scores into one table with a row for each run, and a column `path` if there are
    several; BadInput if one cannot be read, or contains no scores."""
    parts = [part for path in paths for part in (_folder(path) if path.is_dir() else [one_a_run(read_rows(path))])]
    if len(parts) == 1:
        return parts[0]
    names = list(dict.fromkeys(name for part in parts for name in (*part.columns, PATH)))
    columns: dict[str, list[Cell]] = {name: [] for name in names}
    for part in parts:
        path = Path(part.path)
        named = str(path.with_suffix("")) if path.suffix.lower() in ENDINGS else part.path
        for name in names:
            columns[name] += part.columns.get(name, [named if name == PATH else None] * len(part))
    return Rows(_together(paths), columns)


def _together(paths: Sequence[Path]) -> str:
    """Return a name for several paths, for people: the folder that contains all of them, or the only path."""
    shared, here = Path(commonpath([path.absolute().parent for path in paths])), Path.cwd()
    if len(paths) == 1:
        return str(paths[0])
    return str(shared.relative_to(here)) if shared != here and here in shared.parents else str(shared)


def one_a_run(rows: Rows) -> Rows:
    """Return a table with a row for each run; of a curve, only the last value is used."""
    names = list(rows.columns)
    if {name.strip().lower() for name in names} == _SCALARS:
        return _scalars(rows)
    charts = {name: found for name in names if (found := _CHART.fullmatch(name))}
    if charts and len(charts) >= len(names) - 3 and called(names, STEPS | {"relative_time_process", "wall_time"}):
        return _charts(rows, charts)
    keys = [name for known in (*ARMS, SEEDS, REPEATS) for name in called(names, known)]
    steps = [cell for name in called(names, STEPS)[-1:] for cell in rows.columns[name] if isinstance(cell, float)]
    if not keys and len(steps) > 1 and steps == sorted(steps) and steps[0] < steps[-1]:
        return Rows(rows.path, {name: [_last(cells)] for name, cells in rows.columns.items()})
    return rows


def _last(cells: Sequence[Cell]) -> Cell:
    """Return the last cell that is not empty."""
    return next((cell for cell in reversed(cells) if cell is not None), None)


def _scalars(rows: Rows) -> Rows:
    """Read TensorBoard's export of one scalar of one run; the file's name says which."""
    value = next(name for name in rows.columns if name.strip().lower() == "value")
    found, last = _TAGGED.fullmatch(Path(rows.path).stem), [_last(rows.columns[value])]
    return Rows(rows.path, {"name": [found["run"]], found["tag"]: last} if found else {"Value": last})


def _charts(rows: Rows, charts: Mapping[str, re.Match[str]]) -> Rows:
    """Read W&B's export of a chart: a column for each run and metric, and two more for the range of its smoothing."""
    values = {(found["run"], found["metric"]): name for name, found in charts.items() if not found["side"]}
    runs = list(dict.fromkeys(run for run, _ in values))
    metrics = [m for m in dict.fromkeys(metric for _, metric in values) if m != "_step"]
    columns: dict[str, Sequence[Cell]] = {"name": runs}
    for metric in metrics:
        named = [values.get((run, metric)) for run in runs]
        columns[metric] = [_last(rows.columns[name]) if name else None for name in named]
    return Rows(rows.path, columns)


def _folder(folder: Path) -> list[Rows]:
    """Return the runs in a folder, recognised by the names of its files."""
    with reading(folder, "a folder that can be read", "give another"):
        if (mlflow := _mlflow(folder)) is not None:
            return [mlflow]
        for name in _FOUND:
            if found := _newest(sorted(folder.rglob(name), key=str)):
                return [one_a_run(read_rows(path)) for path in found]
        if events := sorted(folder.rglob("*tfevents*"), key=str):
            return _runs_of_events(folder, list(dict.fromkeys(path.parent for path in events)))
        inside = sorted(path for path in folder.rglob("*") if path.suffix.lower() in ENDINGS and path.is_file())
        if inside and len({path.suffix.lower() for path in inside}) == 1 and inside[0].suffix.lower() != ".npy":
            return [one_a_run(read_rows(path)) for path in inside]
    raise BadInput(
        f"{folder} must contain scores: {', '.join(_FOUND)}, a folder of MLflow or event files of TensorBoard (got "
        "none of these); give the files of the runs themselves"
    )


def _newest(paths: Sequence[Path]) -> list[Path]:
    """Return one file for each run: the one in its own folder, or else that of its last checkpoint."""

    def step(path: Path) -> tuple[bool, int]:
        found = re.fullmatch(r"checkpoint-(\d+)", path.parent.name)
        return not found, int(found[1]) if found else 0

    best: dict[Path, Path] = {}
    for path in paths:
        run = path.parent.parent if not step(path)[0] else path.parent
        if run not in best or step(path) > step(best[run]):
            best[run] = path
    return list(best.values())


_SPLITS = {"train", "training", "validation", "val", "valid", "test", "eval"}
_HPARAMS = re.compile(r"\d{9,}\.\d+")
"""The name of the folder that PyTorch's `add_hparams` makes in a run's folder: the time."""


def _runs_of_events(folder: Path, found: Sequence[Path]) -> list[Rows]:
    """Return a row for each run from folders of event files; some belong to the run whose folder they are in.

    These are what PyTorch's `add_hparams` and `add_scalars` write, and Keras's `train` and `validation`.
    """

    def run_of(path: Path) -> Path:
        inside = path != folder and folder in path.parents
        own = path.name in _SPLITS or (path.parent in found and not path.name[-1].isdigit())
        return run_of(path.parent) if inside and (own or _HPARAMS.fullmatch(path.name)) else path

    runs: dict[Path, dict[str, list[Cell]]] = {}
    for path in found:
        part = path.relative_to(run := run_of(path)).as_posix()
        before = "" if part == "." or _HPARAMS.fullmatch(part) else f"{part}/"
        columns = runs.setdefault(run, {})
        columns |= {f"{before}{tag}": [cell] for tag, cell in _events(path).items() if f"{before}{tag}" not in columns}
    return [Rows(str(run), columns) for run, columns in runs.items()]


def _events(folder: Path) -> dict[str, Cell]:
    """Return the last value of each tag in a folder's event files; TensorBoard must be installed to read them."""
    try:
        accumulator = import_module("tensorboard.backend.event_processing.event_accumulator")
        make_ndarray: Any = import_module("tensorboard.util.tensor_util").make_ndarray
    except ImportError as error:
        raise BadInput(
            f"TensorBoard must be installed to read its event files (got {folder}); install tensorboard, or give "
            "the CSV files that it exports"
        ) from error
    events: Any = accumulator.EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0})
    events.Reload()
    tags: dict[str, list[str]] = events.Tags()
    last = {tag: cell_of(events.Scalars(tag)[-1].value) for tag in tags.get("scalars", [])}
    for tag in tags.get("tensors", []):  # of TensorFlow 2
        value: Any = make_ndarray(events.Tensors(tag)[-1].tensor_proto)
        if value.size == 1 and value.dtype.kind in "fiu":
            last[tag] = cell_of(value.item())
    return last


def _mlflow(folder: Path) -> Rows | None:
    """Return the runs in MLflow's folder, one of its experiments or one run; None if the folder is none of these."""
    runs = [path.parent for path in sorted(folder.rglob("meta.yaml"), key=str) if (path.parent / "metrics").is_dir()]
    if not runs:
        return None
    return Rows(str(folder), joined([row for run in runs if (row := _mlflow_run(run))]))


_STATES: Mapping[str, str] = {"1": "running", "2": "running", "3": "finished", "4": "failed", "5": "killed"}


def _mlflow_run(run: Path) -> dict[str, Cell]:
    """Return the row of one run; empty for a deleted one."""
    meta = _yaml(run / "meta.yaml")
    if meta.get("lifecycle_stage") == "deleted":
        return {}
    experiment = _yaml(run.parent / "meta.yaml").get("name", run.parent.name)
    status = meta.get("status", "")
    row: dict[str, Cell] = {
        "experiment": experiment,
        "run_name": _text(run / "tags" / "mlflow.runName") or meta.get("run_name", run.name),
        "status": _STATES.get(status, status.lower()),
    }
    row |= _files(run / "params", text_cell)
    return row | _files(run / "metrics", _mlflow_value)


def _files(folder: Path, read: Callable[[str], Cell]) -> dict[str, Cell]:
    """Return the contents of a folder's files, by their paths in it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []
    return {path.relative_to(folder).as_posix(): read(_text(path)) for path in files}


def _mlflow_value(text: str) -> Cell:
    """Return the value of the last step; each line is a time, a value and a step."""
    lines = [line.split() for line in text.splitlines() if len(line.split()) >= 2]
    if not lines:
        return None
    last = max(enumerate(lines), key=lambda entry: (int(float(entry[1][2])) if len(entry[1]) > 2 else 0, entry[0]))[1]
    cell = text_cell(last[1])
    return None if is_failure(cell) else cell


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8").strip() if path.is_file() else ""


def _yaml(path: Path) -> dict[str, str]:
    """Return the top-level texts of a YAML file, which MLflow writes as plain lines."""
    pairs = [line.partition(":") for line in _text(path).splitlines() if line and line[0] not in " #-"]
    return {name.strip(): value.strip().strip("'\"") for name, _, value in pairs}
