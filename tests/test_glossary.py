"""The glossary has a row for every short column title, and for every source."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import nondet as nd
from nondet import kinds
from nondet.reporting import remedies, table, unstable

PAGE = (Path(__file__).parents[1] / "docs" / "glossary.md").read_text()
EXPLAINED = {title for row in re.findall(r"^\| (.*?) \|", PAGE, re.MULTILINE) for title in re.findall("`(.+?)`", row)}
KINDS = [kind for kind in vars(kinds).values() if isinstance(kind, kinds.Kind)]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_column_is_explained(kind: kinds.Kind) -> None:
    """The titles of a study's table."""
    assert [title for title in table.head(kind.figures) if title not in EXPLAINED] == []


def test_other_columns_are_explained() -> None:
    """Short titles of the tables of remedies and of examples that flip."""
    short = [f"training {remedies.TIMES}", f"test {remedies.TIMES}", "reduction (%)", *unstable.HEAD[2:4], "votes"]
    assert [title for title in short if title not in EXPLAINED] == []


def test_every_source_is_named() -> None:
    """In the row of the word itself."""
    row = next(line for line in PAGE.splitlines() if line.startswith("| source |"))
    assert re.findall("`(.+?)`", row) == [*nd.SOURCES]
