"""A message names arguments as its reader gives them: options on the command line, arguments in Python."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import nondet as nd
from nondet.cli.app import app
from nondet.cli.main import option
from nondet.errors import BadInput, spelled, spelling

Nondet = Callable[..., Any]

SOURCE = Path(nd.__file__).parent
WRITES_COMMANDS = {
    "running/advice.py",
    "running/asked.py",
    "running/request.py",
    "runners/script.py",
    "running/executors/slurm.py",
}
"""What notes in study.json how it was made, as words of a command."""


@pytest.mark.parametrize(
    ("marked", "python", "command"),
    [
        ("try <<runs=20>>", "try runs=20", "try --runs 20"),
        ("a new study with <<folder>>", "a new study with folder", "a new study with --study"),
        ("try <<recipe=lr=0.1>>", "try recipe={'lr': 0.1}", "try --set lr=0.1"),
        ("try <<until=a.sd.error<9%>>", "try until=a.sd.error<9%", 'try --until "a.sd.error<9%"'),
        ("not for <<design=crossed>>", "not for a crossed design", "not for --design crossed"),
        ("a file <data>.npy, <runs=1>", "a file <data>.npy, <runs=1>", "a file <data>.npy, <runs=1>"),
    ],
)
def test_an_argument_is_spelled_for_its_reader(marked: str, python: str, command: str) -> None:
    assert spelled(marked) == str(BadInput(marked)) == python
    with spelling(option):
        assert spelled(marked) == str(BadInput(marked)) == command
    assert spelled(marked) == python


def test_the_same_mistake_in_both(nondet: Nondet, tiny: Path, tmp_path: Path) -> None:
    """The way out that is named is the one that the reader has."""
    assert "try --runs 20" in nondet("run", tiny, "--runs", 1, "--study", tmp_path / "s").err
    with pytest.raises(nd.BadInput, match="try runs=20"):
        nd.run(tiny, runs=1, folder=tmp_path / "s")


def test_only_the_command_line_knows_its_options() -> None:
    """No message below it holds the name of an option, and each argument that one names has an option."""
    options = {name for command in app if not command.startswith("-") for name in option_names(command)}
    for path in SOURCE.rglob("*.py"):
        name = path.relative_to(SOURCE).as_posix()
        if name.startswith("cli/") or name in WRITES_COMMANDS:
            continue
        tree = ast.parse(path.read_text())
        documented = {ast.get_docstring(n, clean=False) for n in ast.walk(tree) if isinstance(n, DOCUMENTED)}
        written = {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)}
        for text in written - documented:
            assert not re.search(r"(?<!\w)--[a-z]", text), name
            for argument in re.findall(r"<<(\w+)", text):
                assert option(argument, None) in options, name
                assert "<<" not in spelled(f"<<{argument}>>"), name


DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def option_names(command: str) -> list[str]:
    """The options of a command."""
    return [name for argument in app[command].assemble_argument_collection() for name in argument.names]
