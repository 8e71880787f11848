"""A record's numbers for other programs: one tidy table, as CSV or Parquet, unrounded."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nondet.analysis.remedies.stabilize import Stabilized
from nondet.analysis.results import Results
from nondet.analysis.scored import ScoreMeasures
from nondet.errors import BadInput
from nondet.io.files import write_file
from nondet.io.signals import undisturbed
from nondet.measures.measured import Measures
from nondet.records import Record
from nondet.reporting.targets import require_outside_studies
from nondet.stats.estimate import Estimate, number

Columns = Mapping[str, Sequence[Any]]

SIDES = {"estimate": "value", "se": "error", "low": "low", "high": "high"}
"""The columns of each estimate: the number, its standard error, and the ends of its interval."""


def table_of(found: Record) -> Columns:
    """Return a record's table by column, with a row for each condition, arm or method; None where unknown."""
    if isinstance(found, Results):
        control = ("deterministic", found.control.runs, found.control.measures, None)
        conditions = [(c.condition.name, c.runs, c.measures, c.reach.dead) for c in found.conditions]
        return _columns(
            {"condition": name, "runs": runs, "failed": m.failed if m else None, "dead": dead, **_figures(m)}
            for name, runs, m, dead in [control, *conditions]
        )
    if isinstance(found, Measures):
        return _columns([{"name": found.name, "runs": found.runs, "failed": found.failed, **_figures(found)}])
    if isinstance(found, Stabilized):
        return _columns(
            {
                "method": m.name,
                "runs": m.measures.runs,
                **_figures(m.measures),
                **_sides("reduction", m.reduction),
                "training_cost": m.training_cost,
                "test_cost": m.test_cost,
            }
            for m in found.methods
        )
    if isinstance(found, ScoreMeasures):
        names = ("name", "metric", "dataset", "runs", "failed")
        return _columns(
            {**{name: getattr(arm, name) for name in names}, **_sides("mean", arm.mean), **_sides("sd", arm.sd)}
            for arm in found.arms
        )
    return found.tidy()


def _figures(m: Measures | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, e in m.estimates.items() if m else ():
        found |= _sides(name, e)
    return found


def _sides(name: str, e: Estimate) -> dict[str, float | None]:
    return {f"{name}.{side}": number(getattr(e, field)) for side, field in SIDES.items()}


def _columns(rows: Any) -> Columns:
    """Turn rows into columns; a row that lacks a field has None there."""
    listed = [dict(row) for row in rows]
    names = list(dict.fromkeys(name for row in listed for name in row))
    return {name: [row.get(name) for row in listed] for name in names}


def as_csv(found: Record) -> str:
    """Return the table as CSV, with a header line; a cell is empty if its number is not known."""
    columns = table_of(found)
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\n")
    out.writerow(columns)
    out.writerows([_cell(value) for value in row] for row in zip(*columns.values(), strict=True))
    return text.getvalue()


def _cell(value: Any) -> Any:
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else value


def write_parquet(found: Record, path: Path, option: str) -> int:
    """Write the table as Parquet, whole or not at all, and return how many rows it has. option: what `path` is called.

    Raises:
        BadInput: the file exists and is not a Parquet file.
    """
    import pyarrow.parquet

    require_outside_studies(path, option)
    if path.exists() and not (path.is_file() and _is_parquet(path)):
        raise BadInput(f"{option} must name a new file or a Parquet file (got {path}, which is neither); name another")
    columns = table_of(found)
    content = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(dict(columns)), content)
    with undisturbed():
        write_file(path, content.getvalue(), replace=True)
    return len(next(iter(columns.values()), ()))


def _is_parquet(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"


def rows_as_text(found: Record) -> tuple[list[tuple[str, ...]], tuple[str, ...]]:
    """Return the table's cells as text, and its titles, for a record whose command prints no table."""
    columns = found.tidy()
    cells = [
        tuple("" if value is None else _text(value) for value in row) for row in zip(*columns.values(), strict=True)
    ]
    return cells, tuple(columns)


def _text(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
