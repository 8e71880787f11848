"""What all records of findings have in common: a dictionary, a tidy table, and how they print."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

FORMS: dict[str, Callable[[Any], Any]] = {}
"""How a record is shown, as "text" and as "html", and its "finding"; `nondet.reporting` says it."""


def finding(found: Record) -> dict[str, Any]:
    """What a record has found, for the end of its dictionary: its "headline", "sentences" and "caveats"."""
    return {"finding": found.finding.to_dict()} if found.finding else {}


class Record:
    """A frozen record. It prints as its command does, in a terminal and in a notebook.

    pandas, polars and all else that takes Arrow read its tidy table: `pandas.DataFrame(found.tidy())`,
    `polars.DataFrame(found)`.
    """

    @property
    def finding(self) -> Any:
        """What was found, in words: `.headline`, `.sentences` and `.caveats`; None where there is nothing to say."""
        return FORMS["finding"](self) if "finding" in FORMS else None

    def to_dict(self) -> dict[str, Any]:
        """What the command of this record prints with --json."""
        raise NotImplementedError

    def tidy(self) -> dict[str, list[Any]]:
        """The columns of its tidy table by name: a row for each number that was found, None where one is not known."""
        raise NotImplementedError

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        import pyarrow

        table: Any = pyarrow.table(self.tidy())
        return table.__arrow_c_stream__(requested_schema)

    def __repr__(self) -> str:
        return FORMS["text"](self) if "text" in FORMS else object.__repr__(self)

    def _repr_html_(self) -> str:
        return FORMS["html"](self) if "html" in FORMS else repr(self)
