"""Read a table from a Parquet or CSV file, one part at a time."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nondet.errors import BadInput
from nondet.io.columns import shown
from nondet.io.foreign import reading, refuse_traps

INDEX = ("__index_level_", "Unnamed: ")


def reading_table(path: Path) -> AbstractContextManager[None]:
    """Turn whatever a table's reader raises in this block into a BadInput that names the file."""
    return reading(path, "a table that can be read", "write it with pyarrow or pandas")


def column_names(path: Path) -> list[str]:
    """Return the names of a table's columns; BadInput if it cannot be read."""
    with reading_table(path):
        return [*column_types(path)]


def column_types(path: Path) -> dict[str, Any]:
    """Return the columns' names and types, without the index that pandas adds; CSV is typed by its first part."""
    if path.suffix.lower() == ".parquet":
        from pyarrow import parquet

        file = parquet.ParquetFile(path)
        with file:
            refuse_traps(path, file.metadata.num_rows * file.metadata.num_columns * 8)
            names, types = file.schema_arrow.names, file.schema_arrow.types
    else:
        from pyarrow import csv

        with csv.open_csv(path) as reader:
            names, types = reader.schema.names, reader.schema.types
    named = {name: kind for name, kind in zip(names, types, strict=True) if name and not name.startswith(INDEX)}
    if any(names.count(name) > 1 for name in named):
        raise BadInput(f"{path} must have columns of different names (got {shown(names)}); rename some")
    return named


def batches(path: Path, columns: dict[str, str]) -> Iterator[Any]:
    """Yield some columns of a table, one part at a time; the given types are for CSV, which stores none."""
    if path.suffix.lower() == ".parquet":
        from pyarrow import parquet

        with parquet.ParquetFile(path) as file:
            yield from file.iter_batches(columns=[*columns])
    else:
        import pyarrow
        from pyarrow import csv

        types = {name: getattr(pyarrow, kind)() for name, kind in columns.items()}
        options = csv.ConvertOptions(include_columns=[*columns], column_types=types)
        with csv.open_csv(path, convert_options=options) as reader:
            yield from reader


def is_number(kind: Any) -> bool:
    """Whether a column's type is numeric."""
    from pyarrow import types

    return types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind)


def cells(path: Path, batch: Any, name: str, done: int, gaps: bool = False) -> NDArray[Any]:
    if not gaps:
        refuse_nulls(path, batch, name, done)
    return batch.column(name).to_numpy(zero_copy_only=False)


def whole(path: Path, name: str, kind: str, gaps: bool = False) -> NDArray[Any]:
    """Return all cells of a column, `(rows,)`."""
    parts: list[NDArray[Any]] = []
    done = 0
    for batch in batches(path, {name: kind}):
        parts.append(cells(path, batch, name, done, gaps))
        done += batch.num_rows
    return np.concatenate(parts) if parts else np.empty(0, np.int64)


def refuse_nulls(path: Path, batch: Any, name: str, done: int) -> None:
    column = batch.column(name)
    if column.null_count:
        row = done + 1 + int(column.is_null().to_numpy(zero_copy_only=False).argmax())
        raise BadInput(
            f"{path} must have a finite number in every row (got nothing or NaN in column {name!a}, row {row}); "
            "<<failed=count>> counts such runs as failed, and <<failed=drop>> leaves them out"
        )
