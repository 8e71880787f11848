"""Groups of test examples that depend on each other, such as questions on one text: drawn together, not one by one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from nondet.errors import BadInput
from nondet.io.outputs import is_table, read_labels
from nondet.io.table_file import column_names
from nondet.io.table_places import read_groups as table_groups
from nondet.stats.groups import group_numbers
from nondet.stats.values import Integers


def groups_of(given: str | Path | ArrayLike | None, outputs: object) -> str | Path | ArrayLike | None:
    """Return the groups; a word that is not a file names a column of the table of outputs, which is read."""
    if not isinstance(given, str | Path) or not isinstance(outputs, str | Path) or Path(given).exists():
        return given
    table = Path(outputs)
    if not is_table(table) or not table.is_file() or str(given) not in column_names(table):
        return given
    return table_groups(table, str(given))


def numbered_groups(given: str | Path | ArrayLike, examples: int) -> Integers:
    """Return the number of each example's group, from 0, `(n,)`.

    Args:
        given: a name or number for each example's group, or a file of these.

    Raises:
        BadInput: there is not one for each example, or there is only one group.
    """
    numbers = group_numbers(read_groups(given, "groups", examples))
    if numbers.max() < 1:
        raise BadInput("<<groups>> must be at least 2 (got one group for all test examples); leave it out")
    return numbers


def read_groups(given: str | Path | ArrayLike, argument: str, examples: int) -> list[Any]:
    """Return the name of each example's group, from a program or a file; BadInput if there is not one for each."""
    names = _in_file(Path(given), argument) if isinstance(given, str | Path) else np.asarray(given).tolist()
    if len(names) != examples:
        what = f"{argument.removesuffix('s')} for each of the {examples} {'test ' * (argument == 'groups')}examples"
        raise BadInput(f"<<{argument}>> must give one {what} (got {len(names)}); give as many")
    return names


def _in_file(path: Path, argument: str) -> list[Any]:
    """Read the names of groups from an array, a column of a table, or a text file with one per line."""
    if path.suffix.lower() == ".npy" or (is_table(path) and path.is_file()):
        return read_labels(path).reshape(-1).tolist()
    try:
        return path.read_text(encoding="utf-8-sig").split("\n")[: -1 if path.read_bytes().endswith(b"\n") else None]
    except (OSError, UnicodeDecodeError) as error:
        key = "a key of the examples, or " if argument == "cluster" else "a column of the table of outputs, or "
        raise BadInput(
            f"<<{argument}>> must be {key}a file with one {argument.removesuffix('s')} per line (got {path}, which "
            "cannot be read); give such a file"
        ) from error


def groups_words(groups: Integers) -> str:
    """Say on how many groups the errors are based."""
    return f"Errors over examples are based on {int(groups.max()) + 1:,} groups of the {len(groups):,} test examples."
