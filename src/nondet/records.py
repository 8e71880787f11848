"""What all records of findings share: a dictionary, a tidy table, and the way they print."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

FORMS: dict[str, Callable[[Any], Any]] = {}
"""Functions that show a record as "text" and as "html", and that return its "finding"; set by `nondet.reporting`."""


def finding(found: Record) -> dict[str, Any]:
    """Return a record's finding for the end of its dictionary: its "headline", "sentences" and "caveats"."""
    return {"finding": found.finding.to_dict()} if found.finding else {}


def picked(found: object, names: str) -> dict[str, Any]:
    """Return attributes by name. names: separated by spaces."""
    return {name: getattr(found, name) for name in names.split()}


def stacked(column: str, tables: Iterable[tuple[str, Mapping[str, list[Any]]]]) -> dict[str, list[Any]]:
    """Return tidy tables below each other, with the name of each in a first column."""
    rows: dict[str, list[Any]] = {}
    for name, table in tables:
        count = len(next(iter(table.values()), ()))
        for title, values in {column: [name] * count, **table}.items():
            rows.setdefault(title, []).extend(values)
    return rows


class Record:
    """A frozen record. It prints what its command prints, in a terminal and in a notebook.

    pandas, polars and anything else that accepts Arrow can read its tidy table: `pandas.DataFrame(found.tidy())`,
    `polars.DataFrame(found)`.
    """

    @property
    def finding(self) -> Any:
        """What was found, in words: `.headline`, `.sentences` and `.caveats`; None if there is nothing to say."""
        return FORMS["finding"](self) if "finding" in FORMS else None

    def to_dict(self) -> dict[str, Any]:
        """Return what this record's command prints with --json."""
        raise NotImplementedError

    def tidy(self) -> dict[str, list[Any]]:
        """Return its tidy table by column, with a row for each number that was found; None where unknown."""
        raise NotImplementedError

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        import pyarrow

        table: Any = pyarrow.table(self.tidy())
        return table.__arrow_c_stream__(requested_schema)

    def __repr__(self) -> str:
        return FORMS["text"](self) if "text" in FORMS else object.__repr__(self)

    def _repr_html_(self) -> str:
        return FORMS["html"](self) if "html" in FORMS else repr(self)
