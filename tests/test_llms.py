"""The page for language models names every command, and what it names is there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from nondet.cli.app import app
from nondet.cli.commands import marked

PAGE = Path(__file__).parents[1] / "docs" / "llms.txt"
TEXT = PAGE.read_text()
COMMANDS = re.findall("^- .*?`(nondet .+?)`", TEXT.partition("## What you have")[2], re.MULTILINE)


def test_every_command_is_named() -> None:
    """Each has a line under the commands."""
    named = set(re.findall("`nondet ([a-z-]+)", TEXT))
    own = {name for name in app if not name.startswith("-")}
    assert own - named == set()
    assert named - own <= {"help"}


@pytest.mark.parametrize("command", [c for c in COMMANDS if not c.startswith("nondet help")])
def test_commands_parse(command: str) -> None:
    """With options that they have."""
    words = shlex.split(command)[1:]
    app.parse_args(marked(words), exit_on_error=False, print_error=False)


def test_links_resolve() -> None:
    """Each page is there."""
    links = re.findall(r"\]\(([^)]+)\)", TEXT)
    assert links
    assert [link for link in links if not (PAGE.parent / link).is_file()] == []
