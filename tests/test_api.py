"""What the package promises to those who import it."""

from __future__ import annotations

import subprocess
import sys

import pytest

import nondet

BLOCKED = """
import sys
for name in {blocked!r}:
    sys.modules[name] = None
{statement}
"""


def run(blocked: list[str], statement: str) -> None:
    subprocess.run([sys.executable, "-c", BLOCKED.format(blocked=blocked, statement=statement)], check=True)


def test_import_is_light() -> None:
    """Importing nondet imports no library at all; its measures need neither torch nor any library of the commands."""
    run(["torch", "numpy", "scipy", "rich", "cyclopts", "sklearn", "matplotlib", "pyarrow"], "import nondet")
    run(["torch", "rich", "cyclopts", "sklearn", "matplotlib"], "import nondet; nondet.Recipe; nondet.measure")


def test_no_module_takes_the_place_of_a_public_name() -> None:
    """After the command line is loaded, each public name is still no module, and `dir` lists the public names alone."""
    run(
        [],
        "import types, nondet, nondet.cli, nondet.commands.app, nondet.study, nondet.runner\n"
        "assert not [n for n in nondet.__all__ if isinstance(getattr(nondet, n), types.ModuleType)]\n"
        "assert {n for n in dir(nondet) if n[0] != '_'} == {*nondet.__all__}",
    )


def test_public_tables_cannot_be_changed() -> None:
    """A source that somebody adds to the public table would be in every design: the table is read-only."""
    with pytest.raises(TypeError, match="does not support item assignment"):
        nondet.SOURCES["phantom"] = "made up"  # type: ignore[index]


def test_training_needs_no_command_libraries() -> None:
    """Training, measures and the study work on a bare machine: torch, numpy and safetensors, and no more."""
    run(
        ["rich", "cyclopts", "sklearn", "matplotlib", "scipy"],
        "import nondet, nondet.study, nondet.training.train, nondet.report.results, nondet.tasks.user; nondet.Crop",
    )


def test_the_public_names_are_there() -> None:
    """Every name of the public list exists, and no other name is made up."""
    assert all(getattr(nondet, name) is not None for name in nondet.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Corp'"):
        nondet.Corp  # noqa: B018
