"""Fit a table to a terminal: whole if possible, otherwise in blocks of columns. No value is ever broken."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from nondet.io.plain import plain

GAP = 2
"""Spaces between two columns."""

NAME = 12
"""The width that a name always gets, in characters; longer names are folded."""

Row = Sequence[str]


def fitted(head: Row, rows: Sequence[Row], width: int, short: Mapping[str, str]) -> Iterator[tuple[Row, Sequence[Row]]]:
    """Yield the table in as few blocks as fit, each at most `width` wide if that is possible.

    short: shorter names of rows, for a table that does not fit as it is.
    """
    if total(head, rows) > width:
        rows = [(short.get(row[0], row[0]), *row[1:]) for row in rows]
    if total(head, rows) <= width:
        yield head, rows
        return
    widths = _widths(head, rows)
    parts = _parts(widths, width)
    for narrower in range(width - 1, widths[0], -1):  # the same number of blocks, but of similar widths
        if len(_parts(widths, narrower)) > len(parts):
            break
        parts = _parts(widths, narrower)
    for places in parts:
        chosen = (0, *places)
        yield tuple(head[place] for place in chosen), [tuple(row[place] for place in chosen) for row in rows]


def _parts(widths: Sequence[int], width: int) -> list[list[int]]:
    """Group the places of the columns after the first, as many together as fit."""
    parts: list[list[int]] = []
    for place in range(1, len(widths)):
        if not parts or widths[0] + sum(GAP + widths[p] for p in (*parts[-1], place)) > width:
            parts.append([])
        parts[-1].append(place)
    return parts


def total(head: Row, rows: Sequence[Row]) -> int:
    """Return the table's width in characters."""
    widths = _widths(head, rows)
    return sum(widths) + GAP * (len(widths) - 1)


def room(head: Row, rows: Sequence[Row], width: int) -> int:
    """Return the width at which to print a block, so that only names are folded."""
    widths = _widths(head, rows)
    return max(width, min(NAME, widths[0]) + sum(GAP + w for w in widths[1:]))


def _widths(head: Row, rows: Sequence[Row]) -> list[int]:
    from rich.cells import cell_len

    return [max(cell_len(plain(cell)) for cell in column) for column in zip(head, *rows, strict=True)]
